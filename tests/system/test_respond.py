"""An honest operator is challenged: it answers in time by itself, whatever dies meanwhile."""

from types import SimpleNamespace

import pytest

from oracle.chain.bindings.dispute_game import (
    ChallengeFailed,
    LeavesRevealed,
    NodeOpened,
    StepAnswered,
    TraceCommitted,
)
from oracle.chain.bindings.inference_market import Convicted, Verdict
from oracle.errors import NotFound
from oracle.exact import files
from oracle.exact.commitments import Committed, trace_root
from oracle.exact.tensors import tensor_leaf
from oracle.queue.messages import AuditMessage
from oracle.services.traces import TraceOver
from oracle.store.job import JobState
from oracle.types import RequestId
from tests.support import clock
from tests.support.waiting import wait_until
from tests.system.dispute_world import WINDOW, DisputeWorld
from tests.system.world import CLOCK, PLENTY, TURN, kill
from worker import faults

pytestmark = pytest.mark.real


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(**options):
        made.append(DisputeWorld(tmp_path, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


def head(world):
    return int(world.rpc.call("eth_blockNumber"), 16)


def owed(world, request_id):
    """What the store says that this operator owes."""
    with world.store.read() as tx:
        return [reply.demand.ask.value for reply in tx.replies_to(request_id)]


def wait_seen(world):
    """Wait until the watcher has read all blocks."""
    newest = head(world)

    def seen():
        with world.store.read() as tx:
            return tx.cursor() >= newest

    wait_until(seen, "the watcher at the head")


def logged(world, role, event, count=1):
    return lambda: sum(line["event"] == event for line in world.log_of(role)) >= count


# ── Alive ───────────────────────────────────────────────────────────────────────────────────────
def test_operator__challenged__serves_off_chain_and_answers_every_demand_on_chain(make_world):
    world = make_world()
    world.fork_watcher()
    world.fork_submitter()
    pid = world.fork_responder()
    request_id, honest = world.ask_exact(), world.example.honest

    served = world.traces().receipt(request_id)
    assert served.signer(world.contracts.chain_id, world.game.address) == world.operator.address
    assert served.leaves == honest.trace_leaves
    assert served.output_root == honest.output_root
    kill(pid)
    world.fork_responder()
    wait_until(logged(world, "respond", "traces.served", 2), "the next responder")
    for op, leaf in enumerate((*served.leaves, served.output_root)):
        record = world.traces().tensor(request_id, op, leaf)
        tensor_id, tree = files.read_output(record)
        assert tensor_leaf(tensor_id, tree.spec, tree.root) == leaf
    assert logged(world, "respond", "trace.made")()
    assert not logged(world, "respond", "trace.made", 2)()  # the second had it on disk
    with pytest.raises(NotFound):
        world.traces().receipt(RequestId(b"\1" * 32))

    world.send(SimpleNamespace(name=AuditMessage.name, to_json=dict))  # audits, too
    wait_until(logged(world, "respond", "audit.malformed"), "a message of the other queue")

    world.challenge(request_id)
    wait_until(lambda: world.events(TraceCommitted), "the trace on chain")
    (committed,) = world.events(TraceCommitted)
    assert committed.leaves == served.leaves
    assert committed.trace_root == served.trace_root == trace_root(committed.leaves)
    answer, game = world.answer(request_id), world.game
    world.challenger.send(game.demand_node(*answer.state, 0, 0, 0))
    wait_until(lambda: world.events(NodeOpened), "the root opened")
    world.challenger.send(game.demand_node(*answer.state, 0, 6, 37))
    wait_until(lambda: world.events(LeavesRevealed), "a leaf revealed")
    world.challenger.send(game.demand_step(*answer.state, 2, 4, 5))
    wait_until(lambda: world.events(ChallengeFailed), "the step answered")

    assert world.staked() == PLENTY
    assert world.market.open_disputes_of(request_id) == 0
    assert world.game.bond_of(world.operator.address) > 0
    clock.pass_time(world.rpc, WINDOW)
    wait_until(lambda: world.states()[JobState.SETTLED] == 1, "the fee")
    with pytest.raises(TraceOver):
        world.traces().receipt(request_id)


# ── Killed ──────────────────────────────────────────────────────────────────────────────────────
def test_operator__all_killed_and_redis_lost_at_every_demand__answers_each_in_time(make_world):
    world = make_world()
    watcher, submitter = world.fork_watcher(), world.fork_submitter()
    request_id = world.ask_exact()

    kill(watcher)  # nobody sees the challenge
    world.challenge(request_id)
    kill(submitter)
    world.kill_redis()
    world.start_redis()
    watcher = world.fork_watcher()
    wait_until(lambda: owed(world, request_id) == ["trace"], "the watcher knows")
    submitter, responder = world.fork_submitter(), world.fork_responder()
    wait_until(lambda: world.events(TraceCommitted), "the trace on chain")

    kill(responder)  # the message waits for nobody
    answer, game = world.answer(request_id), world.game
    wait_until(lambda: owed(world, request_id) == [], "nothing owed")
    world.challenger.send(game.demand_node(*answer.state, 0, 6, 37))
    wait_until(lambda: owed(world, request_id) == ["node"], "the watcher knows")
    world.kill_redis()
    world.start_redis()
    responder = world.fork_responder()
    wait_until(lambda: world.events(LeavesRevealed), "a leaf revealed")

    kill(submitter)  # the answer waits for nobody, and goes lost
    world.challenger.send(game.demand_step(*answer.state, 0, 3, 99))
    wait_until(logged(world, "respond", "respond.answered", 3), "an answer on the queue")
    kill(watcher)
    kill(responder)
    world.kill_redis()
    world.start_redis()
    world.fork_watcher()
    world.fork_responder()
    world.fork_submitter()
    wait_until(lambda: world.events(StepAnswered), "the step answered")
    assert len(world.events(TraceCommitted)) == len(world.events(LeavesRevealed)) == 1
    assert world.staked() == PLENTY


# ── Reorganised ─────────────────────────────────────────────────────────────────────────────────
def test_operator__reorg_in_the_middle_of_a_game__answers_what_the_chain_still_asks(make_world):
    world = make_world(block_time=None)
    world.fork_watcher()
    world.fork_submitter()
    world.fork_responder()
    request_id = world.ask_exact()
    before_it = head(world)
    world.challenge(request_id)
    wait_until(lambda: world.events(TraceCommitted), "the trace on chain")
    wait_seen(world)
    world.rpc.call("anvil_reorg", 1, [])  # takes the trace back, not the challenge
    wait_until(logged(world, "watcher", "chain_reorganised"), "the watcher saw it")
    wait_until(lambda: world.events(TraceCommitted), "the trace again")
    wait_seen(world)

    world.rpc.call("anvil_reorg", head(world) - before_it, [])  # takes trace and challenge back
    wait_until(logged(world, "watcher", "chain_reorganised", 2), "the watcher saw it")
    before = world.nonce()
    world.rpc.call("evm_mine")
    wait_until(lambda: owed(world, request_id) == [], "nothing is owed")
    assert world.events(TraceCommitted) == []
    assert world.nonce() == before
    assert world.job(request_id).state is JobState.DELIVERED


# ── Too late ────────────────────────────────────────────────────────────────────────────────────
def test_operator__back_after_the_deadline__sends_nothing(make_world):
    world = make_world()
    world.fork_watcher()
    submitter = world.fork_submitter()
    request_id = world.ask_exact()
    world.challenge(request_id)
    wait_until(lambda: owed(world, request_id) == ["trace"], "the watcher knows")
    kill(submitter)
    world.fork_responder()
    wait_until(logged(world, "respond", "respond.answered"), "an answer for nobody")
    before = world.nonce()
    clock.pass_time(world.rpc, TURN + CLOCK + 1)
    wait_seen(world)
    world.fork_submitter()
    wait_until(logged(world, "submit", "play.skipped"), "the answer is put aside")
    assert world.nonce() == before
    assert owed(world, request_id) == ["trace"]

    world.challenger.send(
        world.game.convict_silent(*world.answer(request_id).state, world.challenger.address)
    )
    (convicted,) = world.events(Convicted)
    assert (convicted.request_id, convicted.verdict) == (request_id, Verdict.WITHHELD)
    wait_until(lambda: owed(world, request_id) == [], "nothing is owed any more")
    wait_until(lambda: world.states()[JobState.FAILED] == 1, "the job is over")


# ── Faults on purpose ───────────────────────────────────────────────────────────────────────────
def test_operator__that_lies__signs_its_lie_and_cannot_answer_for_it(make_world):
    world = make_world()
    world.fork_watcher()
    world.fork_submitter()
    world.fork_responder(TALLYSTICK_FAULT=faults.OUTPUT_BYTE)
    honest = world.example.honest
    lie = Committed(honest.program, faults.spoil_trace(honest.tensors))
    request_id = world.ask_exact(lie)
    served = world.traces().receipt(request_id)
    assert (served.output_root, served.leaves) == (lie.output_root, honest.trace_leaves)
    assert lie.output_root != honest.output_root

    world.challenge(request_id)
    wait_until(lambda: world.events(TraceCommitted), "the trace on chain")
    world.challenger.send(world.game.demand_step(*world.answer(request_id).state, 2, 7, 7))
    wait_until(logged(world, "submit", "submit.refused"), "the step is inconsistent")
    assert world.events(StepAnswered) == []


def test_operator__that_withholds__answers_nothing(make_world):
    world = make_world()
    world.fork_watcher()
    world.fork_submitter()
    world.fork_responder(TALLYSTICK_FAULT=faults.WITHHOLD)
    request_id = world.ask_exact()
    before = world.nonce()
    world.challenge(request_id)
    wait_until(logged(world, "respond", "respond.withheld"), "a demand that is ignored")
    assert logged(world, "respond", "FAULTS_ON")()
    assert world.events(TraceCommitted) == []
    assert world.nonce() == before
