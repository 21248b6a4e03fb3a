"""ModelAccess.submitApplication, grant, deny, revoke: who asks and who decides."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import ALLOW_LIST, OPEN, refuses

NONE, APPLIED, GRANTED, DENIED = range(4)
DECISIONS = {"grant": (0, 0, 0), "deny": (), "revoke": ()}


@pytest.mark.parametrize("policy", [OPEN, ALLOW_LIST])
def test_apply__model_takes_no_applications__reverts(model, access, owner, bob, policy):
    access.setPolicy(1, policy, 0, 0, {"from": owner})
    with refuses("ApplicationsClosed", 1, policy):
        access.submitApplication(1, "please", {"from": bob})


def test_apply__note_too_long__reverts(model, access, bob):
    with refuses("NoteTooLong", 257, 256):
        access.submitApplication(1, "x" * 257, {"from": bob})


def test_apply__twice__reverts(model, access, bob):
    access.submitApplication(1, "please", {"from": bob})
    with refuses("ApplicationPending", 1, bob):
        access.submitApplication(1, "please!", {"from": bob})


def test_apply__denied__reverts_until_revoked(model, access, admin, bob):
    access.deny(1, bob, {"from": admin})
    with refuses("GrantDenied", 1, bob):
        access.submitApplication(1, "please", {"from": bob})
    access.revoke(1, bob, {"from": admin})
    access.submitApplication(1, "please", {"from": bob})
    assert access.grantOf(1, bob)[0] == APPLIED


def test_apply__granted__reverts_until_expired(model, access, admin, bob):
    expiry = now() + 100
    access.grant(1, bob, expiry, 0, 0, {"from": admin})
    with refuses("AlreadyGranted", 1, bob):
        access.submitApplication(1, "more", {"from": bob})
    at(expiry)
    access.submitApplication(1, "more", {"from": bob})
    assert access.grantOf(1, bob)[0] == APPLIED


def test_apply__in_order__is_logged(model, access, bob):
    transaction = access.submitApplication(1, "x" * 256, {"from": bob})
    assert dict(transaction.events["ApplicationSubmitted"]) == {
        "modelId": 1,
        "requester": bob,
        "note": "x" * 256,
    }


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions__by_a_stranger__revert(model, access, bob, name):
    with refuses("CallerNotAdmin", 1, bob):
        getattr(access, name)(1, bob, *DECISIONS[name], {"from": bob})


def test_grant__expiry_in_the_past__reverts(model, access, admin, bob):
    time = now() + 10
    at(time)
    with refuses("ExpiryInPast", time):
        access.grant(1, bob, time, 0, 0, {"from": admin})


def test_grant__half_a_rate_limit__reverts(model, access, admin, bob):
    with refuses("RateLimitInvalid", 1, 0):
        access.grant(1, bob, 0, 1, 0, {"from": admin})


def test_grant__without_an_application__is_kept(model, access, admin, bob):
    expiry = now() + 100
    transaction = access.grant(1, bob, expiry, 3, 60, {"from": admin})
    assert access.grantOf(1, bob) == (GRANTED, expiry, 3, 60, 0, 0, now())
    assert dict(transaction.events["AccessGranted"]) == {
        "modelId": 1,
        "requester": bob,
        "admin": admin,
        "expiry": expiry,
        "maxPerWindow": 3,
        "window": 60,
    }


def test_grant__renewed__keeps_the_running_count(market, access, admin, alice):
    market.request()
    used = access.grantOf(1, alice)[5]
    access.grant(1, alice, 0, 2, 60, {"from": admin})
    assert access.grantOf(1, alice)[5] == used == 1


def test_deny__open_model__is_refused_too(market, access, owner, alice):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    transaction = access.deny(1, alice, {"from": owner})
    expected = {"modelId": 1, "requester": alice, "admin": owner}
    assert dict(transaction.events["AccessDenied"]) == expected
    with refuses("GrantDenied", 1, alice):
        market.request()


def test_revoke__nothing_to_revoke__reverts(model, access, admin, bob):
    with refuses("GrantMissing", 1, bob):
        access.revoke(1, bob, {"from": admin})


def test_revoke__granted__is_refused_from_now_on(market, access, admin, alice):
    transaction = access.revoke(1, alice, {"from": admin})
    expected = {"modelId": 1, "requester": alice, "admin": admin}
    assert dict(transaction.events["AccessRevoked"]) == expected
    assert access.grantOf(1, alice)[0] == NONE
    with refuses("GrantMissing", 1, alice):
        market.request()
