"""openDispute, closeDispute, convict, annul, annulStale: what a dispute module may do."""

import pytest

from tests.contracts.chain import at
from tests.contracts.market import (
    DEMAND_PERIOD,
    DOLLAR,
    EQUIVOCATION,
    EXACT,
    FEE,
    LOCK,
    MAX_DISPUTE_AGE,
    MULTIPLE,
    OUTPUT,
    WINDOW,
    WRONG_OUTPUT,
    digest,
    publication,
    refuses,
)

CALLS = {
    "openDispute": (),
    "closeDispute": (),
    "convict": (WRONG_OUTPUT, "0x" + "11" * 20, "0x" + "22" * 20),
    "annul": (),
}


@pytest.fixture
def delivered(market):
    return market.delivered()


@pytest.fixture
def disputed(contract, delivered, committee):
    contract.openDispute(*delivered, {"from": committee})
    return delivered


@pytest.mark.parametrize("name", CALLS)
def test_module_calls__by_anyone_else__revert(contract, delivered, exact, bob, owner, name):
    for caller in (exact, bob, owner):  # the module of another assurance is anyone else
        with refuses("CallerNotModule", caller):
            getattr(contract, name)(*delivered, *CALLS[name], {"from": caller})


@pytest.mark.parametrize("name", CALLS)
def test_module_calls__request_settled__revert(market, contract, delivered, committee, name):
    market.finalize(*delivered)
    with refuses("RequestStateMismatch", market.id_of(delivered[0])):
        getattr(contract, name)(*delivered, *CALLS[name], {"from": committee})


@pytest.mark.parametrize("name", ["closeDispute", "convict", "annul"])
def test_module_calls__no_dispute_open__revert(market, contract, delivered, committee, name):
    with refuses("DisputesMissing", market.id_of(delivered[0])):
        getattr(contract, name)(*delivered, *CALLS[name], {"from": committee})


def test_open_dispute__at_the_end_of_the_window__reverts(market, contract, delivered, committee):
    until = delivered[1][1] + WINDOW
    at(until)
    with refuses("ChallengeWindowPassed", market.id_of(delivered[0]), until):
        contract.openDispute(*delivered, {"from": committee})


def test_open_dispute__last_second__counts(market, contract, delivered, committee):
    at(delivered[1][1] + WINDOW - 1)
    transaction = contract.openDispute(*delivered, {"from": committee})
    request_id = market.id_of(delivered[0])
    expected = {"requestId": request_id, "module": committee, "open": 1}
    assert dict(transaction.events["DisputeOpened"]) == expected
    assert contract.openDisputesOf(request_id) == 1


def test_open_dispute__exact_version__belongs_to_the_exact_module(
    market, contract, registry, programs, owner, committee, exact, bob
):
    programs.add(digest("program"), {"from": bob})
    version = publication(assurance=EXACT, modelRoot=digest("program"))
    registry.publishVersion(1, registry.headOf(1), version, {"from": owner})
    delivered = market.delivered(version=2)
    with refuses("CallerNotModule", committee):
        contract.openDispute(*delivered, {"from": committee})
    contract.openDispute(*delivered, {"from": exact})
    assert contract.openDisputesOf(market.id_of(delivered[0])) == 1


def test_close_dispute__all_closed__lets_finalize_pass(market, contract, disputed, committee):
    contract.openDispute(*disputed, {"from": committee})
    request_id = market.id_of(disputed[0])
    for left in (1, 0):
        event = contract.closeDispute(*disputed, {"from": committee}).events["DisputeClosed"]
        assert dict(event) == {"requestId": request_id, "module": committee, "open": left}
    assert market.finalize(*disputed).events["Finalized"]["requestId"] == request_id


def test_convict__wrong_output__pays_challenger_and_prover(
    market, contract, operators, disputed, committee, alice, bob, rival, operator
):
    before = contract.balanceOf(alice)
    transaction = contract.convict(*disputed, EQUIVOCATION, bob, rival, {"from": committee})
    bounty = LOCK * 30 // 100
    assert contract.balanceOf(alice) == before + FEE + MULTIPLE * FEE
    assert contract.balanceOf(bob) == contract.balanceOf(rival) == bounty // 2
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert transaction.events["Convicted"]["verdict"] == EQUIVOCATION
    request_id = market.id_of(disputed[0])
    assert [dict(event) for event in transaction.events["BountyPaid"]] == [
        {"requestId": request_id, "account": account, "amount": bounty // 2}
        for account in (bob, rival)
    ]
    assert contract.openDisputesOf(market.id_of(disputed[0])) == 0
    with refuses("RequestStateMismatch", market.id_of(disputed[0])):
        market.finalize(*disputed)


def test_convict__stake_leaving__is_not_the_locked_part(
    contract, operators, disputed, committee, operator, bob
):
    operators.startUnstake(100 * DOLLAR - LOCK, {"from": operator})
    contract.convict(*disputed, WRONG_OUTPUT, bob, bob, {"from": committee})
    assert operators.stakeOf(operator) == (0, 0, True)


def test_convict__output_demanded_too__gives_the_bond_back(
    market, contract, disputed, committee, bob
):
    contract.demandOutput(*disputed, {"from": bob, "value": 3})
    assert contract.openDisputesOf(market.id_of(disputed[0])) == 2
    contract.convict(*disputed, WRONG_OUTPUT, bob, bob, {"from": committee})
    assert contract.bondOf(bob) == 3
    with refuses("RequestStateMismatch", market.id_of(disputed[0])):
        contract.convictWithheld(*disputed, {"from": bob})


def test_annul__no_verdict__refunds_and_slashes_nobody(
    market, contract, operators, disputed, committee, alice, operator
):
    before = contract.balanceOf(alice)
    transaction = contract.annul(*disputed, {"from": committee})
    assert contract.balanceOf(alice) == before + FEE
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    assert market.commitment() == 1
    assert dict(transaction.events["Annulled"]) == {
        "requestId": market.id_of(disputed[0]),
        "operator": operator,
        "refund": FEE,
    }


@pytest.fixture
def annulled_while_demanded(market, contract, disputed, committee, bob):
    """The module finds nothing while bob waits for the bytes."""
    contract.demandOutput(*disputed, {"from": bob, "value": 3})
    transaction = contract.annul(*disputed, {"from": committee})
    assert "Annulled" not in transaction.events
    expected = {"requestId": market.id_of(disputed[0]), "module": committee, "open": 1}
    assert dict(transaction.events["DisputeClosed"]) == expected
    return disputed


def test_annul__output_demanded_and_withheld__is_no_escape_from_the_demand(
    market, contract, operators, annulled_while_demanded, operator, bob
):
    request, delivery = annulled_while_demanded
    request_id = market.id_of(request)
    deadline = contract.demandOf(request_id)[1]
    with refuses("DisputesOpen", request_id, 1):
        market.finalize(request, delivery)
    at(deadline)
    assert "Convicted" in contract.convictWithheld(request, delivery, {"from": bob}).events
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert (contract.balanceOf(bob), contract.bondOf(bob)) == (LOCK * 30 // 100, 3)


def test_annul__output_demanded_and_posted__annuls_then(
    market, contract, operators, annulled_while_demanded, alice, operator, bob
):
    before = contract.balanceOf(alice)
    transaction = contract.postOutput(*annulled_while_demanded, OUTPUT, {"from": operator})
    assert "Annulled" in transaction.events
    assert contract.balanceOf(alice) == before + FEE
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    assert market.commitment() == 1
    assert contract.bondOf(bob) == 3


def test_annul__while_demanded__the_module_opens_and_ends_nothing_more(
    market, contract, annulled_while_demanded, committee, bob
):
    request_id = market.id_of(annulled_while_demanded[0])
    with refuses("DisputeAnnulled", request_id):
        contract.openDispute(*annulled_while_demanded, {"from": committee})
    for name in ("closeDispute", "annul"):
        with refuses("DisputesMissing", request_id):
            getattr(contract, name)(*annulled_while_demanded, {"from": committee})
    with refuses("DisputesMissing", request_id):
        contract.convict(*annulled_while_demanded, 0, bob, bob, {"from": committee})
    with refuses("DisputesMissing", request_id):
        contract.annulStale(*annulled_while_demanded, {"from": bob})


def test_convict_withheld__dispute_open__waits_for_its_end(
    market, contract, disputed, committee, bob, rival, alice
):
    """A friend of the liar who demands and convicts in front of a tally takes no bounty."""
    contract.demandOutput(*disputed, {"from": rival, "value": 3})
    request_id = market.id_of(disputed[0])
    at(contract.demandOf(request_id)[1])
    with refuses("DisputesOpen", request_id, 1):
        contract.convictWithheld(*disputed, {"from": rival})
    contract.convict(*disputed, WRONG_OUTPUT, bob, alice, {"from": committee})
    assert contract.balanceOf(bob) == LOCK * 30 // 100 // 2
    assert (contract.balanceOf(rival), contract.bondOf(rival)) == (0, 3)


def test_convict_withheld__dispute_closed__convicts(contract, market, disputed, committee, bob):
    contract.demandOutput(*disputed, {"from": bob})
    contract.closeDispute(*disputed, {"from": committee})
    at(contract.demandOf(market.id_of(disputed[0]))[1])
    assert "Convicted" in contract.convictWithheld(*disputed, {"from": bob}).events


@pytest.mark.parametrize("early", [True, False])
def test_convict_withheld__module_is_dead__waits_until_that_is_sure(
    contract, market, disputed, bob, early
):
    contract.demandOutput(*disputed, {"from": bob})
    at(disputed[1][1] + WINDOW + MAX_DISPUTE_AGE - early)
    if early:
        with refuses("DisputesOpen", market.id_of(disputed[0]), 1):
            contract.convictWithheld(*disputed, {"from": bob})
    else:
        assert "Convicted" in contract.convictWithheld(*disputed, {"from": bob}).events


def test_convict__one_account_is_both__is_paid_at_once(contract, disputed, committee, bob):
    transaction = contract.convict(*disputed, WRONG_OUTPUT, bob, bob, {"from": committee})
    assert [event["amount"] for event in transaction.events["BountyPaid"]] == [LOCK * 30 // 100]


def test_annul_stale__no_dispute_open__reverts(market, contract, delivered, bob):
    at(delivered[1][1] + WINDOW + MAX_DISPUTE_AGE)
    with refuses("DisputesMissing", market.id_of(delivered[0])):
        contract.annulStale(*delivered, {"from": bob})


def test_annul_stale__second_too_early__reverts(market, contract, disputed, bob):
    stale_at = disputed[1][1] + WINDOW + MAX_DISPUTE_AGE
    at(stale_at - 1)
    with refuses("DisputesNotStale", market.id_of(disputed[0]), stale_at):
        contract.annulStale(*disputed, {"from": bob})


def test_annul_stale__output_demanded__is_no_escape_from_the_demand(
    market, contract, disputed, operator, bob
):
    stale_at = disputed[1][1] + WINDOW + MAX_DISPUTE_AGE
    at(stale_at)
    time = contract.demandOutput(*disputed, {"from": bob}).timestamp
    with refuses("DemandOpen", market.id_of(disputed[0]), time + DEMAND_PERIOD):
        contract.annulStale(*disputed, {"from": operator})
    at(time + DEMAND_PERIOD)
    assert "Convicted" in contract.convictWithheld(*disputed, {"from": bob}).events


def test_annul_stale__module_never_closes__anyone_frees_the_money(
    market, contract, operators, disputed, alice, operator, bob
):
    before = contract.balanceOf(alice)
    at(disputed[1][1] + WINDOW + MAX_DISPUTE_AGE)
    contract.annulStale(*disputed, {"from": bob})
    assert contract.balanceOf(alice) == before + FEE
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    assert market.commitment() == 1
