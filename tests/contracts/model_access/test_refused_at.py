"""ModelAccess.refusedAt: what the present rules still say about a time that is past."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import ALLOW_LIST, ON_REQUEST, OPEN, ZERO32

LOW, HIGH = ("0x" + f"{value:08x}" * 8 for value in (3, 5))
INSIDE, BELOW, ABOVE = ("0x" + f"{value:08x}" * 8 for value in (4, 2, 6))
LAST_LANE_ABOVE = "0x" + "00000004" * 7 + "00000006"


@pytest.fixture
def refused(access, bob):
    """Whether bob was refused model 1 at a time, now if none is given."""
    return lambda time=None, params=ZERO32: access.refusedAt(1, bob, params, time or now())


def test_refused_at__open_model__never(model, access, owner, refused):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    assert not refused()


@pytest.mark.parametrize("policy", [ALLOW_LIST, ON_REQUEST])
def test_refused_at__no_grant__since_the_policy_and_not_before(
    model, access, owner, policy, refused
):
    access.setPolicy(1, policy, 0, 0, {"from": owner})
    assert refused()
    assert not refused(now() - 1)


def test_refused_at__opened_since__is_not_known_any_more(model, access, owner, refused):
    access.setPolicy(1, ALLOW_LIST, 0, 0, {"from": owner})
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    assert not refused()


def test_refused_at__granted__not(model, access, owner, bob, refused):
    access.setPolicy(1, ALLOW_LIST, 0, 0, {"from": owner})
    access.grant(1, bob, 0, 0, 0, {"from": owner})
    assert not refused()
    assert not refused(now() - 1)  # it was refused, and nothing says so any more


def test_refused_at__revoked__since_then(model, access, owner, bob, refused):
    access.setPolicy(1, ALLOW_LIST, 0, 0, {"from": owner})
    access.grant(1, bob, 0, 0, 0, {"from": owner})
    access.revoke(1, bob, {"from": owner})
    assert refused()
    assert not refused(now() - 1)


def test_refused_at__denied_by_an_open_model__since_then(model, access, owner, bob, refused):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    access.deny(1, bob, {"from": owner})
    assert refused()
    assert not refused(now() - 1)


@pytest.mark.parametrize("apply", [False, True])
def test_refused_at__expired__from_that_second(model, access, owner, bob, refused, apply):
    access.setPolicy(1, ON_REQUEST, 0, 0, {"from": owner})
    at(now() + 1)
    expiry = now() + 100
    access.grant(1, bob, expiry, 0, 0, {"from": owner})
    assert not refused(expiry - 1)
    assert refused(expiry)
    if apply:  # gives no access, and hides nothing
        at(expiry)
        access.submitApplication(1, "more", {"from": bob})
        assert refused(expiry)
        assert not refused(expiry - 1)  # and makes no refusal of what was granted


def test_refused_at__revoked_and_applied_again__since_the_revocation(
    model, access, owner, bob, refused
):
    access.setPolicy(1, ON_REQUEST, 0, 0, {"from": owner})
    access.grant(1, bob, now() + 100, 0, 0, {"from": owner})
    access.revoke(1, bob, {"from": owner})
    revoked = now()
    access.submitApplication(1, "more", {"from": bob})
    assert refused(revoked)
    assert not refused(revoked - 1)


def test_refused_at__open_model_whose_grant_expired__is_as_the_market_has_it(
    model, access, owner, bob, refused
):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    expiry = now() + 100
    access.grant(1, bob, expiry, 0, 0, {"from": owner})
    assert refused(expiry)


@pytest.mark.parametrize(
    ("params", "outside"),
    [(BELOW, True), (ABOVE, True), (LAST_LANE_ABOVE, True), (INSIDE, False), (ZERO32, False)],
)
def test_refused_at__parameters__out_of_bounds_alone(
    model, access, owner, refused, params, outside
):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    assert not refused(params=params)  # nothing is bounded yet
    access.setBounds(1, LOW, HIGH, {"from": owner})
    assert refused(params=params) == outside
    assert not refused(now() - 1, params)


def test_refused_at__asked_on_chain_meanwhile__counts_as_before(market, access, owner, alice):
    access.grant(1, alice, 0, 5, 60, {"from": owner})
    changed = access.grantOf(1, alice)[6]
    market.request()
    assert access.grantOf(1, alice)[5:] == (1, changed)
