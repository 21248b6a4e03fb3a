"""Channels beside a market whose model 1 is the exact example, and its dispute game."""

import pytest

from scripts.deploy import created_address
from tests.contracts.dispute_game.conftest import *  # noqa: F403 -- the same people and contracts
from tests.contracts.market import DOLLAR
from tests.contracts.payment_channels.channels import CLOSE_DELAY, Channels


@pytest.fixture(scope="module")
def channels_address(deployer, token, programs, verifier, credits, registry, access, operators):
    """Where the channels will be: after market and game."""
    return created_address(deployer, deployer.nonce + 2)


@pytest.fixture(scope="module")
def places(deployer, token, programs, verifier, credits, registry):
    return tuple(created_address(deployer, deployer.nonce + i) for i in (2, 3))


@pytest.fixture(scope="module")
def channels_contract(PaymentChannels, deployer, game_contract, contract, channels_address):
    deployed = PaymentChannels.deploy((contract, CLOSE_DELAY), {"from": deployer})
    assert deployed.address == channels_address
    return deployed


@pytest.fixture(scope="module")
def offered(channels_contract, game, registry, operators, token, deployer):
    """The channels, with an offer that two locks stand behind, and no channel yet."""
    token.approve(channels_contract, 2**256 - 1, {"from": game.market.alice})
    channels = Channels(channels_contract, game, int(registry.termsOf(1, 1)))
    channels.cover(2)
    return channels


@pytest.fixture
def channels(offered):
    """The same, with a channel of alice's that holds a dollar."""
    offered.open(DOLLAR)
    return offered
