"""InferenceMarket.request: who may ask for what, and what it costs."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import (
    DOLLAR,
    FEE,
    LIFETIME,
    PRIORITY,
    ZERO,
    ZERO32,
    digest,
    expires_at,
    priority_until,
    publication,
    refuses,
)

MAX_LIFETIME = 30 * 86_400


def test_request__unknown_model__reverts(market):
    with refuses("VersionUnknown", 7, 1):
        market.request(modelId=7)


@pytest.mark.parametrize("version", [0, 2, 2**32 + 1, 2**256 - 1])
def test_request__unknown_version__reverts(market, version):
    with refuses("VersionUnknown", 1, version):
        market.request(version=version)


def test_request__retired_version__reverts(market, registry, owner):
    registry.retireVersion(1, 1, {"from": owner})
    with refuses("VersionRetired", 1, 1):
        market.request()


def test_request__fee_above_max__reverts(market):
    with refuses("FeeAboveMax", FEE, FEE - 1):
        market.request(maxFee=FEE - 1)


def test_request__no_input__reverts(market):
    with refuses("InputRootZero"):
        market.request(inputRoot=ZERO32)


@pytest.mark.parametrize("lifetime", [0, MAX_LIFETIME + 1, 2**256 - 1])
def test_request__lifetime_out_of_range__reverts(market, lifetime):
    with refuses("LifetimeInvalid", lifetime, 1, MAX_LIFETIME):
        market.request(lifetime=lifetime)


@pytest.mark.parametrize("window", [LIFETIME + 1, 2**256 - 1])
def test_request__priority_longer_than_life__reverts(market, window):
    with refuses("PriorityWindowInvalid", window, LIFETIME):
        market.request(priorityWindow=window)


def test_request__priority_without_an_operator__reverts(market):
    with refuses("PriorityWindowInvalid", PRIORITY, 0):
        market.request(operator=ZERO)


def test_request__callback_without_a_consumer__reverts(market):
    with refuses("CallbackGasInvalid", 1, 0):
        market.request(callbackGas=1)


def test_request__callback_gas_above_max__reverts(market, bob):
    with refuses("CallbackGasInvalid", 2000001, 2000000):
        market.request(consumer=bob, callbackGas=2_000_001)


@pytest.mark.parametrize("lane", [2**31, 2**256 - 1])
def test_request__lane_too_high__reverts(market, lane):
    with refuses("LaneInvalid", lane, 2**31 - 1):
        market.request(lane=lane)


def test_request__lane_in_use__reverts(market, alice):
    market.request(lane=3)
    with refuses("LaneBusy", alice, 3):
        market.request(lane=3)


def test_request__balance_too_small__reverts(market, contract, alice):
    contract.withdraw(alice, 100 * DOLLAR - FEE + 1, {"from": alice})
    with refuses("BalanceInsufficient", alice, FEE - 1, FEE):
        market.request()


def test_request__no_grant__reverts(market, bob):
    with refuses("GrantMissing", 1, bob):
        market.request(sender=bob)


def test_request__rate_limit_used_up__reverts(market, access, owner, alice):
    access.grant(1, alice, 0, 1, 3_600, {"from": owner})
    market.request(lane=0)
    with refuses("RateLimitExceeded", 1, alice, now() + 3_600):
        market.request(lane=1)


def test_request__parameter_out_of_bounds__reverts(market, access, owner):
    access.setBounds(1, ZERO32, "0x" + "00000005" * 8, {"from": owner})
    with refuses("ParameterOutOfBounds", 1, 7, 6, 0, 5):
        market.request(params=6)


def test_request__in_order__escrows_the_fee_and_commits(market, contract, alice):
    before = contract.balanceOf(alice)
    transaction = contract.request(market.order(), {"from": alice})
    request = tuple(transaction.events["Requested"]["request"])
    assert contract.balanceOf(alice) == before - FEE
    assert contract.nonceOf(alice) == 1
    assert transaction.return_value == contract.requestIdOf(request)
    assert contract.commitmentOf(alice, 0) == transaction.return_value


def test_request__in_order__logs_every_field(market, contract, alice, operator, bob, registry):
    market.request(lane=1)  # so that the nonce below is not zero
    order = market.order(
        lane=9,
        inputCid=digest("cid"),
        params=digest("params"),
        consumer=bob,
        callbackGas=54_321,
        envelope=digest("envelope"),
    )
    transaction = contract.request(order, {"from": alice})
    event = transaction.events["Requested"]
    origin, service, target, root, cid, params, envelope, terms = event["request"]
    time = transaction.timestamp
    assert event["requestId"] == transaction.return_value
    assert (event["modelId"], event["requester"]) == (1, alice)
    assert origin == int(alice.address, 16) | 9 << 160 | 1 << 192
    assert service == int(operator.address, 16) | time + PRIORITY << 160 | time + LIFETIME << 200
    assert target == int(bob.address, 16) | 1 << 160 | 1 << 208 | 54_321 << 232
    assert (root, cid) == (digest("input"), digest("cid"))
    assert (params, envelope) == (digest("params"), digest("envelope"))
    assert terms == registry.termsOf(1, 1)


def test_request__twice_the_same__gives_two_ids(market):
    first, second = market.request(lane=0), market.request(lane=1)
    assert market.id_of(first) != market.id_of(second)


def test_request__same_words_on_another_market__has_another_id(
    InferenceMarket, ModelAccess, ModelRegistry, OperatorRegistry, market, deployer, market_config
):
    from scripts.deploy import created_address

    request = market.request()
    token, place = market_config[0], created_address(deployer, deployer.nonce + 2)
    registry = ModelRegistry.deploy(ZERO, ZERO, 10, 60, 0, 0, place, {"from": deployer})
    address = created_address(deployer, deployer.nonce + 2)
    access = ModelAccess.deploy(registry, address, {"from": deployer})
    operators = OperatorRegistry.deploy(token, registry, address, 30 * 86_400, {"from": deployer})
    fields = list(market_config)
    fields[1:4] = registry, access, operators
    other = InferenceMarket.deploy(tuple(fields), {"from": deployer})
    assert other.requestIdOf(request) != market.id_of(request)


def test_request__terms_changed_later__keeps_its_snapshot(market, registry, owner):
    request = market.request()
    registry.setTerms(1, 1, 9 * FEE, 0, 0, 9, 600, {"from": owner})
    delivery = market.deliver(request)
    settled = market.finalize(request, delivery).events["Finalized"]
    assert settled["operatorFee"] == FEE * 7_000 // 10_000


def test_request__free_model__costs_nothing(market, contract, registry, owner, alice):
    registry.publishVersion(1, registry.headOf(1), publication(fee=0), {"from": owner})
    before = contract.balanceOf(alice)
    market.request(version=2, maxFee=0)
    assert contract.balanceOf(alice) == before


def test_request__windows__start_at_the_block(market):
    time = now() + 50
    at(time)
    request = market.request(priorityWindow=LIFETIME)
    assert priority_until(request) == expires_at(request) == time + LIFETIME
