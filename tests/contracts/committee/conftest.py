"""A market whose disputes of Committee versions are the committee's, and three members with a seat.

Each of the three has a third of the stake, so all of them are drawn in every round.
"""

import pytest

from scripts.deploy import created_address
from tests.contracts.committee.panel import (
    BOND,
    COMMIT,
    DRAW,
    MIN_STAKE,
    PENALTY,
    REVEAL,
    SEASONING,
    SEED_DELAY,
    TALLY,
    Panel,
)


@pytest.fixture(scope="module")
def committee(deployer, market_address):
    """Where the committee will be: after access, operator registry and market."""
    return created_address(deployer, deployer.nonce + 3)


@pytest.fixture(scope="module")
def rules(market_address):
    return (
        *(market_address, BOND, MIN_STAKE, PENALTY, SEASONING, SEED_DELAY),
        *(DRAW, COMMIT, REVEAL, TALLY),
    )


@pytest.fixture(scope="module")
def panel_contract(Committee, deployer, committee, contract, rules):
    deployed = Committee.deploy(rules, {"from": deployer})
    assert deployed.address == committee
    return deployed


@pytest.fixture(scope="module")
def empty(panel_contract, market, token, bob):
    """The committee without members; bob challenges."""
    return Panel(panel_contract, market, token, bob)


@pytest.fixture(scope="module")
def panel(empty, deployer, treasury, exact):
    for account in (deployer, treasury, exact):
        empty.enlist(account)
        empty.members.append(account)
    empty.season()
    return empty


@pytest.fixture
def delivered(panel):
    return panel.market.delivered()


@pytest.fixture
def voting(panel, delivered):
    """A dispute whose committee is drawn."""
    return panel.voting(delivered)
