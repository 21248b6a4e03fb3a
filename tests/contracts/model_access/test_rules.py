"""ModelAccess.setAdmin, setPolicy, setBounds: the rules of one model."""

import pytest

from tests.contracts.market import ALLOW_LIST, ON_REQUEST, OPEN, ZERO32, refuses


def test_set_admin__by_an_admin__reverts(model, access, admin, bob):
    with refuses("CallerNotModelOwner", 1, admin):
        access.setAdmin(1, bob, True, {"from": admin})


def test_set_admin__unknown_model__reverts(access, contract, bob):
    with refuses("ERC721NonexistentToken", 7):
        access.setAdmin(7, bob, True, {"from": bob})


def test_set_admin__named_and_dismissed__may_and_may_not(model, access, owner, bob):
    transaction = access.setAdmin(1, bob, True, {"from": owner})
    assert dict(transaction.events["AdminSet"]) == {"modelId": 1, "admin": bob, "enabled": True}
    access.setPolicy(1, OPEN, 0, 0, {"from": bob})
    access.setAdmin(1, bob, False, {"from": owner})
    with refuses("CallerNotAdmin", 1, bob):
        access.setPolicy(1, OPEN, 0, 0, {"from": bob})


def test_admins__model_sold__lapse_until_it_returns(model, access, registry, owner, admin, bob):
    assert access.isAdmin(1, admin)
    registry.transferFrom(owner, bob, 1, {"from": owner})
    assert not access.isAdmin(1, admin)
    assert not access.isAdmin(1, owner)
    assert access.isAdmin(1, bob)
    registry.transferFrom(bob, owner, 1, {"from": bob})
    assert access.isAdmin(1, admin)


@pytest.mark.parametrize(("most", "window"), [(0, 1), (1, 0)])
def test_set_policy__half_a_rate_limit__reverts(model, access, owner, most, window):
    with refuses("RateLimitInvalid", most, window):
        access.setPolicy(1, OPEN, most, window, {"from": owner})


@pytest.mark.parametrize("policy", [OPEN, ALLOW_LIST, ON_REQUEST])
def test_set_policy__by_an_admin__is_kept(model, access, admin, policy):
    transaction = access.setPolicy(1, policy, 5, 60, {"from": admin})
    assert access.policyOf(1) == (policy, 5, 60)
    assert dict(transaction.events["PolicySet"]) == {
        "modelId": 1,
        "policy": policy,
        "maxPerWindow": 5,
        "window": 60,
    }


def test_set_policy__by_a_stranger__reverts(model, access, bob):
    with refuses("CallerNotAdmin", 1, bob):
        access.setPolicy(1, OPEN, 0, 0, {"from": bob})


def test_set_bounds__by_a_stranger__reverts(model, access, bob):
    with refuses("CallerNotAdmin", 1, bob):
        access.setBounds(1, ZERO32, ZERO32, {"from": bob})


@pytest.mark.parametrize("lane", range(8))
def test_set_bounds__minimum_above_maximum__names_the_lane(model, access, owner, lane):
    minimum = 7 << 32 * (7 - lane)
    maximum = int("00000006" * 8, 16)
    with refuses("BoundsInverted", lane, 7, 6):
        access.setBounds(1, minimum, maximum, {"from": owner})


def test_set_bounds__in_order__are_kept(model, access, admin):
    low, high = "0x" + "00000001" * 8, "0x" + "ffffffff" * 8
    transaction = access.setBounds(1, low, high, {"from": admin})
    assert access.boundsOf(1) == (low, high)
    expected = {"modelId": 1, "minimum": low, "maximum": high}
    assert dict(transaction.events["BoundsSet"]) == expected


def test_set_bounds__maximum_zero__lifts_them(market, access, owner):
    access.setBounds(1, ZERO32, "0x" + "00000001" * 8, {"from": owner})
    access.setBounds(1, "0x" + "00000009" * 8, ZERO32, {"from": owner})
    assert market.request(params="0x" + "ffffffff" * 8)
