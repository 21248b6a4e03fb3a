"""A market whose disputes of Committee versions are the committee's, and three members with a seat.

Each of the three has a third of the stake: they are the whole pool, so nobody can appeal.
"""

from dataclasses import replace

import pytest

from scripts.deploy import created_address
from tests.contracts.chain import fund
from tests.contracts.committee.panel import (
    APPEAL,
    BOND,
    COMMIT,
    DRAW,
    LEAVE_DELAY,
    MIN_STAKE,
    PENALTY,
    REVEAL,
    SEASONING,
    SEED_DELAY,
    TALLY,
    VOTE,
    Panel,
)

SEATS = 30  # of a crowd: rounds of 7, 14, 28 and all


@pytest.fixture(scope="module")
def committee(deployer, market_address):
    """Where the committee will be: after access, operator registry, market and seats."""
    return created_address(deployer, deployer.nonce + 4)


@pytest.fixture(scope="module")
def seats(CommitteeSeats, deployer, market):
    return CommitteeSeats.deploy(
        (market.contract, MIN_STAKE, SEASONING, LEAVE_DELAY), {"from": deployer}
    )


@pytest.fixture(scope="module")
def rules(market_address, seats):
    periods = (DRAW, COMMIT, REVEAL, APPEAL, TALLY)
    return (market_address, seats, BOND, PENALTY, VOTE, SEED_DELAY, *periods)


@pytest.fixture(scope="module")
def panel_contract(Committee, deployer, committee, contract, rules):
    deployed = Committee.deploy(rules, {"from": deployer})
    assert deployed.address == committee
    return deployed


@pytest.fixture(scope="module")
def empty(panel_contract, seats, market, token, bob):
    """The committee without members; bob challenges."""
    return Panel(panel_contract, seats, market, token, bob)


@pytest.fixture
def crowd(empty, accounts):
    """Thirty members, so that findings can be appealed."""
    return _seated(empty, [accounts.add() for _ in range(SEATS)])


@pytest.fixture
def panel(empty, deployer, treasury, exact):
    return _seated(empty, [deployer, treasury, exact])


def _seated(empty, members):
    for account in members:
        fund(account, 10**18)
        empty.enlist(account)
    empty.season()
    return replace(empty, members=members)


@pytest.fixture
def delivered(panel):
    return panel.market.delivered()


@pytest.fixture
def voting(panel, delivered):
    """A dispute whose committee is drawn."""
    return panel.voting(delivered)
