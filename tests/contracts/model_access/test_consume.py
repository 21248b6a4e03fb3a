"""ModelAccess.consume and check: the market's question before every request."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import ALLOW_LIST, OPEN, ZERO32, refuses

HOUR = 3_600


def test_consume__not_the_market__reverts(model, access, owner, alice):
    for caller in (owner, alice):
        with refuses("CallerNotMarket", caller):
            access.consume(1, alice, ZERO32, {"from": caller})


def test_check__grant_expired__reverts(market, access, owner, alice):
    expiry = now() + 100
    access.grant(1, alice, expiry, 0, 0, {"from": owner})
    at(expiry)
    with refuses("GrantExpired", 1, alice, expiry):
        market.request()


def test_check__second_before_expiry__passes(market, access, owner, alice):
    expiry = now() + 100
    access.grant(1, alice, expiry, 0, 0, {"from": owner})
    at(expiry - 1)
    assert market.request()


def test_check__allow_list_without_a_grant__reverts(market, access, owner, bob):
    access.setPolicy(1, ALLOW_LIST, 0, 0, {"from": owner})
    with refuses("GrantMissing", 1, bob):
        access.check(1, bob, ZERO32)


def test_check__applied_only__reverts(market, access, bob):
    access.submitApplication(1, "", {"from": bob})
    with refuses("GrantMissing", 1, bob):
        access.check(1, bob, ZERO32)


def test_check__is_a_view__counts_nothing(market, access, alice):
    for _ in range(3):
        access.check(1, alice, ZERO32)
    assert access.grantOf(1, alice)[5] == 0


@pytest.mark.life
def test_consume__rate_limit__counts_in_fixed_windows(market, access, owner, alice):
    access.grant(1, alice, 0, 2, HOUR, {"from": owner})
    start = now() + 100
    at(start)
    market.request(lane=0)
    at(start + HOUR - 2)
    market.request(lane=1)
    assert access.grantOf(1, alice)[4:6] == (start, 2)
    at(start + HOUR - 1)
    with refuses("RateLimitExceeded", 1, alice, start + HOUR):
        market.request(lane=2)
    at(start + HOUR)
    market.request(lane=2)
    assert access.grantOf(1, alice)[4:6] == (start + HOUR, 1)


def test_consume__refused_request__is_not_counted(market, access, owner, alice):
    access.grant(1, alice, 0, 2, HOUR, {"from": owner})
    with refuses("FeeAboveMax", 250_000, 1):
        market.request(maxFee=1)
    assert access.grantOf(1, alice)[5] == 0


def test_consume__open_model__uses_the_policys_limit(market, access, contract, owner, alice, bob):
    access.setPolicy(1, OPEN, 1, HOUR, {"from": owner})
    contract.deposit(bob, 10**6, {"from": alice})
    market.request(sender=bob, lane=0)
    start = now()
    with refuses("RateLimitExceeded", 1, bob, start + HOUR):
        market.request(sender=bob, lane=1)


def test_consume__open_model_without_a_limit__writes_nothing(
    market, access, contract, owner, alice, bob
):
    access.setPolicy(1, OPEN, 0, 0, {"from": owner})
    contract.deposit(bob, 10**6, {"from": alice})
    market.request(sender=bob)
    assert access.grantOf(1, bob) == (0,) * 7


def test_consume__granted_without_a_limit__is_unlimited(market, access, owner, alice):
    access.setPolicy(1, OPEN, 1, HOUR, {"from": owner})  # not for wallets with a grant
    access.grant(1, alice, 0, 0, 0, {"from": owner})
    for lane in range(3):
        market.request(lane=lane)
    assert access.grantOf(1, alice)[5] == 0


@pytest.mark.parametrize("lane", range(8))
@pytest.mark.parametrize("value", [1, 6])
def test_check__parameter_out_of_bounds__names_lane_and_bounds(
    market, access, owner, alice, lane, value
):
    access.setBounds(1, "0x" + "00000002" * 8, "0x" + "00000005" * 8, {"from": owner})
    shift = 32 * (7 - lane)
    params = int("00000003" * 8, 16) & ~(0xFFFFFFFF << shift) | value << shift
    with refuses("ParameterOutOfBounds", 1, lane, value, 2, 5):
        access.check(1, alice, params)


@pytest.mark.parametrize("params", ["0x" + "00000002" * 8, "0x" + "00000005" * 8, ZERO32])
def test_check__parameters_at_the_bounds_or_default__pass(market, access, owner, alice, params):
    access.setBounds(1, "0x" + "00000002" * 8, "0x" + "00000005" * 8, {"from": owner})
    access.check(1, alice, params)


def test_check__says_what_request_would_say(market, access, owner, alice):
    access.setBounds(1, ZERO32, "0x" + "00000001" * 8, {"from": owner})
    with refuses("ParameterOutOfBounds", 1, 7, 2, 0, 1):
        access.check(1, alice, 2)
    with refuses("ParameterOutOfBounds", 1, 7, 2, 0, 1):
        market.request(params=2)
