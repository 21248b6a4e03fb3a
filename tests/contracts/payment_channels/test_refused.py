"""PaymentChannels.proveRefused: an answer to somebody whom the model's owner had refused."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import LOCK, ON_REQUEST, refuses

GRACE = 300  # seconds
PARAMS = 5  # word of a request


@pytest.fixture
def refuse(channels, access, owner):
    """Let the model's owner revoke alice's grant; return when."""

    def act():
        access.revoke(1, channels.alice, {"from": owner})
        return now()

    return act


@pytest.fixture
def answer(channels):
    """Answer alice at a time, without a word about her access."""
    return lambda time, **more: channels.answer(
        channels.game.example.honest, ahead=time - now(), **more
    )


def prove(channels, given, sender, signer=None, **receipt):
    return channels.contract.proveRefused(
        given.request,
        signer or channels.alice,
        channels.offer,
        channels.game.receipt(given, **receipt),
        {"from": sender},
    )


def test_prove_refused__no_grant__burns_a_lock(channels, operators, refuse, answer, bob):
    given = answer(refuse() + GRACE)
    at(now() + GRACE)
    before, burned = operators.stakeOf(channels.operator), operators.burned()

    transaction = prove(channels, given, bob)

    after = operators.stakeOf(channels.operator)
    assert (before[0] - after[0], before[1] - after[1]) == (LOCK, LOCK)
    assert operators.burned() == burned + LOCK
    assert channels.covered() == (1, 0, 0, False)
    assert dict(transaction.events["RefusedProven"]) == {
        "requestId": given.id,
        "offerId": channels.offer_id,
        "caller": bob,
    }
    assert dict(transaction.events["LockSpent"])["locks"] == 1


def test_prove_refused__in_the_time_to_learn_of_it__reverts(channels, refuse, answer, bob):
    given = answer(refuse() + GRACE - 1)
    at(now() + GRACE)
    with refuses("RefusalUncertain", given.id, given.request[1] >> 200):
        prove(channels, given, bob)


def test_prove_refused__signed_for_a_time_before_all_rules__reverts(channels, refuse, answer, bob):
    refuse()
    given = answer(GRACE - 1)
    with refuses("RefusalUncertain", given.id, GRACE - 1):
        prove(channels, given, bob)


def test_prove_refused__signed_for_a_time_to_come__reverts(channels, refuse, answer, bob):
    time = refuse() + GRACE + 10
    given = answer(time)
    at(time - 1)
    with refuses("RefusalUncertain", given.id, time):
        prove(channels, given, bob)
    at(time)
    prove(channels, given, bob)


def test_prove_refused__nobody_was__reverts(channels, answer, bob):
    at(now() + GRACE)
    given = answer(now())
    with refuses("RefusalUncertain", given.id, given.request[1] >> 200):
        prove(channels, given, bob)


def test_prove_refused__forgiven_by_the_owner__reverts(
    channels, access, owner, refuse, answer, bob
):
    given = answer(refuse() + GRACE)
    at(now() + GRACE)
    access.grant(1, channels.alice, 0, 0, 0, {"from": owner})
    with refuses("RefusalUncertain", given.id, given.request[1] >> 200):
        prove(channels, given, bob)


def test_prove_refused__parameters_out_of_bounds__burns_a_lock(
    channels, access, owner, answer, bob
):
    access.setBounds(1, "0x" + "00000003" * 8, "0x" + "00000005" * 8, {"from": owner})
    given = answer(now() + GRACE)
    words = list(given.request)
    words[PARAMS] = "0x" + "00000006" * 8
    given.request = tuple(words)
    given.id = channels.game.market.id_of(given.request)
    at(now() + GRACE)
    prove(channels, given, bob)
    assert channels.covered()[0] == 1


def test_prove_refused__twice__reverts(channels, refuse, answer, bob):
    given = answer(refuse() + GRACE)
    at(now() + GRACE)
    prove(channels, given, bob)
    with refuses("RefusalProvenAlready", given.id):
        prove(channels, given, bob)


def test_prove_refused__last_lock__exhausts_the_offer(channels, refuse, answer, bob):
    time = refuse() + GRACE
    first, second, third = (answer(time, index=index) for index in (1, 2, 3))
    at(now() + GRACE)
    prove(channels, first, bob)
    prove(channels, second, bob)
    assert channels.covered() == (0, 0, 0, True)
    with refuses("OfferUncovered", channels.offer_id):
        prove(channels, third, bob)


def test_prove_refused__granted_then_and_applied_again_since__reverts(
    channels, access, owner, answer, bob
):
    access.setPolicy(1, ON_REQUEST, 0, 0, {"from": owner})
    expiry = now() + 2 * GRACE
    access.grant(1, channels.alice, expiry, 0, 0, {"from": owner})
    given = answer(expiry - 1)  # with a grant, by an operator that did nothing wrong
    at(expiry)
    access.submitApplication(1, "more", {"from": channels.alice})
    with refuses("RefusalUncertain", given.id, given.request[1] >> 200):
        prove(channels, given, bob)


@pytest.mark.parametrize("receipt", [{"chainId": 2}, {"output_root": "0x" + "00" * 32}])
def test_prove_refused__not_signed_by_the_operator__reverts(channels, refuse, answer, bob, receipt):
    given = answer(refuse() + GRACE)
    at(now() + GRACE)
    with refuses("ReceiptInvalid", given.id, channels.operator):
        prove(channels, given, bob, **receipt)


def test_prove_refused__of_another_channel__reverts(channels, refuse, answer, bob):
    given = answer(refuse() + GRACE)
    at(now() + GRACE)
    with refuses("RequestForeign", given.id):
        prove(channels, given, bob, signer=bob)


def test_prove_refused__also_summoned__stands_beside_the_dispute(channels, refuse, bob, fault):
    lie = channels.answer(channels.game.example.lie_inside, ahead=refuse() + GRACE - now())
    at(now() + GRACE)
    channels.summon(lie)
    prove(channels, lie, bob)
    channels.convict(lie, bob, fault)
    assert channels.covered() == (0, 0, 0, True)
