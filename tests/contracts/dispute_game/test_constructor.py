"""DisputeGame's constructor and views: what is fixed for ever is checked once."""

import pytest

from scripts.deploy import config, created_address
from tests.contracts.dispute_game.game import CLOCK, MIN_REPLY
from tests.contracts.market import ZERO, Verbatim, refuses

DAY = 86_400
TURNS = 28  # of the longest game, and two to spare


@pytest.fixture
def deploy(
    DisputeGame,
    InferenceMarket,
    ModelAccess,
    ModelRegistry,
    OperatorRegistry,
    token,
    verifier,
    deployer,
    treasury,
):
    """Deploy a market with its module, fields of either changed."""

    def deploy(age=DAY, module=None, **changes):
        by = {"from": deployer}
        stakes = created_address(deployer, deployer.nonce + 2)
        registry = ModelRegistry.deploy(ZERO, ZERO, 10, 7 * DAY, 1_000, 10**6, stakes, by)
        place = created_address(deployer, deployer.nonce + 2)
        module = module or created_address(deployer, deployer.nonce + 3)
        access = ModelAccess.deploy(registry, place, by)
        operators = OperatorRegistry.deploy(token, registry, place, 30 * DAY, by)
        wiring = (token, registry, access, operators, treasury)
        market = InferenceMarket.deploy(config(*wiring, exactModule=module, maxDisputeAge=age), by)
        rules = {
            "market": market,
            "registry": registry,
            "verifier": verifier,
            "minReply": MIN_REPLY,
            "clock": CLOCK,
        }
        return DisputeGame.deploy(tuple((rules | changes).values()), by)

    return deploy


def test_constructor__market_of_another_module__reverts(deploy, treasury):
    with refuses("ConfigInvalid", "market"):
        deploy(module=treasury)


def test_constructor__another_registry__reverts(deploy, treasury):
    with refuses("ConfigInvalid", "registry"):
        deploy(registry=treasury)


def test_constructor__verifier_is_no_contract__reverts(deploy, treasury):
    with refuses("ConfigInvalid", "verifier"):
        deploy(verifier=treasury)


def test_constructor__no_least_reply__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("minReply")):
        deploy(minReply=0)


def test_constructor__games_may_outlast_the_market__reverts(deploy):
    with refuses("ConfigInvalid", Verbatim("maxDisputeAge")):
        deploy(age=2 * CLOCK + TURNS * MIN_REPLY - 1)


def test_constructor__games_just_fit__is_deployed(deploy):
    deployed = deploy(age=2 * CLOCK + TURNS * MIN_REPLY)
    assert deployed.config()[3:] == (MIN_REPLY, CLOCK)


def test_views__nothing_happened__are_empty(game, contract, registry, verifier, truth, bob):
    assert game.contract.config() == (contract, registry, verifier, MIN_REPLY, CLOCK)
    assert game.contract.bondNeeded(truth.id) == 0  # these blocks have no base fee
    assert game.contract.firstChallengerOf(truth.id) == ZERO
    assert game.contract.traceOf(truth.id)[1] == 0
    assert game.turn(truth, bob)["turn"] == 0
