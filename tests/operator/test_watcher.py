"""What reaches the queue: every message that is due, and no other, through crashes and outages."""

from contextlib import suppress
from dataclasses import replace

import pytest

from oracle.config import Settings
from oracle.errors import ConfigInvalid, NotFound, Unavailable
from oracle.metrics import WatcherMetrics
from oracle.operator.job_messages import FINALIZE_BATCH
from oracle.operator.jobs import Operator
from oracle.operator.watch_process import address_of, main
from oracle.operator.watcher import Watcher
from oracle.queue.broker import MemoryQueue
from oracle.queue.messages import DeliverMessage, InferMessage
from oracle.store.job import JobState
from oracle.store.store import Store
from oracle.types import ZERO32, RequestId
from tests.operator.builders import (
    ID,
    ME,
    OTHER,
    ROOT,
    authorized,
    claimed,
    delivered,
    finalized,
    published,
    requested,
)
from tests.operator.memory_chain import CONTRACTS, MemoryChain
from tests.support.killing import Killed, dying

HEX = "0x" + ID.hex()


class World:
    """A chain, a queue, a store, and a watcher that can be killed and started again."""

    def __init__(self):
        self.chain = MemoryChain()
        self.chain.mine(published(), authorized())
        self.queue = MemoryQueue()
        self.store = Store.open("sqlite://")
        self.wall = 0.0
        self.start()

    def start(self):
        self.metrics = WatcherMetrics()
        self.watcher = Watcher(
            self.chain,
            self.store,
            self.queue,
            Operator(ME, requeue_after=60.0),
            CONTRACTS,
            now=lambda: self.wall,
            metrics=self.metrics,
        )

    def count(self, name, **labels):
        """Read one metric."""
        return self.metrics.registry.get_sample_value(f"tallystick_{name}", labels)

    def cycle(self):
        """Run one cycle; return the ids of the tasks that it put on the queue."""
        self.watcher.cycle()
        return [message.task_id for message in self.queue.take()]

    def state(self, request_id=ID):
        with self.store.read() as tx:
            return tx.job(request_id).state


@pytest.fixture
def world():
    made = World()
    yield made
    made.store.close()


# ── Outages ─────────────────────────────────────────────────────────────────────────────────────


def test_cycle__queue_down__follows_the_chain_and_sends_when_it_is_back(world):
    world.chain.mine(requested())
    world.queue.down = True
    with pytest.raises(Unavailable):
        world.cycle()
    with world.store.read() as tx:
        assert tx.cursor() == world.chain.head()

    world.queue.down = False
    assert world.cycle() == [f"infer:{HEX}:1"]


def test_cycle__queue_dies_between_two_messages__sends_the_rest_later(world):
    ids = [RequestId(bytes([n]) * 32) for n in range(1, 4)]
    world.chain.mine(*(requested(request_id=i) for i in ids))
    send = world.queue.send

    def dying(message, task_id):
        send(message, task_id)
        world.queue.down = len(world.queue.messages) == 2

    world.queue.send = dying
    with pytest.raises(Unavailable):
        world.cycle()
    before = [message.task_id for message in world.queue.take()]
    world.queue.down, world.queue.send = False, send
    after = world.cycle()

    assert len(before) == 2
    assert [task.split(":")[1] for task in before + after] == ["0x" + i.hex() for i in ids]


def test_cycle__answered_while_its_message_is_noted__is_looked_at_again(world):
    world.chain.mine(requested())
    send = world.queue.send

    def answered_at_once(message, task_id):
        send(message, task_id)
        world.store.record_answer(ID, ROOT, ZERO32)

    world.queue.send = answered_at_once
    assert world.cycle() == [f"infer:{HEX}:1"]
    world.cycle()
    assert world.state() is JobState.DELIVERING


def test_cycle__queue_lost_everything__sends_what_was_under_way(world):
    world.chain.mine(requested())
    world.cycle()
    world.queue.lose()

    assert world.cycle() == [f"infer:{HEX}:2"]
    assert world.cycle() == []


def test_run__node_down_for_a_while__waits_longer_and_longer_and_goes_on(world, monkeypatch):
    pauses = []

    def wait(seconds, *, wakeable=False):
        pauses.append(seconds)
        if len(pauses) == 8:
            world.chain.down = False
        if len(pauses) == 9:
            world.watcher.stop()

    monkeypatch.setattr(world.watcher._stop, "wait", wait)
    world.chain.mine(requested())
    world.chain.down = True
    world.watcher.run(interval=0.1)

    *waits, _rest = pauses
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 0.1]
    assert [message.task_id for message in world.queue.messages] == [f"infer:{HEX}:1"]


def test_run__wrong_chain__ends(world):
    world.chain.chain_id = 1

    with pytest.raises(ConfigInvalid):
        world.watcher.run(interval=0.1)


# ── Crashes: a watcher that dies is a watcher that is started again on the same store ───────────


@pytest.mark.parametrize("at", range(1, 12))
def test_cycle__killed_at_any_step__ends_as_if_nothing_had_happened(world, at):
    world.chain.mine(requested())
    perilous = dying(at)
    begin, read, send = world.store.begin, world.store.read, world.queue.send
    world.store.begin, world.store.read = perilous(begin), perilous(read)
    world.queue.send = perilous(send)
    with suppress(Killed):
        world.watcher.cycle()
    world.store.begin, world.store.read, world.queue.send = begin, read, send
    world.start()
    world.watcher.cycle()
    world.watcher.cycle()

    tasks = [message.task_id for message in world.queue.take()]
    assert {task.rsplit(":", 1)[0] for task in tasks} == {f"infer:{HEX}"}
    assert len(tasks) in (1, 2)
    assert world.state() is JobState.QUEUED


def test_cycle__killed_after_sending_before_noting__sends_once_more(world):
    world.chain.mine(requested())
    send = world.queue.send

    def fatal(message, task_id):
        send(message, task_id)
        raise Killed

    world.queue.send = fatal
    with pytest.raises(Killed):
        world.cycle()
    world.queue.send = send
    world.start()

    assert world.cycle() == [f"infer:{HEX}:1", f"infer:{HEX}:2"]
    assert world.cycle() == []


# ── The life of a request ───────────────────────────────────────────────────────────────────────


def test_cycle__catching_up_with_history__sends_nothing_for_what_is_over(world):
    world.chain.mine(requested())
    world.chain.mine(delivered(ME))
    world.chain.mine(finalized(ME))

    assert world.cycle() == []
    assert world.state() is JobState.SETTLED


def test_cycle__my_request__reaches_the_infer_queue_with_all_that_a_worker_needs(world):
    world.chain.mine(requested())
    world.watcher.cycle()
    (sent,) = world.queue.take()

    assert sent.message == InferMessage(
        request_id=ID,
        model_id=1,
        version=1,
        manifest_digest=ROOT,
        model_root=ROOT,
        input_root=ROOT,
        input_cid=ZERO32,
        params=ZERO32,
    )


def test_cycle__taken_over_request__is_answered_claimed_delivered_and_settled(world):
    world.chain.mine(requested(OTHER))
    steps = world.cycle()
    world.chain.mine_until(1030)
    steps += world.cycle()
    world.store.record_answer(ID, ROOT, ZERO32)
    steps += world.cycle()
    world.chain.mine(claimed(ME))
    steps += world.cycle()
    world.chain.mine(delivered(ME))
    steps += world.cycle()
    world.chain.mine_until(1140)
    steps += world.cycle()
    world.chain.mine(finalized(ME))
    steps += world.cycle()

    assert steps == [f"{step}:{HEX}:1" for step in ("infer", "claim", "deliver", "finalize")]
    assert world.state() is JobState.SETTLED


def test_cycle__answer_too_late_then_claimed__delivers_the_recorded_answer(world):
    world.chain.mine(requested())
    world.cycle()
    world.chain.mine_until(1030)
    world.store.record_answer(ID, ROOT, ZERO32)
    world.cycle()
    world.chain.mine(claimed(ME))
    world.watcher.cycle()
    (sent,) = world.queue.take()

    assert sent.message == DeliverMessage(ID, ROOT, ZERO32)


def test_cycle__many_settlements__share_messages(world):
    ids = [RequestId(n.to_bytes(32)) for n in range(1, FINALIZE_BATCH + 2)]
    for request_id in ids:
        world.chain.mine(
            requested(request_id=request_id), replace(delivered(ME), request_id=request_id)
        )
    world.chain.mine_until(1500)
    world.watcher.cycle()
    batches = [sent.message.request_ids for sent in world.queue.take()]

    assert [len(batch) for batch in batches] == [FINALIZE_BATCH, 1]
    assert {i for batch in batches for i in batch} == set(ids)


def test_cycle__more_left_by_others_than_can_be_answered__claims_as_many_as_allowed(world):
    ids = [RequestId(n.to_bytes(32)) for n in range(1, 51)]
    world.chain.mine(*(requested(OTHER, request_id=i) for i in ids))
    world.chain.mine_until(1030)
    assert len(world.cycle()) == 32

    world.wall += 10
    assert world.cycle() == []  # still 32 under way
    with world.store.read() as tx:
        under_way = [job.request_id for job in tx.open_jobs() if job.attempt]
    world.chain.mine(*(replace(delivered(ME), request_id=i) for i in under_way[:10]))
    world.wall += 10
    claims = world.cycle()

    assert len(claims) == 10
    assert not {task.split(":")[1] for task in claims} & {"0x" + i.hex() for i in under_way}


def test_cycle__failure_reported__tries_again_soon_then_gives_up(world):
    world.chain.mine(requested())
    tasks = world.cycle()
    for attempt in range(3):
        world.store.record_failure(ID, "OutOfMemory", "no room", False, str(attempt))
        tasks += world.cycle()
        world.wall += 20
        tasks += world.cycle()

    assert tasks == [f"infer:{HEX}:{n}" for n in (1, 2, 3)]
    assert world.state() is JobState.FAILED


def test_cycle__authorisation_withdrawn__stops_the_work(world):
    world.chain.mine(requested())
    world.cycle()
    world.chain.mine(authorized(flag=False))
    world.cycle()
    world.queue.lose()

    assert (world.cycle(), world.state()) == ([], JobState.WAITING)


def test_cycle__reorg_removes_the_request__sends_nothing_more(world):
    world.chain.mine(requested())
    world.cycle()
    world.chain.revert(1)
    world.chain.mine()
    world.queue.lose()

    assert world.cycle() == []


def test_cycle__request_comes_back_after_its_answer__is_delivered_not_inferred(world):
    world.chain.mine(requested())
    world.cycle()
    world.store.record_answer(ID, ROOT, ZERO32)
    world.chain.revert(1)
    world.chain.mine()
    world.cycle()
    world.chain.mine(requested())

    assert world.cycle() == [f"deliver:{HEX}:1"]


def test_cycle__many_requests_at_once__sends_each_once(world):
    ids = [RequestId(n.to_bytes(32)) for n in range(1, 1201)]
    for start in range(0, 1200, 100):
        world.chain.mine(*(requested(request_id=i) for i in ids[start : start + 100]))
    tasks = world.cycle()

    assert sorted(tasks) == sorted(f"infer:0x{i.hex()}:1" for i in ids)


def test_cycle__request_of_a_version_that_was_never_published__is_an_error(world):
    world.chain.revert(1)
    world.chain.mine(authorized(), requested())

    with pytest.raises(NotFound):
        world.cycle()


# ── What is counted ─────────────────────────────────────────────────────────────────────────────


def test_metrics__request_then_reorg__say_where_the_watcher_is(world):
    world.cycle()
    world.chain.mine(requested())
    world.cycle()
    assert world.count("messages_total", step="infer") == 1
    assert world.count("jobs", state="queued") == 1
    assert world.count("block") == world.chain.head()
    logs = world.count("logs_total")

    world.chain.revert(1)
    world.chain.mine()
    world.cycle()

    assert world.count("reorganisations_total") == 1
    assert world.count("jobs", state="queued") == 0
    assert world.count("logs_total") == logs


# ── The process ─────────────────────────────────────────────────────────────────────────────────


def test_main__no_network__says_so_and_returns_its_status(tmp_path):
    assert main({"TALLYSTICK_HOME": str(tmp_path)}) == ConfigInvalid.exit_code


def test_address_of__no_operator_or_no_address__is_refused(tmp_path):
    for settings in (Settings(tmp_path), Settings(tmp_path, operator_address="0x12")):
        with pytest.raises(ConfigInvalid):
            address_of(settings)
    with pytest.raises(NotFound):
        address_of(Settings(tmp_path, key="nobody"))
    assert address_of(Settings(tmp_path, operator_address=ME.lower())) == ME
