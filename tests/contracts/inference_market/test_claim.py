"""InferenceMarket.claim: the exclusive right to deliver, after the priority window."""

import pytest

from tests.contracts.chain import at
from tests.contracts.market import (
    CLAIM_FORFEIT,
    CLAIM_PERIOD,
    DOLLAR,
    LOCK,
    NO_CLAIM,
    ZERO,
    expires_at,
    priority_until,
    refuses,
)


def test_claim__request_never_made__reverts(market, contract, rival):
    request = market.request()
    forged = (request[0], request[1], request[2], *request[3:7], 1)
    with refuses("RequestStateMismatch", contract.requestIdOf(forged)):
        contract.claim(forged, NO_CLAIM, {"from": rival})


def test_claim__second_before_priority_ends__reverts(market, contract, rival):
    request = market.request()
    at(priority_until(request) - 1)
    with refuses("PriorityWindowOpen", market.id_of(request), priority_until(request)):
        contract.claim(request, NO_CLAIM, {"from": rival})


def test_claim__at_the_second_of_expiry__reverts(market, contract, rival):
    request = market.request()
    at(expires_at(request))
    with refuses("RequestExpired", market.id_of(request), expires_at(request)):
        contract.claim(request, NO_CLAIM, {"from": rival})


def test_claim__operator_not_authorized__reverts(market, contract, bob):
    request = market.request(operator=ZERO, priorityWindow=0)
    with refuses("OperatorUnauthorized", 1, bob):
        contract.claim(request, NO_CLAIM, {"from": bob})


def test_claim__stake_too_small__reverts(market, contract, operators, rival):
    operators.startUnstake(100 * DOLLAR - LOCK + 1, {"from": rival})
    request = market.request(operator=ZERO, priorityWindow=0)
    with refuses("StakeInsufficient", rival, LOCK - 1, LOCK):
        contract.claim(request, NO_CLAIM, {"from": rival})


def test_claim__claimed_by_another__reverts(market, contract, operator, rival):
    request = market.request()
    claim = market.claim(request, rival)
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.claim(request, NO_CLAIM, {"from": operator})
    at(claim[1] - 1)
    with refuses("ClaimActive", market.id_of(request), claim[1]):
        contract.claim(request, claim, {"from": operator})


@pytest.mark.parametrize("field", [0, 1])
def test_claim__lapsed_claim_misquoted__reverts(market, contract, operator, bob, field):
    request = market.request()
    claim = market.claim(request)
    at(claim[1])
    quoted = (bob, claim[1]) if field == 0 else (claim[0], claim[1] - 1)
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.claim(request, quoted, {"from": operator})


def test_claim__after_delivery__reverts(market, contract, rival):
    request, _ = market.delivered()
    at(priority_until(request))
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.claim(request, NO_CLAIM, {"from": rival})


def test_claim__first_second_after_priority__locks_stake(market, contract, operators, rival):
    request = market.request()
    at(priority_until(request))
    transaction = contract.claim(request, NO_CLAIM, {"from": rival})
    assert operators.stakeOf(rival) == (100 * DOLLAR, LOCK, True)
    assert dict(transaction.events["Claimed"]) == {
        "requestId": market.id_of(request),
        "operator": rival,
        "until": priority_until(request) + CLAIM_PERIOD,
    }


def test_claim__by_the_preferred_operator_when_late__is_allowed(market, operator):
    assert market.claim(market.request(), operator)[0] == operator


def test_claim__near_expiry__ends_with_the_request(market, contract, rival):
    request = market.request()
    at(expires_at(request) - 5)
    transaction = contract.claim(request, NO_CLAIM, {"from": rival})
    assert transaction.events["Claimed"]["until"] == expires_at(request)


@pytest.mark.life
def test_claim__lapsed__forfeits_to_the_treasury(
    market, contract, operators, treasury, alice, operator, rival
):
    request = market.request()
    claim = market.claim(request, rival)
    before = contract.balanceOf(alice)
    at(claim[1])
    transaction = contract.claim(request, claim, {"from": operator})
    assert dict(transaction.events["ClaimForfeited"]) == {
        "requestId": market.id_of(request),
        "operator": rival,
        "amount": CLAIM_FORFEIT,
    }
    assert contract.balanceOf(alice) == before
    assert contract.balanceOf(treasury) == CLAIM_FORFEIT
    assert operators.stakeOf(rival) == (100 * DOLLAR - CLAIM_FORFEIT, 0, True)
    assert operators.stakeOf(operator) == (100 * DOLLAR, LOCK, True)


def test_claim__same_operator_again__pays_for_each_lapse(market, contract, operators, rival):
    request = market.request()
    claim = market.claim(request, rival)
    for _ in range(2):
        at(claim[1])
        event = contract.claim(request, claim, {"from": rival}).events["Claimed"]
        claim = (event["operator"], event["until"])
    assert operators.stakeOf(rival) == (100 * DOLLAR - 2 * CLAIM_FORFEIT, LOCK, True)


def test_claim__no_preferred_operator__is_open_at_once(market, contract, rival):
    request = market.request(operator=ZERO, priorityWindow=0)
    transaction = contract.claim(request, NO_CLAIM, {"from": rival})
    assert transaction.events["Claimed"]["operator"] == rival
