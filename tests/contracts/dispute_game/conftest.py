"""A market whose model 1 is the exact example, with the dispute game as its module."""

from dataclasses import replace

import pytest

from scripts.deploy import created_address
from tests.contracts.dispute_game.game import CLOCK, MIN_REPLY, Game, hexed
from tests.contracts.exact import FAULT, example, single
from tests.contracts.market import EXACT, ON_REQUEST, ZERO32, publication


@pytest.fixture(scope="module")
def programs(ProgramRegistry, deployer):
    return ProgramRegistry.deploy({"from": deployer})


@pytest.fixture(scope="module")
def verifier(StepVerifier, deployer):
    return StepVerifier.deploy({"from": deployer})


@pytest.fixture(scope="module")
def credits(TestDataCredits, deployer, verifier):
    """After the verifier: nothing is deployed between the registry and what it names."""
    return TestDataCredits.deploy({"from": deployer})


@pytest.fixture(scope="module")
def places(deployer, token, programs, verifier, credits, registry):
    """Where market and game will be: after access and operator registry."""
    return created_address(deployer, deployer.nonce + 2), created_address(
        deployer, deployer.nonce + 3
    )


@pytest.fixture(scope="module")
def market_address(places):
    return places[0]


@pytest.fixture(scope="module")
def exact(places):
    return places[1]


@pytest.fixture(scope="module")
def game_contract(DisputeGame, deployer, contract, registry, verifier, exact):
    rules = (contract, registry, verifier, MIN_REPLY, CLOCK)
    deployed = DisputeGame.deploy(rules, {"from": deployer})
    assert deployed.address == exact
    return deployed


@pytest.fixture(scope="module")
def published(registry, programs, game_contract, owner, bob):
    """Publish the example as version 1 of model 1; return its record."""
    program = example().program
    words = program.encode()
    words = [int.from_bytes(words[at : at + 32]) for at in range(0, len(words), 32)]
    programs.registerProgram(words, {"from": bob})
    version = publication(assurance=EXACT, modelRoot=hexed(program.model_root))
    registry.registerModel("digits", 0, {"from": owner})
    transaction = registry.publishVersion(1, ZERO32, version, {"from": owner})
    return ZERO32, version[0], version[1], version[3], owner.address, transaction.timestamp


@pytest.fixture(scope="module")
def model(published, access, contract, owner, admin):
    access.setPolicy(1, ON_REQUEST, 0, 0, {"from": owner})
    access.setAdmin(1, admin, True, {"from": owner})
    return 1


@pytest.fixture(scope="module")
def game(game_contract, market, published):
    return Game(game_contract, market, example(), published)


@pytest.fixture
def lie(game):
    """Deliver an answer in which one element of operator 0 is wrong, and what follows from it."""
    return game.answer(game.example.lie_inside)


@pytest.fixture
def truth(game):
    """Deliver the true answer."""
    return game.answer(game.example.honest)


@pytest.fixture
def lone(game, registry, programs, owner, bob):
    """A game about version 2, whose program has one operator, and a wrong answer of it."""
    program, constants, _, wrong = single()
    words = program.encode()
    words = [int.from_bytes(words[at : at + 32]) for at in range(0, len(words), 32)]
    programs.registerProgram(words, {"from": bob})
    head = registry.headOf(1)
    version = publication(assurance=EXACT, modelRoot=hexed(program.model_root))
    published = registry.publishVersion(1, head, version, {"from": owner})
    record = (head, *version[:2], version[3], owner.address, published.timestamp)
    game = replace(game, record=record)
    return game, game.answer(wrong, constants, version=2)


@pytest.fixture(scope="session")
def fault():
    return FAULT


@pytest.fixture(scope="session")
def carol(accounts):
    """Another challenger."""
    return accounts[2]
