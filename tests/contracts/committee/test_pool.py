"""challenge: of whom a committee can be drawn at all."""

from tests.contracts.chain import at
from tests.contracts.committee.panel import BOND, GENERAL, MIN_STAKE, SEASONING
from tests.contracts.market import refuses


def test_challenge__nobody_enlisted__reverts(empty):
    delivered = empty.market.delivered()
    with refuses("PoolTooSmall", GENERAL, 0, 3 * MIN_STAKE):
        empty.challenge(delivered)


def test_challenge__stake_not_seasoned__does_not_count(empty, deployer, treasury, exact):
    for account in (deployer, treasury):
        empty.enlist(account)
    empty.season()
    delivered = empty.market.delivered()
    late = empty.enlist(exact)
    at(late.timestamp + SEASONING - 1)
    with refuses("PoolTooSmall", GENERAL, 2 * MIN_STAKE, 3 * MIN_STAKE):
        empty.challenge(delivered, value=3 * BOND)
    at(late.timestamp + SEASONING)
    assert (
        empty.challenge(delivered, value=3 * BOND).events["CommitteeCalled"]["eligible"]
        == 3 * MIN_STAKE
    )
