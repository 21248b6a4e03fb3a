"""InferenceMarket's constructor and views: what is fixed for ever is checked once."""

import pytest

from scripts.deploy import config, created_address
from tests.contracts.market import (
    CLAIM_FORFEIT,
    DOLLAR,
    FEE,
    LOCK,
    MULTIPLE,
    ZERO,
    Verbatim,
    refuses,
)

DAY = 86_400


@pytest.fixture
def deploy(
    InferenceMarket, ModelAccess, ModelRegistry, OperatorRegistry, token, deployer, treasury
):
    """Deploy a market with its registries, a field or an address of them changed."""

    def deploy(unbonding=30 * DAY, wrong=None, **changes):
        elsewhere = treasury.address
        operators_place = created_address(deployer, deployer.nonce + 2)
        named = elsewhere if wrong == "registry" else operators_place
        registry = ModelRegistry.deploy(
            ZERO, ZERO, 10, 7 * DAY, 1_000, DOLLAR, named, {"from": deployer}
        )
        address = created_address(deployer, deployer.nonce + 2)
        access_market = elsewhere if wrong == "access" else address
        operators_market = elsewhere if wrong == "operators" else address
        access = ModelAccess.deploy(registry, access_market, {"from": deployer})
        operators = OperatorRegistry.deploy(
            token, registry, operators_market, unbonding, {"from": deployer}
        )
        wiring = {
            "token": token,
            "registry": registry,
            "access": access,
            "operators": operators,
            "treasury": treasury,
            "maxDisputeAge": DAY,
        }
        return InferenceMarket.deploy(config(**(wiring | changes)), {"from": deployer})

    return deploy


@pytest.mark.parametrize("wrong", ["registry", "access", "operators"])
def test_constructor__registry_of_another_market__reverts(deploy, wrong):
    with refuses("ConfigInvalid", wrong):
        deploy(wrong=wrong)


def test_constructor__registry_of_another_token__reverts(deploy, credits):
    with refuses("ConfigInvalid", "operators"):
        deploy(token=credits)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("treasury", ZERO),
        ("protocolBps", 1_001),
        ("claimForfeit", DOLLAR + 1),
        ("claimPeriod", 0),
        ("demandPeriod", 0),
        ("minLock", DOLLAR - 1),  # not what terms were checked against
    ],
)
def test_constructor__field_out_of_range__reverts(deploy, field, value):
    with refuses("ConfigInvalid", Verbatim(field)):
        deploy(**{field: value})


def test_constructor__unbonding_no_longer_than_every_window__reverts(deploy):
    longest = 7 * DAY + DAY + 60
    with refuses("ConfigInvalid", Verbatim("unbondingDelay")):
        deploy(unbonding=longest)
    assert deploy(unbonding=longest + 1).config()[-2] == DAY


def test_config__returns_what_was_given(contract, market_config):
    def plain(fields):
        return tuple(str(field) for field in fields)

    assert plain(contract.config()) == plain(market_config)


def test_lock_of__insured_above_the_minimum__is_twice_the_insured(contract, registry, model):
    terms = registry.termsOf(1, 1)
    bounty = LOCK * 30 // 100
    insured = MULTIPLE * FEE
    assert contract.lockOf(terms) == (LOCK, insured, bounty, LOCK - insured - bounty)


def test_lock_of__free_model__is_the_minimum(contract):
    assert contract.lockOf(1 << 208) == (DOLLAR, 0, DOLLAR * 3 // 10, DOLLAR * 7 // 10)
    assert DOLLAR >= CLAIM_FORFEIT


@pytest.mark.parametrize("fee", [1, 99_999, 2**64 - 1])
@pytest.mark.parametrize("multiple", [1, 7, 1_000])
def test_lock_of__any_terms__splits_without_remainder(contract, fee, multiple):
    total, compensation, bounty, burned = contract.lockOf(fee | multiple << 96 | 1 << 208)
    assert compensation == fee * multiple
    assert total == compensation + bounty + burned
    assert burned * 5 >= total
