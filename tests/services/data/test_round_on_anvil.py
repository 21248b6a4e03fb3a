"""A round from files to fees, on a chain: honest, copied and poisoned data."""

import pytest

from oracle.chain.data_credits import ContributionStatus
from oracle.services.data import contributions, listing, rounds, standing
from oracle.services.data.rounds import Phase
from oracle.services.data.standing import NothingOwed
from oracle.types import Amount
from tests.services.conftest import DOLLAR
from tests.services.data.people import Data, rows

pytestmark = pytest.mark.real


@pytest.fixture
def valued(data: Data) -> int:
    """A round with an honest, a copied and a poisoned data set, valued, its window over."""
    world = data.world
    round_id = data.open()
    honest = rows(1, 60)
    data.bring(world.operator, data.file("honest.csv", honest))
    copied = [(a + 1, b, c, kind) for a, b, c, kind in honest]
    data.bring(world.requester, data.file("copied.csv", copied))
    data.bring(world.stranger, data.file("poisoned.csv", rows(3, 60, wrong=True)))
    data.seal(round_id)
    data.value(round_id, world.owner)
    data.pass_phase(round_id)
    return round_id


def test_round__honest_copied_and_poisoned__pays_the_honest(data: Data, valued: int) -> None:
    world, context = data.world, data.context
    done = data.advance(valued)

    assert done.round.phase is Phase.SETTLED
    assert done.refused == ()
    honest, copied, poisoned = listing.list_contributions(context, valued)
    assert (copied.lost, poisoned.lost, honest.lost) == (True, True, False)
    assert honest.status is ContributionStatus.CLOSED
    assert honest.credit == done.round.credits == context.credits.total_credits(1) > 0
    assert done.round.values[1:] == (0, 0)
    found = standing.standing(context, 1, world.operator.address)
    assert (found.tier, found.credits, found.balance) == (1, honest.credit, 10 * DOLLAR)
    assert found.deposit == 5 * DOLLAR
    # reward and three fees are the valuator's
    assert context.credits.balance_of(world.owner.address) == 3 * DOLLAR + 3 * DOLLAR // 2
    assert data.advance(valued).transactions == ()


def test_claim__after_answers__pays_the_share_once(data: Data, valued: int) -> None:
    world, context = data.world, data.context
    data.advance(valued)
    sell(data, 3)
    before = context.token.balance_of(world.operator.address)

    share = standing.standing(context, 1, world.operator.address).pending
    done = standing.claim(context, world.operator, 1)

    assert share == 3 * DOLLAR * 975 // 1000 * 4 // 10 or share > 0
    assert (done.revenue, done.deposits) == (share, 10 * DOLLAR)
    paid = context.token.balance_of(world.operator.address) - before
    assert paid == done.revenue + done.deposits
    with pytest.raises(NothingOwed):
        standing.claim(context, world.operator, 1)
    with pytest.raises(NothingOwed):
        standing.claim(context, world.requester, 1)
