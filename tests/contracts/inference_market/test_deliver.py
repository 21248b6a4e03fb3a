"""InferenceMarket.deliver and deliverBatch: only the one whose turn it is, and only once."""

import pytest

from tests.contracts.chain import at
from tests.contracts.market import (
    DOLLAR,
    LOCK,
    NO_CLAIM,
    OUTPUT_ROOT,
    ZERO,
    ZERO32,
    digest,
    expires_at,
    priority_until,
    refuses,
)


def test_deliver__no_output__reverts(market, contract, operator):
    request = market.request()
    with refuses("OutputRootZero"):
        contract.deliver(request, NO_CLAIM, (ZERO32, ZERO32, 0), {"from": operator})


def test_deliver__stranger__reverts(market, bob):
    request = market.request()
    with refuses("CallerNotPreferredOperator", market.id_of(request), bob):
        market.deliver(request, sender=bob)


def test_deliver__copied_pending_delivery_of_an_operator__reverts(market, rival):
    request = market.request()  # rival is authorized and staked, but it is not its turn
    with refuses("CallerNotPreferredOperator", market.id_of(request), rival):
        market.deliver(request, sender=rival)


def test_deliver__no_preferred_operator_and_no_claim__reverts(market, rival):
    request = market.request(operator=ZERO, priorityWindow=0)
    with refuses("CallerNotPreferredOperator", market.id_of(request), rival):
        market.deliver(request, sender=rival)


def test_deliver__preferred_at_the_end_of_priority__reverts(market):
    request = market.request()
    at(priority_until(request))
    with refuses("PriorityWindowPassed", market.id_of(request), priority_until(request)):
        market.deliver(request)


def test_deliver__preferred_but_not_authorized__reverts(market, operators, owner, operator):
    operators.authorize(1, operator, False, {"from": owner})
    request = market.request()
    with refuses("OperatorUnauthorized", 1, operator):
        market.deliver(request)


def test_deliver__stake_all_locked__reverts(market, operators, operator):
    operators.startUnstake(100 * DOLLAR - LOCK, {"from": operator})
    market.delivered(lane=0)
    request = market.request(lane=1)
    with refuses("StakeInsufficient", operator, 0, LOCK):
        market.deliver(request)


def test_deliver__with_somebody_elses_claim__reverts(market, operator, rival):
    request = market.request()
    claim = market.claim(request, rival)
    with refuses("CallerNotClaimant", market.id_of(request), operator):
        market.deliver(request, claim, operator)


def test_deliver__without_the_claim_that_exists__reverts(market, operator, rival):
    request = market.request()
    market.claim(request, rival)
    with refuses("RequestStateMismatch", market.id_of(request)):
        market.deliver(request, NO_CLAIM, operator)


def test_deliver__with_a_claim_that_never_was__reverts(market, rival):
    request = market.request()
    with refuses("RequestStateMismatch", market.id_of(request)):
        market.deliver(request, (rival, priority_until(request) + 30), rival)


def test_deliver__at_the_second_the_claim_lapses__reverts(market, rival):
    request = market.request()
    claim = market.claim(request)
    at(claim[1])
    with refuses("ClaimLapsed", market.id_of(request), claim[1]):
        market.deliver(request, claim, rival)


def test_deliver__after_expiry__reverts_for_claimants_too(market, contract, rival):
    request = market.request()
    at(expires_at(request) - 1)
    event = contract.claim(request, NO_CLAIM, {"from": rival}).events["Claimed"]
    at(expires_at(request))
    with refuses("ClaimLapsed", market.id_of(request), expires_at(request)):
        market.deliver(request, (event["operator"], event["until"]), rival)


def test_deliver__second_time__reverts(market):
    request, _ = market.delivered()
    with refuses("RequestStateMismatch", market.id_of(request)):
        market.deliver(request)


@pytest.mark.parametrize("word", range(8))
def test_deliver__any_word_changed__reverts(market, contract, word):
    request = market.request()
    changed = list(request)
    value = changed[word]
    changed[word] = value ^ (1 << 255) if isinstance(value, int) else digest("other")
    with refuses("RequestStateMismatch", contract.requestIdOf(tuple(changed))):
        market.deliver(tuple(changed))


def test_deliver__float_answer_that_lies_elsewhere__reverts(market, contract, operator):
    """A liar that names 32 random bytes could not be judged: nobody would find its output."""
    request = market.request()
    named = digest("32 random bytes")
    with refuses("OutputCidForeign", market.id_of(request)):
        contract.deliver(request, NO_CLAIM, (OUTPUT_ROOT, named, 0), {"from": operator})


def test_deliver__in_the_priority_window__locks_and_commits(market, contract, operators, operator):
    request = market.request()
    at(priority_until(request) - 1)
    transaction = contract.deliver(
        request, NO_CLAIM, (OUTPUT_ROOT, OUTPUT_ROOT, 0), {"from": operator}
    )
    assert operators.stakeOf(operator) == (100 * DOLLAR, LOCK, True)
    assert dict(transaction.events["Delivered"]) == {
        "requestId": market.id_of(request),
        "operator": operator,
        "outputRoot": OUTPUT_ROOT,
        "outputCid": OUTPUT_ROOT,
        "stamp": priority_until(request) - 1,
    }
    assert market.commitment() > 1


def test_deliver__by_the_claimant__locks_nothing_more(market, operators, rival):
    request = market.request()
    claim = market.claim(request)
    at(claim[1] - 1)
    market.deliver(request, claim, rival)
    assert operators.stakeOf(rival) == (100 * DOLLAR, LOCK, True)


def test_deliver__claimant_no_longer_authorized__is_still_accepted(market, operators, owner, rival):
    request = market.request()
    claim = market.claim(request)
    operators.authorize(1, rival, False, {"from": owner})
    assert market.deliver(request, claim, rival)[0] == rival


def test_deliver_batch__lists_of_unequal_length__reverts(market, contract, operator):
    request = market.request()
    lists = [[request], [NO_CLAIM], [(OUTPUT_ROOT, ZERO32, 0)]]
    for short in range(1, 3):
        arguments = [[] if i == short else items for i, items in enumerate(lists)]
        with refuses("LengthMismatch", 1, 0):
            contract.deliverBatch(*arguments, {"from": operator})


def test_deliver_batch__one_not_possible__reverts_all(market, contract, operator):
    good, bad = market.request(lane=0), market.request(lane=1, operator=ZERO, priorityWindow=0)
    with refuses("CallerNotPreferredOperator", market.id_of(bad), operator):
        contract.deliverBatch(
            [good, bad], [NO_CLAIM] * 2, [(OUTPUT_ROOT, ZERO32, 0)] * 2, {"from": operator}
        )
    assert contract.commitmentOf(market.alice, 0) == market.id_of(good)


def test_deliver_batch__same_request_twice__reverts(market, contract, operator):
    request = market.request()
    with refuses("RequestStateMismatch", market.id_of(request)):
        contract.deliverBatch(
            [request] * 2, [NO_CLAIM] * 2, [(OUTPUT_ROOT, ZERO32, 0)] * 2, {"from": operator}
        )


def test_deliver_batch__several__locks_for_each(market, contract, operators, operator):
    requests = [market.request(lane=lane) for lane in range(3)]
    roots = [digest(str(i)) for i in range(3)]
    transaction = contract.deliverBatch(
        requests, [NO_CLAIM] * 3, [(root, ZERO32, 0) for root in roots], {"from": operator}
    )
    assert [event["outputRoot"] for event in transaction.events["Delivered"]] == roots
    assert operators.stakeOf(operator) == (100 * DOLLAR, 3 * LOCK, True)


def test_deliver_batch__claimed_and_preferred_together__is_allowed(market, contract, rival):
    claimed = market.request(lane=0)
    claim = market.claim(claimed, rival)
    preferred = market.request(lane=1, operator=rival)
    transaction = contract.deliverBatch(
        [claimed, preferred], [claim, NO_CLAIM], [(OUTPUT_ROOT, ZERO32, 0)] * 2, {"from": rival}
    )
    assert len(transaction.events["Delivered"]) == 2
