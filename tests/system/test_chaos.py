"""Every process is killed, every server goes away, the chain takes back: all is answered once.

`SOAK=1` plays the full size, `CHAOS_SEED` a run again: it draws all requests and all faults. When a
process gets its processor is the machine's to say, so equal seeds are equal faults, not equal runs.
"""

import random
import time
from collections.abc import Callable

import pytest

from oracle.store.job import JobState
from oracle.store.outbox import SqlOutbox
from tests.support import clock
from tests.support.effort import CHAOS, CHAOS_SEED
from tests.support.waiting import wait_until
from tests.system.chaos_world import UNSERVED, ChaosWorld

pytestmark = pytest.mark.real

REQUESTS, FAULTS = CHAOS
AT_WORK = 0.8  # share of the kills that wait until a process works; others hit one that starts
DEEPEST = 64  # blocks of a reorg
LAGS = (0, 1, 2, 3, 6, 12)  # blocks that the second node may be behind
WHO = ("named",) * 6 + ("anybody",) * 3 + ("nobody",)  # may answer a request
# The first of each first, so that a small run has all
FAULT_KINDS = ("watcher", "submitter", "worker", "ipfs", "redis", "node", "reorg")
FAULT_KINDS += ("watcher", "submitter", "watcher", "submitter", "node", "reorg")


class Chaos:
    """A run: what a seed draws, done to a network."""

    def __init__(self, world: ChaosWorld, seed: int) -> None:
        self._world = world
        self._dice = random.Random(seed)
        kinds = FAULT_KINDS * (FAULTS // len(FAULT_KINDS) + 1)
        self._plan = list(kinds[:FAULTS])
        self._dice.shuffle(self._plan)

    def run(self) -> None:
        """Ask and break things; all works again at the end, and all requests are on the chain."""
        self._world.tend()
        for number, kind in enumerate(self._plan, 1):
            self._ask(REQUESTS * number // FAULTS - REQUESTS * (number - 1) // FAULTS)
            self._pause(0.2, 2)
            getattr(self, f"_{kind}", self._kill)(kind)
            self._world.lag(self._dice.choice(LAGS))
            self._world.tend()
        self._world.lag(0)
        wait_until(self._world.all_mined, "what was sent in a block")
        self._ask(REQUESTS - len(self._world.requests()))
        wait_until(lambda: len(self._world.requests()) == REQUESTS, "all requests on the chain")

    def _ask(self, count: int) -> None:
        inputs = range(len(self._world.inputs))
        for _ in range(count):
            draw = self._dice.choice
            self._world.ask_one(draw(range(3)), draw(inputs), draw(WHO))

    def _pause(self, shortest: float, longest: float) -> None:
        time.sleep(self._dice.uniform(shortest, longest))

    def _kill(self, role: str) -> None:
        self._world.counts[f"{role} killed"] += 1
        if self._dice.random() < AT_WORK:
            wait_until(lambda: self._world.at_work(role), f"{role} at work")
        self._world.kill(role)
        self._pause(0, 1)

    def _ipfs(self, _: str) -> None:
        self._away("IPFS killed", self._world.kill_ipfs, self._world.start_ipfs)

    def _redis(self, _: str) -> None:
        self._away("Redis killed", self._world.kill_redis, self._world.start_redis)

    def _node(self, _: str) -> None:
        mode, node = self._dice.choice(("refuse", "hang", "garbage")), self._world.node
        self._away(f"node: {mode}", lambda: node.switch(mode), lambda: node.switch("forward"))

    def _away(self, name: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._world.counts[name] += 1
        begin()
        self._pause(0, 3)
        end()

    def _reorg(self, _: str) -> None:
        self._world.counts["reorgs"] += 1
        depth = self._dice.choice((self._dice.randint(1, 8), self._dice.randint(1, DEEPEST)))
        places = [self._dice.random() for _ in range(self._dice.choice((0, 7)))]
        self._world.reorg(depth, places)


@pytest.fixture
def world(tmp_path):
    made = ChaosWorld(tmp_path)
    yield made
    made.close()


def test_operator__everything_fails_at_random_while_requests_flow__each_answered_and_paid_once(
    world,
):
    print(f"CHAOS_SEED={CHAOS_SEED}")
    begun = time.monotonic()
    Chaos(world, CHAOS_SEED).run()
    faults_end = time.monotonic()

    asked = world.requests()
    served = [one for one in asked if not world.is_unserved(one)]
    unserved = [one for one in asked if world.is_unserved(one)]

    def reached(state: JobState, count: int) -> None:
        def done() -> bool:
            world.tend()
            return world.states()[state] == count and not SqlOutbox(world.store).live()

        told = lambda: f"{count} {state.value}: {world.stand()}"  # noqa: E731
        wait_until(done, told, seconds=300, progress=world.states)

    reached(JobState.SETTLED, len(served))
    clock.pass_time(world.rpc, UNSERVED)
    for one in unserved:
        world.cancel(one)
    reached(JobState.CANCELLED, len(unserved))

    figures = {
        "requests on chain": len(asked), "settled": len(served), "refunded": len(unserved),
        **world.figures(), "seconds of faults": int(faults_end - begun),
        "seconds to settle the rest": int(time.monotonic() - faults_end),
    }  # fmt: skip
    print("\n".join(f"{value:>8,}  {name}" for name, value in figures.items()))
    assert len(asked) == REQUESTS
    world.assert_exactly_once(
        [one.request_id for one in served], [one.request_id for one in unserved]
    )
    world.assert_answers_are_right(served)
    world.assert_money_adds_up()
    world.assert_all_on_chain_was_kept()
