"""Aggregator and challenger at work on a real chain: nobody moves a hand."""

from collections.abc import Iterator

import pytest

from oracle.agents.agent import Agent
from oracle.agents.training.aggregator import TrainingAggregator
from oracle.agents.training.challenger import AggregateChallenger
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.training_game import TrainingMover, TrainingPart
from oracle.services.receipts import send
from oracle.services.training import rounds, vector_demands
from oracle.services.training.rounds import TrainingPhase
from oracle.types import Amount
from tests.services.training.people import MONEY, PLAN, TrainingPlay
from tests.services.training.test_round_on_anvil import CHALLENGER, HONEST, balance, lie

pytestmark = pytest.mark.real
STAKE = PLAN.aggregator_bond


def work(*agents: Agent, most: int = 30) -> None:
    """Let agents work until none has anything to do."""
    for _ in range(most):
        moved = [agent.cycle() for agent in agents]
        if not any(moved):
            return
    raise AssertionError("they do not come to rest")


@pytest.fixture
def aggregator(play: TrainingPlay) -> Iterator[TrainingAggregator]:
    network, _ = play.person(HONEST)
    account = dev_account(10 + HONEST)
    with TrainingAggregator(network, account, play.folder / "aggregator") as running:
        yield running


@pytest.fixture
def challenger(play: TrainingPlay) -> Iterator[AggregateChallenger]:
    network, _ = play.person(CHALLENGER)
    account = dev_account(10 + CHALLENGER)
    with AggregateChallenger(network, account, play.folder / "challenger") as running:
        yield running


def test_agents__liar_first__convicted_replaced_settled_and_paid(
    play: TrainingPlay, aggregator: TrainingAggregator, challenger: AggregateChallenger
) -> None:
    round_id = play.open()
    play.collect(round_id)
    liar = lie(play, round_id, "sums")

    work(challenger)
    assert balance(play, liar) == MONEY - STAKE
    work(aggregator)
    assert rounds.show(play.network, round_id).phase is TrainingPhase.CHALLENGE
    work(challenger, aggregator)
    play.pass_phase(round_id)
    work(challenger, aggregator)

    assert play.phase(round_id) is TrainingPhase.SETTLED
    assert balance(play, play.person(HONEST)[1]) == MONEY + PLAN.fee
    assert balance(play, play.person(CHALLENGER)[1]) == MONEY + STAKE // 2


@pytest.mark.parametrize("steps", range(1, 5))
def test_aggregator__ended_after_any_step__goes_on(play: TrainingPlay, steps: int) -> None:
    round_id = play.open()
    play.collect(round_id)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    network, wallet = play.person(HONEST)
    account, folder = dev_account(10 + HONEST), play.folder / "aggregator"
    with TrainingAggregator(network, account, folder) as first:
        for _ in range(steps):
            first.look()  # kept, and sent by `follow`
            if steps % 2:
                first.follow()

    with TrainingAggregator(network, account, folder) as second:
        work(second)
        assert play.phase(round_id) is TrainingPhase.CHALLENGE
        assert rounds.show(network, round_id).attempt == 1
        play.pass_phase(round_id)
        work(second)

    assert play.phase(round_id) is TrainingPhase.SETTLED
    assert balance(play, wallet) == MONEY + PLAN.fee


def test_aggregator__nodes_are_demanded__it_shows_them(
    play: TrainingPlay, aggregator: TrainingAggregator
) -> None:
    round_id = play.open()
    play.collect(round_id)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    work(aggregator)
    network, wallet = play.person(CHALLENGER)
    attempt = rounds.show(network, round_id).attempt
    parts = ((TrainingPart.STATE, 0), (TrainingPart.SUMS, 0), (TrainingPart.UPDATE, 2))
    for part, number in parts:
        send(wallet, vector_demands.demand(network, round_id, part, number))
        work(aggregator)
        game = network.training_game.demand_of(round_id, attempt, 0, wallet.address)
        assert game.turn is TrainingMover.CHALLENGER

    assert [one.part for one in vector_demands.shown(network, round_id, attempt)] == [
        part for part, _ in parts
    ]
    play.world.pass_time(60)
    work(aggregator)  # the challenger is silent: half its bonds are the aggregator's
    assert network.training_game.bond_of(wallet.address) == 0
    assert rounds.show(network, round_id).challenges == 0


def test_aggregator__pays_too_little__is_left_to_others(play: TrainingPlay) -> None:
    round_id = play.open()
    play.collect(round_id)
    play.pass_to(round_id, TrainingPhase.CLAIM)
    network, _ = play.person(HONEST)
    least = Amount(PLAN.fee + 1)
    with TrainingAggregator(
        network, dev_account(10 + HONEST), play.folder / "a", least_fee=least
    ) as running:
        work(running)

    assert play.phase(round_id) is TrainingPhase.CLAIM
