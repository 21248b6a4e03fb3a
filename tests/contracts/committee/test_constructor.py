"""Committee's constructor and constants: what is fixed for ever is checked once."""

import pytest

from scripts.deploy import config, created_address
from tests.contracts.committee.panel import (
    APPEAL,
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
    VOTE,
)
from tests.contracts.market import ZERO, Verbatim, refuses

DAY = 86_400


@pytest.fixture
def deploy(
    Committee,
    CommitteeSeats,
    InferenceMarket,
    ModelAccess,
    ModelRegistry,
    OperatorRegistry,
    token,
    deployer,
    treasury,
):
    """Deploy a market with seats and committee, fields of any changed."""

    def deploy(
        age=DAY,
        module=None,
        price=0,
        seats=(MIN_STAKE, SEASONING, LEAVE_DELAY),
        seats_of=None,  # another market
        **changes,
    ):
        by = {"from": deployer}
        stakes = created_address(deployer, deployer.nonce + 2)
        registry = ModelRegistry.deploy(ZERO, ZERO, 10, 7 * DAY, 1_000, 10**6, stakes, by)
        place = created_address(deployer, deployer.nonce + 2)
        module = module or created_address(deployer, deployer.nonce + 4)
        access = ModelAccess.deploy(registry, place, by)
        operators = OperatorRegistry.deploy(token, registry, place, 30 * DAY, by)
        wiring = (token, registry, access, operators, treasury)
        fixed = config(*wiring, committeeModule=module, maxDisputeAge=age, minGasPrice=price)
        market = InferenceMarket.deploy(fixed, by)
        rules = {
            "market": market,
            "seats": CommitteeSeats.deploy((seats_of or market, *seats), by),
            "bond": BOND,
            "penalty": PENALTY,
            "voteStake": VOTE,
            "seedDelay": SEED_DELAY,
            "drawPeriod": DRAW,
            "commitPeriod": COMMIT,
            "revealPeriod": REVEAL,
            "appealPeriod": APPEAL,
            "tallyPeriod": TALLY,
        }
        assert changes.keys() <= rules.keys()
        rules |= changes
        return Committee.deploy(tuple(rules.values()), by), tuple(rules.values())

    return deploy


def test_constructor__market_of_another_module__reverts(deploy, treasury):
    with refuses("ConfigInvalid", Verbatim("market")):
        deploy(module=treasury)


def test_constructor__seats_of_another_market__reverts(deploy, contract):
    with refuses("ConfigInvalid", Verbatim("seats")):
        deploy(seats_of=contract)


@pytest.mark.parametrize(
    "field",
    ["penalty", "seedDelay", "drawPeriod", "commitPeriod", "revealPeriod", "appealPeriod"],
)
def test_constructor__zero__reverts(deploy, field):
    with refuses("ConfigInvalid", Verbatim(field)):
        deploy(**{field: 0})


def test_constructor__no_time_to_tally__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("tallyPeriod")):
        deploy(tallyPeriod=0)


def test_constructor__seat_of_less_than_twenty_penalties__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("minStake")):
        deploy(seats=(20 * PENALTY - 1, SEASONING, LEAVE_DELAY))


def test_constructor__seat_of_less_than_four_votes__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("minStake")):
        deploy(voteStake=MIN_STAKE // 4 + 1)


def test_constructor__vote_of_less_than_a_penalty__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("voteStake")):
        deploy(voteStake=PENALTY - 1)


def test_constructor__members_may_leave_before_they_pay__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("leaveDelay")):
        deploy(seats=(MIN_STAKE, SEASONING, LEAVE_DELAY - 1))


def test_constructor__dispute_may_outlast_the_market__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("maxDisputeAge")):
        deploy(age=LONGEST + TALLY - 1)


def test_constructor__fits__says_what_is_fixed(deploy):
    contract, rules = deploy(age=LONGEST + TALLY)
    assert contract.config() == rules
    assert contract.longestDispute() == LONGEST
    assert contract.bondNeeded(7) == 7 * BOND  # the tests' chain has no base fee


def test_bond_needed__base_fee_is_not_the_cost__reckons_with_the_least_gas_price(deploy):
    """A bond of nearly nothing would order votes for free."""
    contract, _ = deploy(price=10**9)
    assert contract.bondNeeded(7) == 7 * (BOND + 2 * 250_000 * 10**9)
