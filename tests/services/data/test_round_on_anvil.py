"""A round from files to fees, on a chain: honest, copied and poisoned data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from oracle.chain.bindings.data_rounds import ContributionStatus, ContributionSubmitted
from oracle.chain.event import Event
from oracle.chain.revert import ContractError
from oracle.errors import DigestMismatch, NotFound
from oracle.services.data import advancing, listing, records, rounds, standing
from oracle.services.data.credits import parse_credits
from oracle.services.data.rounds import RoundPhase
from oracle.services.data.secrets import SecretBook
from oracle.services.data.standing import NothingOwed
from oracle.services.event_history import Happened, History
from oracle.types import ZERO32, Address
from oracle.valuation.tables import values_tree
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
    world, network = data.world, data.network
    done = data.advance(valued)

    assert done.round.phase is RoundPhase.SETTLED
    assert done.refused == ()
    honest, copied, poisoned = listing.list_contributions(network, valued)
    assert (copied.lost, poisoned.lost, honest.lost) == (True, True, False)
    assert honest.status is ContributionStatus.CLOSED
    assert honest.credit == done.round.credits == network.credits.total_credits(1) > 0
    assert done.round.values[1:] == (0, 0)
    found = standing.standing(network, 1, world.operator.address)
    assert (found.tier, found.credits, found.balance) == (1, honest.credit, 10 * DOLLAR)
    assert found.deposit == 5 * DOLLAR
    # reward and three fees are the valuator's
    assert network.data_rounds.balance_of(world.owner.address) == 3 * DOLLAR + 3 * DOLLAR // 2
    assert data.advance(valued).transactions == ()
    assert data.told_as_held(valued)


def test_claim__after_answers__pays_the_share_once(data: Data, valued: int) -> None:
    world, network = data.world, data.network
    data.advance(valued)
    data.sell(3)
    before = network.token.balance_of(world.operator.address)

    share = standing.standing(network, 1, world.operator.address).pending
    done = standing.claim(network, world.operator, 1)

    # 40 % of three dollars: all credits are its, less a millionth by rounding
    assert share == 12 * DOLLAR // 10 - 1
    assert (done.revenue, done.deposits) == (share, 10 * DOLLAR)
    paid = network.token.balance_of(world.operator.address) - before
    assert paid == done.revenue + done.deposits
    with pytest.raises(NothingOwed):
        standing.claim(network, world.operator, 1)
    data.sell(1)
    collected, claimed = standing.claim(network, world.operator, 1).transactions
    assert claimed.gas_used <= 70_000  # not the first
    assert collected.gas_used <= 90_000
    with pytest.raises(NothingOwed):
        standing.claim(network, world.requester, 1)


def test_claim__by_credits__later_rounds_share_later_fees(data: Data, valued: int) -> None:
    world, network = data.world, data.network
    data.advance(valued)
    data.sell(1)
    second = data.open(seed=5)
    data.bring(world.requester, data.file("more.csv", rows(8, 60)))
    data.seal(second)
    data.value(second, world.owner)
    data.pass_phase(second)
    data.advance(second)  # settling collects: the first dollar's share is the first round's

    first = standing.standing(network, 1, world.operator.address)
    later = standing.standing(network, 1, world.requester.address)
    assert first.claimable == 4 * DOLLAR // 10 - 1
    assert (later.claimable, later.pending) == (0, 0)
    assert later.credits > 0
    data.sell(1)
    first = standing.standing(network, 1, world.operator.address)
    later = standing.standing(network, 1, world.requester.address)
    assert 0 <= 4 * DOLLAR // 10 - first.pending - later.pending <= 2
    assert standing.claim(network, world.requester, 1).revenue == later.pending > 0


def test_endorse__with_a_tier__wins_with_it(data: Data, valued: int) -> None:
    world, network = data.world, data.network
    data.advance(valued)
    round_id = data.open(seed=5)
    data.bring(world.requester, data.file("more.csv", rows(8, 60)), bps=2_000)
    data.pass_phase(round_id)
    data.advance(round_id)
    with pytest.raises(ContractError) as caught:  # it holds no tier
        standing.endorse(network, world.stranger, round_id, 0, parse_credits("0.01"))
    assert caught.value.name == "TierMissing"
    staked = parse_credits("0.01")
    standing.endorse(network, world.operator, round_id, 0, staked)
    with pytest.raises(ContractError) as caught:
        standing.endorse(network, world.operator, round_id, 0, staked)
    assert caught.value.name == "EndorsementExists"
    before = standing.standing(network, 1, world.operator.address)
    data.pass_phase(round_id)
    data.advance(round_id, data.owner)
    data.pass_phase(round_id)
    data.advance(round_id)
    data.value(round_id, world.owner)
    data.pass_phase(round_id)
    done = data.advance(round_id)

    assert done.refused == ()
    after = standing.standing(network, 1, world.operator.address)
    (info,) = listing.list_contributions(network, round_id)
    assert info.endorsed == staked
    assert data.told_as_held(round_id)
    assert after.credits - before.credits == 2 * staked  # and as much of the offer
    assert info.credit == done.round.credits - staked


def test_credit__with_a_proof_for_another_round__is_refused(data: Data, valued: int) -> None:
    world, network = data.world, data.network
    data.advance(valued)
    values = rounds.show(network, valued).values
    second = data.open(seed=5)
    data.bring(world.requester, data.file("more.csv", rows(8, 60)))
    data.bring(world.stranger, data.file("still more.csv", rows(9, 60)))
    data.seal(second)
    data.value(second, world.owner)
    data.pass_phase(second)
    data.do(world.stranger, network.valuations.settle(second, rounds.show(network, second).values))
    path = values_tree(values).leaf_path(0)
    with pytest.raises(ContractError) as caught:
        data.do(world.requester, network.data_rounds.credit(second, 0, values[0], path))
    assert caught.value.name == "ValueInvalid"
    assert "another round" in caught.value.hint
    assert data.advance(second).refused == ()


# ── Rounds that end badly ───────────────────────────────────────────────────────────────────────
def test_round__test_set_kept_back__pays_who_revealed(data: Data) -> None:
    world, network = data.world, data.network
    round_id = data.open()
    data.bring(world.operator, data.file("mine.csv", rows(1)))
    hidden = data.bring(world.requester, data.file("never.csv", rows(2)))
    data.pass_phase(round_id)
    book = SecretBook.of(network.settings.home, network.contracts)
    (book.folder / f"{hidden.commitment.hex()}.json").unlink()
    data.advance(round_id)
    data.pass_phase(round_id)
    elsewhere = data.home("elsewhere")  # without the secret of the test set
    assert advancing.advance(elsewhere, world.stranger, round_id).transactions != ()  # forfeited
    data.pass_phase(round_id)
    done = advancing.advance(elsewhere, world.stranger, round_id)

    assert done.round.phase is RoundPhase.VOID
    back = network.data_rounds.balance_of(world.operator.address)
    assert back == 10 * DOLLAR + DOLLAR // 2 + 3 * DOLLAR  # deposit, fee, the whole reward
    assert network.data_rounds.balance_of(world.requester.address) == 0
    assert listing.show(network, round_id, hidden.index).lost
    assert data.told_as_held(round_id)


def test_round__valuator_vanishes__another_values_it(data: Data) -> None:
    world, network = data.world, data.network
    round_id = data.open()
    data.bring(world.operator, data.file("mine.csv", rows(1)))
    data.seal(round_id)
    game = network.valuations
    config = game.config()
    data.do(world.stranger, network.token.approve(game.address, config.stake))
    data.do(world.stranger, game.stake(config.stake))
    data.do(world.stranger, game.claim(round_id))
    assert data.advance(round_id).transactions == ()  # it has its time
    data.pass_phase(round_id)
    done = data.advance(round_id)
    assert [sent.what for sent in done.transactions] == ["end a valuator's lapsed claim"]
    assert game.seat_of(world.stranger.address).staked == config.stake - config.forfeit
    data.value(round_id, world.owner)
    data.pass_phase(round_id)
    assert data.advance(round_id).round.phase is RoundPhase.SETTLED


def test_round__nobody_values_it__gives_everything_back(data: Data) -> None:
    world, network = data.world, data.network
    round_id = data.open()
    data.bring(world.operator, data.file("mine.csv", rows(1)))
    data.seal(round_id)
    data.pass_phase(round_id)
    assert data.advance(round_id).round.phase is RoundPhase.VOID
    assert network.data_rounds.balance_of(world.operator.address) == 10 * DOLLAR + DOLLAR // 2
    assert network.data_rounds.balance_of(world.owner.address) == 3 * DOLLAR
    with pytest.raises(NotFound, match="no round 9"):
        data.advance(9)


def test_round__listed_and_shown__tells_where_it_stands(data: Data, valued: int) -> None:
    (listed,) = rounds.list_rounds(data.network, 1)
    shown = rounds.show(data.network, valued)
    assert listed.phase is shown.phase is RoundPhase.SETTLE
    assert (listed.values, listed.test_root) == (shown.values, shown.test_root)
    assert [m.event for m in shown.moves][:2] == ["RoundOpened", "ContributionSubmitted"]
    assert shown.moves[-1].event == "ValuationPublished"
    assert rounds.list_rounds(data.network, 2) == ()


# ── The record ──────────────────────────────────────────────────────────────────────────────────
def test_verify__after_two_rounds__every_link_fits(data: Data, valued: int) -> None:
    assert records.verify(data.network, 2).head == ZERO32
    data.advance(valued)
    data.open(seed=5)
    data.bring(data.world.requester, data.file("more.csv", rows(8)))

    found = records.verify(data.network, 1)

    assert (found.rounds, found.submitted, found.revealed) == (2, 4, 3)
    assert found.head == data.network.data_rounds.head_of(1)


class Forgetful(History):
    """A history whose node leaves out one contribution's event."""

    forgotten = 0

    def read(
        self, place: Address, kinds: Sequence[type[Event]], *topics: Any, since: int = 0
    ) -> list[Happened]:
        """Return what happened, less one."""
        found = super().read(place, kinds, *topics, since=since)
        return found if ContributionSubmitted not in kinds else _without(found, self.forgotten)


def _without(found: list[Happened], at: int) -> list[Happened]:
    return found[:at] + found[at + 1 :]


@pytest.mark.parametrize("forgotten", [0, 3, 5])
def test_verify__history_with_a_gap__is_found(data: Data, valued: int, forgotten: int) -> None:
    history = Forgetful(data.network.rpc, data.network.contracts)
    history.forgotten = forgotten
    with pytest.raises(DigestMismatch):
        records.verify(replace(data.network, history=history), 1)
