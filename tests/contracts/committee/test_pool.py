"""Of whom a committee can be drawn at all, and what happens while all of them are busy."""

from tests.contracts.chain import at
from tests.contracts.committee.panel import (
    BOND,
    GENERAL,
    MIN_STAKE,
    MISMATCH,
    NONE,
    SEASONING,
    VOTE,
    Vote,
)
from tests.contracts.market import WRONG_OUTPUT, refuses


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


def test_small_pool__all_its_stake_bound_by_other_disputes__is_asked_again_and_convicts(panel):
    """A liar calls disputes about its own honest answers, to save its lie from the committee."""
    honest = [panel.voting(panel.market.delivered(lane=lane)) for lane in range(MIN_STAKE // VOTE)]
    for delivered in honest:
        for member in panel.members:
            panel.commit(delivered, member)
    panel.to_reveals(honest[-1])
    for delivered in honest:
        for member in panel.members:
            panel.reveal(delivered, member)
    lie = panel.voting(panel.market.delivered(lane=len(honest)))
    panel.cast(lie, dict.fromkeys(panel.members, Vote(MISMATCH)))
    assert panel.round(lie)["committed"] == 0  # votes without weight
    for delivered in honest:
        panel.tally(delivered)
        panel.settle(delivered)
    panel.tally(lie)
    assert panel.contract.findingOf(panel.id_of(lie), 0) == NONE
    panel.draw(lie)
    transaction = panel.vote(lie, *[Vote(MISMATCH)] * 3)
    assert transaction.events["Convicted"]["verdict"] == WRONG_OUTPUT
