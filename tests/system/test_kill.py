"""Every request is answered and paid once, however often the watcher is killed."""

import random
import threading
import time

import pytest

from tests.support.effort import KILLS
from tests.system.world import kill

pytestmark = pytest.mark.real

REQUESTS = 6 * KILLS


def test_watcher__killed_at_random_while_requests_flow__answers_each_exactly_once(world):
    """A third of the requests prefers an operator that never answers, and is claimed."""
    world.start_worker()
    world.start_submitter()
    ids = []

    def flow():
        for _ in range(REQUESTS // 6):
            ids.extend(world.ask(4))
            ids.extend(world.ask(2, preferred=world.other.address, priority=1))
            time.sleep(0.3)

    asking = threading.Thread(target=flow)
    asking.start()
    dice = random.Random(1)
    for _ in range(KILLS):
        pid = world.fork_watcher()
        time.sleep(dice.uniform(0.05, 0.7))
        kill(pid)
    asking.join()
    pid = world.fork_watcher()
    world.wait_settled(REQUESTS)
    kill(pid)

    world.assert_exactly_once(ids)
    task_ids = [entry["task_id"] for entry in world.journal()]
    print(f"{len(ids)} requests, {KILLS} kills, {len(task_ids)} computations")
    assert len(task_ids) == len(set(task_ids))
    assert len(task_ids) <= REQUESTS + 10 * KILLS
