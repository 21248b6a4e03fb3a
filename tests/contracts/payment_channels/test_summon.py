"""PaymentChannels.summon: an answer that was signed off chain is disputed as every other."""

from dataclasses import replace

import pytest

from scripts.deploy import config, created_address
from tests.contracts.chain import at, now
from tests.contracts.dispute_game.game import hexed
from tests.contracts.market import (
    DOLLAR,
    FEE,
    LOCK,
    MULTIPLE,
    WINDOW,
    WRONG_OUTPUT,
    ZERO,
    ZERO32,
    Verbatim,
    digest,
    refuses,
)
from tests.contracts.payment_channels.channels import split


@pytest.fixture
def lie(channels):
    """A wrong answer, signed and not summoned."""
    return channels.answer(channels.game.example.lie_inside)


@pytest.fixture
def truth(channels):
    return channels.answer(channels.game.example.honest)


# ── summon ──────────────────────────────────────────────────────────────────────────────────────
def test_summon__second_the_window_has_passed__reverts(channels, lie):
    until = (lie.request[1] >> 200) + WINDOW
    at(until)
    with refuses("ChallengeWindowPassed", lie.id, until):
        channels.summon(lie)


def test_summon__in_its_last_second__has_a_whole_window_to_be_disputed(channels, lie, bob, fault):
    at((lie.request[1] >> 200) + WINDOW - 1)
    channels.summon(lie)
    at(now() + WINDOW - 1)
    channels.convict(lie, bob, fault)


def test_summon__twice__reverts(channels, lie):
    channels.summon(lie)
    with refuses("SummonExists", lie.id):
        channels.summon(lie)


def test_summon__again_after_it_was_settled__reverts(channels, bob):
    truth = channels.answer(channels.game.example.honest, ahead=2 * WINDOW)
    channels.summon(truth)
    channels.game.market.finalize(truth.request, truth.delivery)
    channels.contract.endSummon(truth.request, {"from": bob})
    with refuses("SummonExists", truth.id):
        channels.summon(truth)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (0, 1 << 160),  # lane
        (0, 1 << 192),  # index
        (1, 1),  # operator
        (1, 1 << 160),  # priorityUntil
        (1, 1 << 240),
        (2, 1),  # consumer
        (2, 1 << 160),  # model
        (2, 1 << 208),  # version
        (2, 1 << 232),  # callbackGas
        (7, 1),  # terms
    ],
)
def test_summon__request_of_another_channel__reverts(channels, lie, word, value):
    words = list(lie.request)
    words[word] ^= value
    lie.request = tuple(words)
    lie.id = channels.game.market.id_of(lie.request)
    with refuses("RequestForeign", lie.id):
        channels.summon(lie)


def test_summon__no_input__reverts(channels, lie):
    lie.request = (*lie.request[:3], ZERO32, *lie.request[4:])
    lie.id = channels.game.market.id_of(lie.request)
    with refuses("RequestForeign", lie.id):
        channels.summon(lie)


def test_summon__channel_of_another_signer__reverts(channels, lie, bob):
    with refuses("RequestForeign", lie.id):
        channels.summon(lie, signer=bob)


@pytest.mark.parametrize(
    "receipt",
    [{"request_id": digest("another")}, {"output_root": ZERO32}, {"chainId": 2}],
    ids=lambda receipt: next(iter(receipt)),
)
def test_summon__receipt_for_something_else__reverts(channels, lie, receipt):
    with refuses("ReceiptInvalid", lie.id, channels.operator):
        channels.summon(lie, **receipt)


def test_summon__receipt_of_another_operator__reverts(channels, lie, rival):
    with refuses("ReceiptInvalid", lie.id, channels.operator):
        channels.contract.summon(
            lie.request,
            channels.alice,
            channels.offer,
            channels.game.receipt(lie, signer=rival),
            {"from": channels.alice},
        )


def test_summon__by_the_payer__is_logged(channels, truth):
    sold = channels.alice, channels.offer, channels.game.receipt(truth)
    transaction = channels.contract.summon(truth.request, *sold, {"from": channels.alice})
    assert dict(transaction.events["Summoned"]) == {
        "requestId": truth.id,
        "offerId": channels.offer_id,
        "channelId": channels.channel_id(),
        "caller": channels.alice,
    }


def test_summon__operator_is_a_contract__receipt_by_erc_1271(
    channels, operators, token, owner, bob, TestWallet
):
    wallet, sender = TestWallet.deploy({"from": bob}), {"from": bob}
    token.faucet(wallet, 100 * DOLLAR, sender)
    for target, data in [
        (operators, operators.register.encode_input(ZERO32, "")),
        (token, token.approve.encode_input(operators, 100 * DOLLAR)),
        (operators, operators.stake.encode_input(wallet, 100 * DOLLAR)),
    ]:
        wallet.execute(target, data, sender)
    operators.authorize(1, wallet, True, {"from": owner})
    market = replace(channels.game.market, operator=wallet)
    others = replace(channels, game=replace(channels.game, market=market))
    wallet.execute(others.contract, others.contract.cover.encode_input(others.offer, 1), sender)
    others.open(DOLLAR)
    lie = others.answer(others.game.example.lie_inside)
    roots = hexed(lie.committed.output_root), hexed(lie.committed.trace_root)
    sold = others.alice, others.offer, (*roots, b"by contract")
    with refuses("ReceiptInvalid", lie.id, wallet):
        others.contract.summon(lie.request, *sold, {"from": others.alice})
    wallet.approve(others.game.contract.receiptHash(lie.id, *roots), sender)
    others.contract.summon(lie.request, *sold, {"from": others.alice})
    assert others.covered() == (1, 1, 0, False)


def test_summon__without_the_fee__reverts(channels, lie, contract):
    balance = contract.balanceOf(channels.alice)
    contract.transfer(channels.operator, balance, {"from": channels.alice})
    with refuses("BalanceInsufficient", channels.alice, 0, FEE):
        channels.summon(lie)


def test_summon__operator_that_takes_the_lane_with_another_answer__reverts(channels, lie):
    """Of 2^31 lanes it finds an answer for that of a lie: it would keep the lie out."""
    truth = channels.answer(channels.game.example.honest, ahead=1)
    assert truth.request[0] == lie.request[0]
    with refuses("CallerNotPayer", truth.id, channels.operator):
        channels.summon(truth, sender=channels.operator)
    channels.summon(lie)


def test_summon__operator_with_a_second_receipt__reverts(channels, lie):
    """A right one would be in the market first, and the wrong one, which the payer has, never."""
    root = channels.game.example.honest.output_root
    with refuses("CallerNotPayer", lie.id, channels.operator):
        channels.summon(lie, sender=channels.operator, output_root=root)


def test_summon__offer_without_stake__reverts(channels, lie):
    channels.contract.uncover(channels.offer, {"from": channels.operator})
    at(now() + 2 * WINDOW)
    channels.contract.release(channels.offer, {"from": channels.operator})
    late = channels.answer(channels.game.example.lie_inside)
    with refuses("OfferUncovered", channels.offer_id):
        channels.summon(late)


@pytest.mark.life
def test_summon__then_disputed__convicted_like_a_delivery(
    channels, lie, contract, operators, bob, fault
):
    balances = [contract.balanceOf(one) for one in (channels.alice, bob)]
    staked = operators.stakeOf(channels.operator)["staked"]
    channels.summon(lie)
    assert channels.covered() == (2, 1, 0, False)
    transaction = channels.convict(lie, bob, fault)
    bounty = LOCK * 3 // 10
    assert dict(transaction.events["Convicted"]) == {
        "requestId": lie.id,
        "operator": channels.operator,
        "verdict": WRONG_OUTPUT,
        "refund": FEE,
        "compensation": MULTIPLE * FEE,
        "bounty": bounty,
        "burned": LOCK - MULTIPLE * FEE - bounty,
    }
    assert dict(transaction.events["LockSpent"]) == {
        "offerId": channels.offer_id,
        "requestId": lie.id,
        "locks": 1,
    }
    # The fee that alice brought came back; bob has the bounty
    after = [contract.balanceOf(one) for one in (channels.alice, bob)]
    assert [b - a for a, b in zip(balances, after, strict=True)] == [MULTIPLE * FEE, bounty]
    assert operators.stakeOf(channels.operator)["staked"] == staked - LOCK
    assert channels.covered() == (1, 0, 0, False)


def test_summon__in_vain__the_caller_has_paid_the_answer_once_more(
    channels, truth, contract, operators
):
    before = contract.balanceOf(channels.alice)
    earned = contract.balanceOf(channels.operator)
    locked = operators.stakeOf(channels.operator)["locked"]
    channels.summon(truth)
    channels.game.market.finalize(truth.request, truth.delivery)
    assert contract.balanceOf(channels.alice) == before - FEE
    assert contract.balanceOf(channels.operator) == earned + split(FEE)[0]
    assert operators.stakeOf(channels.operator)["locked"] == locked
    ended = channels.contract.endSummon(truth.request, {"from": channels.alice})
    event = {"requestId": truth.id, "offerId": channels.offer_id}
    assert dict(ended.events["SummonEnded"]) == event
    assert channels.covered() == (2, 0, 0, False)


def test_summon__two_receipts_for_one_question__equivocation(channels, truth, bob):
    channels.summon(truth)
    other = channels.game.receipt(truth, output_root=digest("another answer"))
    own = channels.game.receipt(truth)
    channels.game.contract.proveEquivocation(*truth.of, other, own, {"from": bob})
    assert channels.covered() == (1, 0, 0, False)


def test_summon__bytes_withheld__convicted(channels, truth, contract, bob):
    channels.summon(truth)
    contract.demandOutput(*truth.of, {"from": bob, "value": 0})
    at(contract.demandOf(truth.id)[1])
    contract.convictWithheld(*truth.of, {"from": bob})
    assert channels.covered() == (1, 0, 0, False)


# ── More answers summoned than locks ────────────────────────────────────────────────────────────
@pytest.fixture
def three(channels):
    """Three wrong answers, all summoned, over two locks, and a claim that pays for them."""
    held = channels.claim(channels.row(3 * FEE, answers=3))
    lies = [channels.answer(channels.game.example.lie_inside, index) for index in (1, 2, 3)]
    for lie in lies:
        channels.summon(lie)
    return held, lies


def test_settle__as_many_summoned_as_locks__waits(channels, three):
    with refuses("SummonsOpen", channels.offer_id, 3):
        channels.settle(three[0])


def test_convict__no_lock_left__ends_the_answer_and_slashes_nobody(
    channels, three, contract, operators, bob, fault
):
    for lie in three[1]:
        channels.game.challenge(lie, bob, *fault)
    for lie in three[1][:2]:
        channels.game.prove(lie, bob, lie.step(*fault), channels.game.receipt(lie))
    before = [contract.balanceOf(one) for one in (channels.alice, bob)]
    staked = operators.stakeOf(channels.operator)["staked"]
    last = three[1][2]
    transaction = channels.game.prove(last, bob, last.step(*fault), channels.game.receipt(last))
    assert transaction.events["Convicted"]["compensation"] == 0
    after = [contract.balanceOf(one) for one in (channels.alice, bob)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [FEE, 0]
    assert operators.stakeOf(channels.operator)["staked"] == staked
    assert channels.covered() == (0, 0, 0, True)


def test_convict__no_lock_left_and_two_challengers__share_what_there_is(
    channels, three, contract, bob, carol, fault
):
    """The game must not pay out shares of a bounty that was never credited to it."""
    *first, last = three[1]
    for lie in first:
        channels.convict(lie, bob, fault)
    channels.game.challenge(last, bob, *fault)
    channels.game.challenge(last, carol, *fault)
    channels.game.prove(last, carol, last.step(*fault), channels.game.receipt(last))
    channels.game.contract.releaseBond(last.id, bob, {"from": bob})
    assert contract.balanceOf(channels.game.contract) == 0


# ── endSummon and the hooks ─────────────────────────────────────────────────────────────────────
def test_end_summon__still_in_the_market__reverts(channels, truth, bob):
    channels.summon(truth)
    with refuses("SummonLive", truth.id):
        channels.contract.endSummon(truth.request, {"from": bob})


def test_end_summon__never_summoned_or_told_already__reverts(channels, truth, bob):
    with refuses("SummonMissing", truth.id):
        channels.contract.endSummon(truth.request, {"from": bob})
    channels.summon(truth)
    channels.game.market.finalize(truth.request, truth.delivery)
    channels.contract.endSummon(truth.request, {"from": bob})
    with refuses("SummonMissing", truth.id):
        channels.contract.endSummon(truth.request, {"from": bob})


def test_end_summon__lane_taken_by_the_next_answer__ends_the_first_alone(channels, truth, bob):
    """A payer would hold up all claims of an offer for nothing, and its stake for ever."""
    following = channels.answer(channels.game.example.honest, ahead=2 * WINDOW)
    channels.summon(truth)
    channels.game.market.finalize(truth.request, truth.delivery)
    channels.summon(following)
    channels.contract.endSummon(truth.request, {"from": bob})
    assert channels.covered() == (2, 1, 0, False)
    with refuses("SummonLive", following.id):
        channels.contract.endSummon(following.request, {"from": bob})


def test_convicted__not_by_the_market__reverts(channels, truth, bob):
    channels.summon(truth)
    with refuses("CallerNotMarket", bob):
        channels.contract.convicted(truth.id, {"from": bob})


def test_market__hooks_by_anybody_else__revert(channels, contract, lie, bob):
    for call, arguments in (
        (contract.fundChannel, (channels.alice, 1)),
        (contract.payOperator, (bob, 1, channels.terms, 1)),
        (contract.summon, (channels.alice, lie.request, ZERO32)),
    ):
        with refuses("CallerNotChannels", bob):
            call(*arguments, {"from": bob})


def test_lane__of_an_order__cannot_be_a_channels(channels):
    with refuses("LaneInvalid", 1 << 31, (1 << 31) - 1):
        channels.game.market.request(lane=1 << 31)


# ── constructor ─────────────────────────────────────────────────────────────────────────────────
def test_constructor__market_without_a_dispute_game__reverts(
    PaymentChannels, InferenceMarket, ModelAccess, ModelRegistry, OperatorRegistry, token, deployer
):
    by = {"from": deployer}
    stakes, place = (created_address(deployer, deployer.nonce + i) for i in (2, 3))
    registry = ModelRegistry.deploy(ZERO, ZERO, 10, 7 * 86_400, 1_000, 10**6, stakes, by)
    access = ModelAccess.deploy(registry, place, by)
    operators = OperatorRegistry.deploy(token, registry, place, 30 * 86_400, by)
    market = InferenceMarket.deploy(config(token, registry, access, operators, deployer), by)
    with refuses("ConfigInvalid", Verbatim("exactModule")):
        PaymentChannels.deploy((market, 1), by)


def test_constructor__what_does_not_fit__reverts(channels, PaymentChannels, deployer, contract):
    with refuses("ConfigInvalid", "market"):
        PaymentChannels.deploy((contract, 1), {"from": deployer})
    with refuses("ConfigInvalid", Verbatim("closeDelay")):
        PaymentChannels.deploy((contract, 0), {"from": deployer})
    assert channels.contract.config() == (contract, 50)
    assert contract.channels() == channels.contract
