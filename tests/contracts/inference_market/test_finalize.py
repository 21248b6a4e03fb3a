"""InferenceMarket.finalize and cancelExpired: how a request ends when nobody disputes it."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import (
    CLAIM_FORFEIT,
    DOLLAR,
    FEE,
    NO_CLAIM,
    OUTPUT_ROOT,
    WINDOW,
    digest,
    expires_at,
    publication,
    refuses,
)


def test_finalize__lists_of_unequal_length__reverts(market, contract, bob):
    request, _ = market.delivered()
    with refuses("LengthMismatch", 1, 0):
        contract.finalize([request], [], {"from": bob})


def test_finalize__second_before_the_window_ends__reverts(market, contract, bob):
    request, delivery = market.delivered()
    at(delivery[1] + WINDOW - 1)
    with refuses("ChallengeWindowOpen", market.id_of(request), delivery[1] + WINDOW):
        contract.finalize([request], [delivery], {"from": bob})


def test_finalize__not_delivered__reverts(market, contract, operator, bob):
    request = market.request()
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.finalize([request], [(operator, now() - WINDOW, OUTPUT_ROOT)], {"from": bob})


@pytest.mark.parametrize("field", range(3))
def test_finalize__delivery_misquoted__reverts(market, contract, bob, field):
    request, delivery = market.delivered()
    changed = list(delivery)
    changed[field] = (bob.address, delivery[1] - WINDOW, digest("other"))[field]
    at(delivery[1] + WINDOW)
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.finalize([request], [tuple(changed)], {"from": bob})


def test_finalize__twice__reverts(market, contract):
    request, delivery = market.delivered()
    market.finalize(request, delivery)
    with refuses("RequestStateMismatch", market.id_of(request)):
        market.finalize(request, delivery)


def test_finalize__twice_in_one_call__settles_once(market, contract, operator, bob):
    request, delivery = market.delivered()
    at(delivery[1] + WINDOW)
    transaction = contract.finalize([request] * 2, [delivery] * 2, {"from": bob})
    assert len(transaction.events["Finalized"]) == 1
    assert contract.balanceOf(operator) == FEE * 70 // 100


def test_finalize__one_not_ready__skips_it_and_pays_the_rest(market, contract, operator, bob):
    ready = market.delivered(lane=0)
    at(now() + WINDOW)
    young = market.delivered(lane=1)
    at(ready[1][1] + WINDOW + 1)
    transaction = contract.finalize([young[0], ready[0]], [young[1], ready[1]], {"from": bob})
    assert [e["requestId"] for e in transaction.events["Finalized"]] == [market.id_of(ready[0])]
    assert contract.balanceOf(operator) == FEE * 70 // 100
    assert (market.commitment(0), market.commitment(1) > 1) == (1, True)


def test_finalize__none_of_several_is_ready__reverts(market, contract, bob):
    pairs = [market.delivered(lane=0), market.delivered(lane=1)]
    requests, deliveries = zip(*pairs, strict=True)
    with refuses("NothingSettled"):
        contract.finalize(requests, deliveries, {"from": bob})


def test_finalize__nothing__does_nothing(market, contract, bob):
    assert not contract.finalize([], [], {"from": bob}).events


@pytest.mark.parametrize("how", ["demand", "dispute"])
def test_finalize__demand_or_dispute_in_front__pays_the_rest(
    market, contract, committee, operator, bob, how
):
    stuck, fine = market.delivered(lane=0), market.delivered(lane=1)
    if how == "demand":
        contract.demandOutput(*stuck, {"from": bob})
    else:
        contract.openDispute(*stuck, {"from": committee})
    at(fine[1][1] + WINDOW)
    contract.finalize([stuck[0], fine[0]], [stuck[1], fine[1]], {"from": bob})
    assert contract.balanceOf(operator) == FEE * 70 // 100
    assert (market.commitment(0) > 1, market.commitment(1)) == (True, 1)


def test_finalize__open_dispute__reverts(market, contract, committee, bob):
    request, delivery = market.delivered()
    contract.openDispute(request, delivery, {"from": committee})
    at(delivery[1] + WINDOW)
    with refuses("DisputesOpen", market.id_of(request), 1):
        contract.finalize([request], [delivery], {"from": bob})


def test_finalize__open_demand__reverts(market, contract, bob):
    request, delivery = market.delivered()
    contract.demandOutput(request, delivery, {"from": bob})
    at(delivery[1] + WINDOW)
    with refuses("DisputesOpen", market.id_of(request), 1):
        contract.finalize([request], [delivery], {"from": bob})


@pytest.mark.life
def test_finalize__by_anyone__splits_the_fee(market, contract, operators, operator, treasury, bob):
    request, delivery = market.delivered()
    transaction = market.finalize(request, delivery, bob)
    shares = {
        "operatorFee": FEE * 70 // 100,
        "ownerFee": FEE * 15 // 100,
        "dataFee": FEE * 10 // 100,
        "protocolFee": FEE * 5 // 100,
        "refund": 0,
    }
    expected = {"requestId": market.id_of(request), "operator": operator, **shares}
    assert dict(transaction.events["Finalized"]) == expected
    assert sum(shares.values()) == FEE
    assert contract.balanceOf(operator) == shares["operatorFee"]
    assert contract.modelEarnings(1) == (shares["ownerFee"], shares["dataFee"])
    assert contract.balanceOf(treasury) == shares["protocolFee"]
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    assert market.commitment() == 1


def test_finalize__fee_that_does_not_divide__dust_is_the_owners(market, registry, owner):
    registry.setTerms(1, 1, 9_999, 3_333, 3_333, 5, WINDOW, {"from": owner})
    request, delivery = market.delivered()
    event = market.finalize(request, delivery).events["Finalized"]
    assert (event["operatorFee"], event["dataFee"], event["protocolFee"]) == (3_332, 3_332, 499)
    assert event["ownerFee"] == 9_999 - 3_332 - 3_332 - 499


def test_finalize__largest_fee_and_shares__does_not_overflow(
    market, contract, token, registry, owner, alice, operators, operator, accounts
):
    registry.setTerms(1, 1, 2**38, 9_000, 0, 6, WINDOW, {"from": owner})
    for _ in range(4):
        token.faucet(alice, 10**12, {"from": alice})
        token.faucet(operator, 10**12, {"from": alice})
    contract.deposit(alice, 2**38, {"from": alice})
    operators.stake(operator, 4 * 10**12, {"from": operator})
    request, delivery = market.delivered(maxFee=2**38)
    event = market.finalize(request, delivery).events["Finalized"]
    assert event["operatorFee"] == 2**38 * 9 // 10
    assert event["ownerFee"] + event["protocolFee"] == 2**38 - event["operatorFee"]


def test_finalize__batch__accumulates(market, contract, registry, operators, owner, operator):
    registry.publishVersion(1, registry.headOf(1), publication(fee=FEE // 2), {"from": owner})
    pairs = [market.delivered(lane=0), market.delivered(lane=1, version=2)]
    at(now() + WINDOW)
    requests, deliveries = zip(*pairs, strict=True)
    contract.finalize(requests, deliveries, {"from": operator})
    assert contract.balanceOf(operator) == FEE * 3 // 2 * 70 // 100
    assert operators.stakeOf(operator)[1] == 0


def test_finalize__lane__is_free_for_the_next_request(market):
    request, delivery = market.delivered()
    market.finalize(request, delivery)
    again = market.request()
    assert market.id_of(again) != market.id_of(request)


def test_cancel_expired__second_before_expiry__reverts(market, contract, bob):
    request = market.request()
    at(expires_at(request) - 1)
    with refuses("RequestNotExpired", market.id_of(request), expires_at(request)):
        contract.cancelExpired(request, NO_CLAIM, {"from": bob})


def test_cancel_expired__delivered__reverts(market, contract, bob):
    request, _ = market.delivered()
    at(expires_at(request))
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.cancelExpired(request, NO_CLAIM, {"from": bob})


def test_cancel_expired__claim_left_out__reverts(market, contract, bob):
    request = market.request()
    market.claim(request)
    at(expires_at(request))
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.cancelExpired(request, NO_CLAIM, {"from": bob})


def test_cancel_expired__twice__reverts(market, contract, bob):
    request = market.request()
    at(expires_at(request))
    contract.cancelExpired(request, NO_CLAIM, {"from": bob})
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.cancelExpired(request, NO_CLAIM, {"from": bob})


def test_cancel_expired__at_the_second_of_expiry__refunds_all(market, contract, alice, bob):
    before = contract.balanceOf(alice)
    request = market.request()
    at(expires_at(request))
    transaction = contract.cancelExpired(request, NO_CLAIM, {"from": bob})
    assert contract.balanceOf(alice) == before
    assert market.commitment() == 1
    assert dict(transaction.events["Cancelled"]) == {
        "requestId": market.id_of(request),
        "requester": alice,
        "refund": FEE,
    }


def test_cancel_expired__with_a_lapsed_claim__forfeits_to_the_treasury_alone(
    market, contract, operators, treasury, alice, rival, bob
):
    """Whoever asks what nobody can answer earns nothing by it."""
    before = contract.balanceOf(alice)
    request = market.request()
    claim = market.claim(request, rival)
    at(expires_at(request))
    contract.cancelExpired(request, claim, {"from": bob})
    assert contract.balanceOf(alice) == before
    assert contract.balanceOf(bob) == 0
    assert contract.balanceOf(treasury) == CLAIM_FORFEIT
    assert operators.stakeOf(rival) == (100 * DOLLAR - CLAIM_FORFEIT, 0, True)
