"""DisputeGame.lapse, convictSilent, releaseBond, withdrawBond, proveEquivocation: how games end."""

import pytest

from oracle.chain.codec import plain
from oracle.exact import game as decisions
from tests.contracts.chain import at
from tests.contracts.dispute_game.game import CHALLENGER, CLOCK, NO_RECEIPT, TRACE, hexed
from tests.contracts.exact import example
from tests.contracts.market import (
    DOLLAR,
    EQUIVOCATION,
    LOCK,
    MAX_DISPUTE_AGE,
    WINDOW,
    WITHHELD,
    ZERO,
    ZERO32,
    digest,
    refuses,
)

BOUNTY = LOCK * 30 // 100


@pytest.fixture
def challenged(game, lie, bob, fault):
    """Bob hid the fault in a challenge, with an odd bond."""
    game.challenge(lie, bob, *fault, bond=11)
    return lie


@pytest.fixture
def demanded(game, lie, bob):
    """Bob waits for the trace."""
    game.challenge(lie, bob, bond=11)
    return lie


# ── lapse ───────────────────────────────────────────────────────────────────────────────────────
def test_lapse__no_challenge__reverts(game, lie, bob):
    with refuses("ChallengeMissing", lie.id, bob):
        game.contract.lapse(*lie.of, bob, {"from": bob})


def test_lapse__operators_turn__reverts(game, demanded, bob):
    at(game.turn(demanded, bob)["deadline"])
    with refuses("TurnInvalid", demanded.id, bob, TRACE):
        game.contract.lapse(*demanded.of, bob, {"from": bob})


def test_lapse__second_before_the_end__reverts(game, challenged, bob):
    deadline = game.turn(challenged, bob)["deadline"]
    at(deadline - 1)
    with refuses("TurnOpen", challenged.id, deadline):
        game.contract.lapse(*challenged.of, bob, {"from": bob})


def test_lapse__of_another_delivery__reverts(game, challenged, bob):
    at(game.turn(challenged, bob)["deadline"])
    other = (bob.address, *challenged.delivery[1:])
    with refuses("RequestStateMismatch", challenged.id):
        game.contract.lapse(challenged.request, other, bob, {"from": bob})


def test_lapse__turn_over__half_to_the_operator_half_burned(
    game, market, contract, challenged, bob, carol, operator
):
    transaction = game.lapse(challenged, bob, carol)
    assert dict(transaction.events["ChallengeFailed"]) == {
        "requestId": challenged.id,
        "challenger": bob,
        "toOperator": 5,
        "burned": 6,
    }
    burned = game.contract.burnAddress()
    bonds = [game.contract.bondOf(account) for account in (operator, burned, bob)]
    assert bonds == [5, 6, 0]
    assert game.contract.balance() == 11
    assert contract.openDisputesOf(challenged.id) == 0
    assert "Finalized" in market.finalize(*challenged.of).events


def test_lapse__after_it__the_same_account_may_challenge_again(game, lie, bob, carol, fault):
    game.challenge(lie, bob)
    game.commit(lie)
    game.contract.demandStep(*lie.of, 0, 36, 51, {"from": bob})
    game.answer_step(lie, bob, 0, 36, 51)
    game.challenge(lie, bob, *fault)
    assert game.contract.firstChallengerOf(lie.id) == bob


def test_lapse__of_one__shortens_nobody_elses_time(game, lie, bob, carol, rival, fault):
    first = game.challenge(lie, bob, *fault).timestamp
    at(first + 50)
    game.challenge(lie, carol, *fault)
    before = game.turn(lie, carol)
    at(first + CLOCK)
    game.contract.lapse(*lie.of, bob, {"from": rival})
    after = game.turn(lie, carol)
    assert (after["deadline"], after["turn"]) == (before["deadline"], CHALLENGER)
    assert "Convicted" in game.prove(lie, carol, lie.step(*fault), game.receipt(lie)).events


@pytest.mark.parametrize("leaving", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_lapse__in_any_order__the_first_is_the_oldest_that_is_left(
    game, lie, bob, carol, rival, fault, leaving
):
    people = {"a": bob, "b": carol, "c": rival}
    for account in people.values():
        game.challenge(lie, account, *fault)
    at(game.turn(lie, rival)["deadline"])
    left = "abc"
    for name in leaving:
        game.contract.lapse(*lie.of, people[name], {"from": rival})
        left = left.replace(name, "")
        first = people[left[0]] if left else ZERO
        assert game.contract.firstChallengerOf(lie.id) == first
        seen, at_ = "", first
        while at_ != ZERO:
            seen += next(n for n, account in people.items() if account == at_)
            at_ = game.turn(lie, at_)["newer"]
        assert seen == left


# ── convictSilent ───────────────────────────────────────────────────────────────────────────────
def test_convict_silent__no_challenge__reverts(game, lie, bob):
    with refuses("ChallengeMissing", lie.id, bob):
        game.contract.convictSilent(*lie.of, bob, {"from": bob})


def test_convict_silent__challengers_turn__reverts(game, challenged, bob):
    at(game.turn(challenged, bob)["deadline"])
    with refuses("TurnInvalid", challenged.id, bob, CHALLENGER):
        game.contract.convictSilent(*challenged.of, bob, {"from": bob})


def test_convict_silent__second_before_the_end__reverts(game, demanded, bob):
    deadline = game.turn(demanded, bob)["deadline"]
    at(deadline - 1)
    with refuses("TurnOpen", demanded.id, deadline):
        game.contract.convictSilent(*demanded.of, bob, {"from": bob})


def test_convict_silent__trace_came_at_the_last_second__reverts(game, demanded, bob):
    deadline = game.turn(demanded, bob)["deadline"]
    at(deadline - 1)
    game.commit(demanded)
    at(deadline)
    with refuses("TurnInvalid", demanded.id, bob, CHALLENGER):
        game.contract.convictSilent(*demanded.of, bob, {"from": bob})


def test_convict_silent__trace_withheld__pays_the_challenger_whoever_calls(
    game, contract, operators, demanded, bob, carol, operator
):
    transaction = game.convict_silent(demanded, bob, carol)
    assert dict(transaction.events["SilenceProven"]) == {
        "requestId": demanded.id,
        "challenger": bob,
    }
    assert transaction.events["Convicted"]["verdict"] == WITHHELD
    assert (contract.balanceOf(bob), contract.balanceOf(carol)) == (BOUNTY, 0)
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert game.contract.bondOf(bob) == 11


@pytest.mark.parametrize("kind", ["demandNode", "demandStep"])
def test_convict_silent__demand_not_answered__convicts(game, lie, bob, carol, kind):
    game.challenge(lie, bob)
    game.commit(lie)
    getattr(game.contract, kind)(*lie.of, 0, 0, 0, {"from": bob})
    assert "Convicted" in game.convict_silent(lie, bob, carol).events


# ── releaseBond ─────────────────────────────────────────────────────────────────────────────────
def test_release__no_challenge__reverts(game, lie, bob):
    with refuses("ChallengeMissing", lie.id, bob):
        game.contract.releaseBond(lie.id, bob, {"from": bob})


def test_release__request_lives__reverts(game, challenged, bob):
    at(challenged.delivery[1] + 1_000)
    with refuses("RequestLive", challenged.id):
        game.contract.releaseBond(challenged.id, bob, {"from": bob})


def test_release__twice__reverts(game, demanded, bob, carol):
    game.challenge(demanded, carol, bond=3)
    game.convict_silent(demanded, bob, carol)
    game.contract.releaseBond(demanded.id, carol, {"from": bob})
    with refuses("ChallengeMissing", demanded.id, carol):
        game.contract.releaseBond(demanded.id, carol, {"from": bob})


def test_release__annulled__gives_the_bond_back(game, contract, challenged, bob, carol):
    at(challenged.delivery[1] + WINDOW + MAX_DISPUTE_AGE)
    contract.annulStale(*challenged.of, {"from": carol})
    with refuses("RequestStateMismatch", challenged.id):
        game.contract.lapse(*challenged.of, bob, {"from": carol})
    transaction = game.contract.releaseBond(challenged.id, bob, {"from": carol})
    assert dict(transaction.events["BondReleased"]) == {
        "requestId": challenged.id,
        "challenger": bob,
        "amount": 11,
    }
    assert game.contract.bondOf(bob) == 11


def test_release__output_withheld_meanwhile__gives_the_bond_back(
    game, contract, challenged, bob, carol
):
    contract.demandOutput(*challenged.of, {"from": carol})
    at(challenged.delivery[1] + WINDOW + MAX_DISPUTE_AGE)  # nobody moved in the game
    contract.convictWithheld(*challenged.of, {"from": carol})
    game.contract.releaseBond(challenged.id, bob, {"from": carol})
    assert game.contract.bondOf(bob) == 11


# ── withdrawBond ────────────────────────────────────────────────────────────────────────────────
def test_withdraw__nothing__reverts(game, bob):
    with refuses("AmountZero"):
        game.contract.withdrawBond({"from": bob})


@pytest.fixture
def wallet(game, lie, bob, TestWallet):
    """A contract wallet that challenges the lie with a bond of 11 wei."""
    wallet = TestWallet.deploy({"from": bob})
    data = game.contract.challenge.encode_input(*lie.of, ZERO32)
    wallet.execute(game.contract, data, {"from": bob, "value": 11})
    return wallet


def test_withdraw__payee_refuses_ether__keeps_it(game, lie, wallet, bob):
    game.convict_silent(lie, wallet, bob)
    with refuses("TransferFailed", wallet, 11):
        wallet.execute(game.contract, game.contract.withdrawBond.encode_input(), {"from": bob})
    assert game.contract.bondOf(wallet) == 11


@pytest.mark.parametrize("again", ["withdrawBond", "releaseBond"])
def test_withdraw__payee_calls_back__is_paid_once(game, lie, wallet, bob, carol, again):
    game.challenge(lie, carol, bond=100)
    game.convict_silent(lie, wallet, bob)
    arguments = () if again == "withdrawBond" else (lie.id, wallet)
    data = getattr(game.contract, again).encode_input(*arguments)
    wallet.callBack(game.contract, data, {"from": bob})
    wallet.execute(game.contract, game.contract.withdrawBond.encode_input(), {"from": bob})
    assert (wallet.balance(), wallet.refusals()) == (11, 1)
    assert (game.contract.balance(), game.contract.bondOf(wallet)) == (100, 0)


def test_withdraw__in_order__pays(game, demanded, bob, carol):
    game.convict_silent(demanded, bob, carol)
    before = bob.balance()
    transaction = game.contract.withdrawBond({"from": bob})
    assert bob.balance() == before + 11
    assert dict(transaction.events["BondWithdrawn"]) == {"account": bob, "amount": 11}
    assert game.contract.balance() == 0


# ── proveEquivocation ───────────────────────────────────────────────────────────────────────────
def equivocation(game, answer, account, first, second=NO_RECEIPT):
    return game.contract.proveEquivocation(*answer.of, first, second, {"from": account})


def test_equivocation__not_signed__reverts(game, lie, bob, rival, operator):
    other = digest("another output")
    for receipts in (
        (game.receipt(lie, output_root=other, signer=rival),),
        (NO_RECEIPT,),
        (game.receipt(lie), game.receipt(lie, output_root=other, signer=rival)),
        (game.receipt(lie, output_root=other, chainId=1),),
        (game.receipt(lie, output_root=other, verifyingContract=ZERO),),
        (game.receipt(lie, output_root=other, request_id=digest("another request")),),
    ):
        with refuses("ReceiptInvalid", lie.id, operator):
            equivocation(game, lie, bob, *receipts)


def test_equivocation__nothing_contradicts__reverts(game, lie, bob):
    """A root that is not stated contradicts nothing, nor does a trace that is not on chain yet."""
    same, silent = game.receipt(lie), game.receipt(lie, trace_root=ZERO32)
    for receipts in ((same,), (silent,), (same, same), (same, silent), (silent, same)):
        with refuses("ReceiptsAgree", lie.id):
            equivocation(game, lie, bob, *receipts)
    game.challenge(lie, bob)
    game.commit(lie)
    for receipt in (same, silent):
        with refuses("ReceiptsAgree", lie.id):
            equivocation(game, lie, bob, receipt)


def test_equivocation__not_delivered__reverts(game, lie, bob):
    lie.delivery = (*lie.delivery[:2], digest("another output"))
    with refuses("RequestStateMismatch", lie.id):
        equivocation(game, lie, bob, game.receipt(lie, output_root=digest("x")))


def test_equivocation__window_over_and_no_challenge__reverts(game, lie, bob):
    until = lie.delivery[1] + WINDOW
    receipt = game.receipt(lie, output_root=digest("another output"))
    at(until)
    with refuses("ChallengeWindowPassed", lie.id, until):
        equivocation(game, lie, bob, receipt)


def test_equivocation__another_output_than_delivered__convicts_at_once(game, contract, truth, bob):
    receipt = game.receipt(truth, output_root=hexed(example().lie_inside.output_root))
    transaction = equivocation(game, truth, bob, receipt)
    delivered = (hexed(truth.committed.output_root), ZERO32)
    assert dict(transaction.events["EquivocationProven"]) == {
        "requestId": truth.id,
        "challenger": bob,
        "first": str(game.contract.receiptHash(truth.id, *receipt[:2])),
        "second": str(game.contract.receiptHash(truth.id, *delivered)),
    }
    assert transaction.events["Convicted"]["verdict"] == EQUIVOCATION
    assert contract.balanceOf(bob) == BOUNTY


@pytest.mark.parametrize("differing", ["output_root", "trace_root"])
def test_equivocation__two_receipts_differ__convicts(game, lie, bob, differing):
    other = game.receipt(lie, **{differing: digest("another")})
    assert "Convicted" in equivocation(game, lie, bob, game.receipt(lie), other).events


def test_equivocation__another_trace_than_on_chain__convicts_after_the_window(
    game, contract, lie, bob, carol
):
    game.challenge(lie, bob, bond=11)
    at(lie.delivery[1] + WINDOW)
    game.commit(lie)
    receipt = game.receipt(lie, trace_root=digest("another trace"))
    assert "Convicted" in equivocation(game, lie, carol, receipt).events
    assert (contract.balanceOf(bob), contract.balanceOf(carol)) == (BOUNTY, 0)
    game.contract.releaseBond(lie.id, bob, {"from": carol})
    assert game.contract.bondOf(bob) == 11


# ── Whose the bounty is ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["silence", "equivocation", "proof"])
def test_bounty__a_friend_of_the_liar_convicts_first__is_shared_with_all_who_challenged(
    game, contract, lie, bob, carol, fault, how
):
    """Carol stands in for the friend: she challenges as well, and is quicker."""
    game.challenge(lie, bob, bond=11)
    game.challenge(lie, carol, *(fault if how == "proof" else ()), bond=7)
    if how == "silence":
        transaction = game.convict_silent(lie, carol, carol)
    elif how == "equivocation":
        receipt = game.receipt(lie, output_root=digest("another output"))
        transaction = equivocation(game, lie, carol, receipt)
        game.contract.releaseBond(lie.id, carol, {"from": carol})
    else:
        transaction = game.prove(lie, carol, lie.step(*fault), game.receipt(lie))
    shared = {"requestId": lie.id, "challenges": 2, "each": BOUNTY // 2}
    assert dict(transaction.events["BountyShared"]) == shared
    assert (contract.balanceOf(carol), contract.balanceOf(bob)) == (BOUNTY // 2, 0)
    game.contract.releaseBond(lie.id, bob, {"from": carol})
    assert contract.balanceOf(bob) == BOUNTY // 2
    assert (game.contract.bondOf(bob), game.contract.bondOf(carol)) == (11, 7)
    assert contract.balanceOf(game.contract) == 0


def test_bounty__demand_in_front_of_a_challenge__waits_for_it(
    game, contract, lie, bob, carol, fault
):
    game.challenge(lie, bob, *fault)
    contract.demandOutput(*lie.of, {"from": carol, "value": 5})
    at(contract.demandOf(lie.id)[1])
    with refuses("DisputesOpen", lie.id, 1):
        contract.convictWithheld(*lie.of, {"from": carol})
    game.prove(lie, bob, lie.step(*fault), game.receipt(lie))
    assert (contract.balanceOf(bob), contract.balanceOf(carol)) == (BOUNTY, 0)
    assert contract.bondOf(carol) == 5


def test_bounty__annulled__nobody_gets_any(game, contract, lie, bob, carol, fault):
    game.challenge(lie, bob, *fault)
    game.challenge(lie, carol, *fault)
    at(lie.delivery[1] + WINDOW + MAX_DISPUTE_AGE)
    contract.annulStale(*lie.of, {"from": bob})
    game.contract.releaseBond(lie.id, bob, {"from": bob})
    assert contract.balanceOf(bob) == 0


def test_multicall__answers_to_two_challenges__in_one_transaction(game, lie, bob, carol, operator):
    for account in (bob, carol):
        game.challenge(lie, account)
    game.commit(lie)
    calls = []
    for account in (bob, carol):
        game.contract.demandStep(*lie.of, 0, 36, 51, {"from": account})
        step = decisions.answer_step(lie.constants, lie.committed, 0, 36, 51)
        arguments = (*lie.of, game.record, account, plain(step))
        calls.append(game.contract.answerStep.encode_input(*arguments))
    transaction = game.contract.multicall(calls, {"from": operator})
    failed = [event["challenger"] for event in transaction.events["ChallengeFailed"]]
    assert failed == [bob, carol]
