"""People and contracts of the contract tests; each test starts from the same chain state."""

import gc

import pytest

from scripts.deploy import config, created_address
from tests.contracts.chain import ON_A_NODE, chain, rpc
from tests.contracts.market import (
    CLAIM_FORFEIT,
    CLAIM_PERIOD,
    DEMAND_PERIOD,
    DOLLAR,
    MAX_DISPUTE_AGE,
    MIN_GAS_PRICE,
    ON_REQUEST,
    ZERO,
    ZERO32,
    Market,
    publication,
)

if ON_A_NODE:
    from tests import brownie_fixes  # noqa: F401 -- before the first deployment: see there
else:
    from tests.contracts.in_process import CONTRACTS, Accounts, Container

    def _container(name):
        return pytest.fixture(scope="session", name=name)(lambda: Container(name))

    globals().update({f"container_of_{name}": _container(name) for name in CONTRACTS})

    @pytest.fixture(scope="session")
    def accounts():
        return Accounts()


DAY = 86_400
AUDIT_BPS = 1_000


def pytest_collection_modifyitems(config, items):
    """Leave what needs a node to `brownie test`."""
    if not ON_A_NODE:
        for_a_node = [item for item in items if item.get_closest_marker("node")]
        config.hook.pytest_deselected(items=for_a_node)
        items[:] = [item for item in items if item not in for_a_node]


@pytest.fixture
def base_fee():
    """Let the next block have a base fee; Brownie's other transactions pay none."""
    yield lambda wei: rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))
    rpc("anvil_setNextBlockBaseFeePerGas", "0x0")


@pytest.fixture(scope="session", autouse=True)
def quick_collection():
    """Take what is loaded out of the garbage collector's sight.

    Brownie collects garbage after each test to forget reverted transactions; with everything that
    pytest's plugins import that takes 0.3 s, without it 0.02 s.
    """
    if ON_A_NODE:
        gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def module_isolation():
    """Undo what a file's tests did to the chain."""
    before = chain.snapshot() if not ON_A_NODE else None
    yield
    if not ON_A_NODE:
        chain.revert(before)


@pytest.fixture(autouse=True)
def isolation(request):
    """Undo what a test did to the chain."""
    if ON_A_NODE:
        request.getfixturevalue("fn_isolation")
        yield
    else:
        before = chain.snapshot()
        yield
        chain.revert(before)


@pytest.fixture(scope="session")
def deployer(accounts):
    return accounts[0]


@pytest.fixture(scope="session")
def owner(accounts):
    """Owner of model 1."""
    return accounts[1]


@pytest.fixture(scope="session")
def admin(accounts):
    return accounts[2]


@pytest.fixture(scope="session")
def alice(accounts):
    """Requester with a grant, a balance in the market, and more in the wallet."""
    return accounts[3]


@pytest.fixture(scope="session")
def bob(accounts):
    """Nobody in particular."""
    return accounts[4]


@pytest.fixture(scope="session")
def operator(accounts):
    """Preferred operator: registered, staked, authorized for model 1."""
    return accounts[5]


@pytest.fixture(scope="session")
def rival(accounts):
    """Another operator like it."""
    return accounts[6]


@pytest.fixture(scope="session")
def treasury(accounts):
    return accounts[7]


@pytest.fixture(scope="session")
def committee(accounts):
    """Dispute module of Committee versions: an account stands in for the contract."""
    return accounts[8]


@pytest.fixture(scope="session")
def exact(accounts):
    """Dispute module of Exact versions."""
    return accounts[9]


@pytest.fixture(scope="module")
def token(TestDollar, deployer):
    return TestDollar.deploy({"from": deployer})


@pytest.fixture(scope="module")
def programs(TestPrograms, deployer):
    return TestPrograms.deploy({"from": deployer})


@pytest.fixture(scope="module")
def credits(TestDataCredits, deployer):
    return TestDataCredits.deploy({"from": deployer})


@pytest.fixture(scope="module")
def registry(ModelRegistry, deployer, token, programs, credits):
    operators = created_address(deployer, deployer.nonce + 2)
    rules = (10, 7 * DAY, AUDIT_BPS, DOLLAR, operators)
    return ModelRegistry.deploy(programs, credits, *rules, {"from": deployer})


@pytest.fixture(scope="module")
def market_address(deployer, token, programs, credits, registry):
    """Where the market will be: two deployments after the registry."""
    return created_address(deployer, deployer.nonce + 2)


@pytest.fixture(scope="module")
def access(ModelAccess, deployer, registry, market_address):
    return ModelAccess.deploy(registry, market_address, {"from": deployer})


@pytest.fixture(scope="module")
def operators(OperatorRegistry, deployer, token, registry, access, market_address):
    return OperatorRegistry.deploy(token, registry, market_address, 30 * DAY, {"from": deployer})


@pytest.fixture(scope="module")
def channels_address():
    """Where the payment channels will be: nowhere, but for tests that have some."""
    return ZERO


@pytest.fixture(scope="module")
def market_config(
    token, registry, access, operators, credits, treasury, committee, exact, channels_address
):
    return config(
        token,
        registry,
        access,
        operators,
        treasury,
        dataCredits=credits,
        committeeModule=committee,
        exactModule=exact,
        channels=channels_address,
        protocolBps=500,
        minLock=DOLLAR,
        claimForfeit=CLAIM_FORFEIT,
        claimPeriod=CLAIM_PERIOD,
        demandPeriod=DEMAND_PERIOD,
        maxDisputeAge=MAX_DISPUTE_AGE,
        minGasPrice=MIN_GAS_PRICE,
    )


@pytest.fixture(scope="module")
def contract(InferenceMarket, deployer, market_config, market_address):
    """The market, bare."""
    deployed = InferenceMarket.deploy(market_config, {"from": deployer})
    assert deployed.address == market_address
    return deployed


@pytest.fixture(scope="module")
def model(registry, access, contract, owner, admin):
    """Model 1 with version 1, on request, with one admin."""
    registry.registerModel("digits", 0, {"from": owner})
    registry.publishVersion(1, ZERO32, publication(), {"from": owner})
    access.setPolicy(1, ON_REQUEST, 0, 0, {"from": owner})
    access.setAdmin(1, admin, True, {"from": owner})
    return 1


@pytest.fixture(scope="module")
def staked(operators, token, contract, model, owner, operator, rival):
    """Both operators registered, authorized, and staked with 100 dollars."""
    for account in (operator, rival):
        token.faucet(account, 1_000 * DOLLAR, {"from": account})
        token.approve(operators, 2**256 - 1, {"from": account})
        operators.register(ZERO32, "http://localhost", {"from": account})
        operators.authorize(model, account, True, {"from": owner})
        operators.stake(account, 100 * DOLLAR, {"from": account})
    return 100 * DOLLAR


@pytest.fixture(scope="module")
def market(contract, token, access, staked, model, owner, alice, operator, rival):
    """The market, ready for alice to request."""
    access.grant(model, alice, 0, 100, 3_600, {"from": owner})
    token.faucet(alice, 1_000 * DOLLAR, {"from": alice})
    token.approve(contract, 2**256 - 1, {"from": alice})
    contract.deposit(alice, 100 * DOLLAR, {"from": alice})
    return Market(contract, alice, operator, rival)
