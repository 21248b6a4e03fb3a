"""Redis, the node or the watcher go away and come back; nothing is lost, nothing is done twice."""

import os
import signal
import time

import psutil
import pytest
from redis import Redis

from oracle.store.job import JobState
from tests.support.waiting import exit_code, wait_until
from tests.system.stock_world import StockWorld
from tests.system.tcp_proxy import TcpProxy
from tests.system.world import kill

pytestmark = pytest.mark.real


@pytest.fixture
def proxy(world):
    made = TcpProxy(world.anvil.port)
    yield made
    made.close()


@pytest.fixture
def stock(tmp_path):
    made = StockWorld(tmp_path)
    yield made
    made.close()


def queued(world):
    with Redis.from_url(world.settings.redis_url) as client:
        return client.llen("op.infer")


def taken(world):
    with Redis.from_url(world.settings.redis_url) as client:
        return client.hlen("unacked")


def cursor(world):
    with world.store.read() as tx:
        return tx.cursor()


def test_watcher__redis_killed_twice_with_all_messages__answers_each_exactly_once(world):
    ids = world.ask(10)
    world.fork_watcher()
    wait_until(lambda: queued(world) == 10, "10 messages")
    world.kill_redis()
    ids += world.ask(10)  # nobody to tell
    wait_until(lambda: world.states().total() == 20, "jobs that nobody could be told of")
    world.start_redis()
    wait_until(lambda: queued(world) == 20, "20 messages in a new Redis")

    world.start_worker()
    world.start_submitter()
    wait_until(lambda: len(world.journal()) > 5, "work under way")
    world.kill_redis()
    world.start_redis()
    world.wait_settled(20)
    world.assert_exactly_once(ids)


def test_worker__redis_killed_before_a_process_began_its_batch__answers_after_it(stock):
    """Celery's pool drops such a batch and tells nobody: its place must not stay taken."""
    worker = stock.worker("infer", "-Q", "op.infer", "-c", "1")
    wait_until(lambda: b"ready." in stock.log("infer").read_bytes(), log=stock.log("infer"))
    (process,) = psutil.Process(worker.pid).children()
    process.suspend()  # the batch is on its way to it
    stock.fork_watcher()
    stock.ask_digits()
    wait_until(lambda: taken(stock) == 1, "the message at the worker")
    stock.kill_redis()
    stock.start_redis()
    wait_until(lambda: taken(stock) == 1, "the message at the worker, again")
    process.resume()
    stock.start_submitter()
    stock.wait_settled(1)


def told(world) -> list[str]:
    """Return what the watcher said about the node, in order."""
    events = [line["event"] for line in world.log_of("watcher")]
    return [event for event in events if event in ("waiting", "going_on")]


def test_watcher__node_refuses_hangs_and_talks_nonsense__waits_and_goes_on(world, proxy):
    pid = world.fork_watcher(TALLYSTICK_RPC_URL=f"http://127.0.0.1:{proxy.port}")
    wait_until(lambda: cursor(world) is not None, "the first look")
    known = 0
    for outage, mode in enumerate(("refuse", "garbage", "hang"), 1):
        proxy.switch(mode)
        head = int(world.rpc.call("eth_blockNumber"), 16)  # what a look under way may know
        known += len(world.ask(3))
        if mode == "hang":
            time.sleep(1.0)  # waited out in the client, so nothing is told
        else:
            wait_until(lambda n=outage: told(world).count("waiting") == n, f"outage {outage} told")
        assert cursor(world) <= head  # it tried, and got nowhere
        assert world.states()[JobState.QUEUED] == known - 3
        proxy.switch("forward")
        wait_until(lambda n=known: world.states()[JobState.QUEUED] == n, f"{known} jobs queued")
    wait_until(lambda: queued(world) == known, f"{known} messages")
    kill(pid, signal.SIGTERM)

    # Once for each change of state
    said = told(world)
    assert said == ["waiting", "going_on"] * (len(said) // 2)
    assert len(said) >= 4


def test_watcher__chain_stopped_and_started_from_its_state__goes_on(world):
    pid = world.fork_watcher()
    ids = world.ask(3)
    wait_until(lambda: world.states()[JobState.QUEUED] == 3, "3 jobs")
    world.anvil.stop()
    time.sleep(0.5)
    world.anvil.start()
    world.rpc = world.anvil.rpc
    world.start_worker()
    world.start_submitter()
    world.wait_settled(3)
    kill(pid, signal.SIGTERM)
    world.assert_exactly_once(ids)


def test_watcher__wrong_chain__exits_and_says_so(world):
    world.anvil.rpc.call("anvil_setChainId", 5)
    process = world.start("oracle.operator.watch_process")

    assert exit_code(process) == 78
    text = (world.home / "oracle.operator.watch_process.log").read_text()
    assert "serves chain 5, the contracts are on chain 31337" in text


def test_watcher__sigterm__ends_cleanly(world):
    process = world.start("oracle.operator.watch_process")
    wait_until(lambda: cursor(world) is not None, "the first look")
    os.kill(process.pid, signal.SIGTERM)

    assert exit_code(process) == 0


def test_watcher__two_on_one_store__answers_each_exactly_once(world):
    world.start_worker()
    world.start_submitter()
    pids = [world.fork_watcher() for _ in range(2)]
    ids = [request_id for _ in range(5) for request_id in world.ask(6)]
    world.wait_settled(30)
    for pid in pids:
        kill(pid)
    world.assert_exactly_once(ids)
