"""Committee's constructor and constants: what is fixed for ever is checked once."""

import pytest

from scripts.deploy import config, created_address
from tests.contracts.committee.panel import (
    BOND,
    COMMIT,
    DRAW,
    LEAVE_DELAY,
    LONGEST,
    MIN_STAKE,
    PENALTY,
    REVEAL,
    SEASONING,
    SEED_DELAY,
    TALLY,
)
from tests.contracts.market import Verbatim, refuses

DAY = 86_400


@pytest.fixture
def deploy(
    Committee, InferenceMarket, ModelAccess, OperatorRegistry, token, registry, deployer, treasury
):
    """Deploy a market with its module, fields of either changed."""

    def deploy(age=DAY, module=None, **changes):
        by = {"from": deployer}
        place = created_address(deployer, deployer.nonce + 2)
        module = module or created_address(deployer, deployer.nonce + 3)
        access = ModelAccess.deploy(registry, place, by)
        operators = OperatorRegistry.deploy(token, registry, place, 30 * DAY, by)
        wiring = (token, registry, access, operators, treasury)
        fixed = config(*wiring, committeeModule=module, maxDisputeAge=age)
        market = InferenceMarket.deploy(fixed, by)
        rules = {
            "market": market,
            "bond": BOND,
            "minStake": MIN_STAKE,
            "penalty": PENALTY,
            "seasoning": SEASONING,
            "seedDelay": SEED_DELAY,
            "drawPeriod": DRAW,
            "commitPeriod": COMMIT,
            "revealPeriod": REVEAL,
            "tallyPeriod": TALLY,
        }
        assert changes.keys() <= rules.keys()
        rules |= changes
        return Committee.deploy(tuple(rules.values()), by), tuple(rules.values())

    return deploy


def test_constructor__market_of_another_module__reverts(deploy, treasury):
    with refuses("ConfigInvalid", Verbatim("market")):
        deploy(module=treasury)


@pytest.mark.parametrize(
    "field",
    ["penalty", "seasoning", "seedDelay", "drawPeriod", "commitPeriod", "revealPeriod"],
)
def test_constructor__zero__reverts(deploy, field):
    with refuses("ConfigInvalid", Verbatim(field)):
        deploy(**{field: 0})


def test_constructor__no_time_to_tally__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("tallyPeriod")):
        deploy(tallyPeriod=0)


def test_constructor__seat_of_less_than_twenty_penalties__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("minStake")):
        deploy(minStake=20 * PENALTY - 1)


def test_constructor__dispute_may_outlast_the_market__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("maxDisputeAge")):
        deploy(age=LONGEST + TALLY - 1)


def test_constructor__fits__says_what_is_fixed(deploy, token):
    contract, rules = deploy(age=LONGEST + TALLY)
    assert contract.config() == rules
    assert contract.token() == token
    assert contract.longestDispute() == LONGEST
    assert contract.leaveDelay() == LEAVE_DELAY
    assert contract.bondNeeded() == BOND  # the tests' chain has no base fee
