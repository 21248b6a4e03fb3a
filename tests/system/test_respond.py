"""An honest operator is challenged: it answers in time by itself, whatever dies meanwhile."""

import pytest

from oracle.chain.events import ChallengeFailed, LeavesRevealed, NodeOpened, TraceCommitted
from oracle.exact.commitments import trace_root
from tests.system.dispute_world import STAKE, DisputeWorld
from tests.system.world import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

REPLY = 60  # seconds that the first turn lasts


@pytest.fixture
def world(tmp_path):
    made = DisputeWorld(tmp_path)
    yield made
    made.close()


def test_operator__challenged_without_a_witness__commits_the_trace_and_answers_all(world):
    world.fork_watcher()
    world.fork_submitter()
    world.start_responder()
    request_id = world.ask_exact()
    world.challenge(request_id)

    wait_until(lambda: world.events(TraceCommitted), REPLY, "the trace on chain")
    (committed,) = world.events(TraceCommitted)
    assert committed.leaves == world.example.honest.trace_leaves
    assert committed.trace_root == trace_root(committed.leaves)

    answer = world.answer(request_id)
    world.challenger.send(world.game.demand_node(answer, 0, 0, 0))
    wait_until(lambda: world.events(NodeOpened), REPLY, "the root opened")
    world.challenger.send(world.game.demand_node(answer, 0, 6, 37))
    wait_until(lambda: world.events(LeavesRevealed), REPLY, "a leaf revealed")
    world.challenger.send(world.game.demand_step(answer, 2, 4, 5))
    wait_until(lambda: world.events(ChallengeFailed), REPLY, "the step answered")

    assert world.staked() == STAKE
    assert world.market.open_disputes_of(request_id) == 0
    assert world.game.bond_of(world.operator.address) > 0
