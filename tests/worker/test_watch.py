"""One look at a time: the lease of `tallystick.watch`, and what a look does with an outage."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from oracle.errors import Unavailable
from oracle.operator.jobs import Operator
from oracle.operator.watcher import Watcher
from oracle.queue.broker import MemoryQueue
from oracle.store.store import Store
from tests.operator.builders import ME, authorized, published, requested
from tests.operator.memory_chain import CONTRACTS, MemoryChain
from tests.support.waiting import wait_until
from worker.tasks import watch


class World:
    """A chain with one request, a queue, and a store whose clock the test moves."""

    def __init__(self) -> None:
        self.clock, self.asked = 100.0, 0  # asked: how often the store looked at its clock
        self.chain, self.queue = MemoryChain(), MemoryQueue()
        self.chain.mine(published(), authorized(), requested())
        self.store = Store.open("sqlite://", self.now)
        self.watcher = Watcher(
            self.chain, self.store, self.queue, Operator(ME), CONTRACTS, now=lambda: 0.0
        )

    def now(self) -> float:
        self.asked += 1
        return self.clock

    def run(self) -> int:
        """Run the task; return how many messages it sent."""
        watch.run(self.watcher, self.store)
        return len(self.queue.take())

    def leases(self, holder: str) -> bool:
        with self.store.begin() as tx:
            return tx.lease(watch.LEASE, holder, watch.LEASE_SECONDS)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.store.close()


def test_run__another_process_looks__nothing_until_its_lease_is_over(world: World) -> None:
    assert world.leases("other")
    assert world.run() == 0

    world.clock += watch.LEASE_SECONDS
    assert world.run() == 1


def test_run__done__lease_given_back(world: World) -> None:
    assert world.run() == 1
    assert world.leases("other")


def test_run__outage__said_and_lease_given_back(world: World) -> None:
    world.queue.down = True
    with capture_logs() as said:
        world.run()

    assert [line["event"] for line in said if line["log_level"] == "warning"] == ["waiting"]
    assert world.leases("other")


def test_run__error_that_does_not_pass__raised_and_lease_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cycle() -> None:
        raise RuntimeError

    monkeypatch.setattr(world.watcher, "cycle", cycle)
    with pytest.raises(RuntimeError):
        world.run()

    assert world.leases("other")


def test_run__look_longer_than_the_lease__nobody_else_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def cycle() -> None:
        for _ in range(3):
            world.clock += watch.LEASE_SECONDS * 0.9
            before = world.asked
            wait_until(lambda: world.asked >= before + 2, what="a renewal at the new time")  # noqa: B023 - called at once
            taken.append(world.leases("other"))

    monkeypatch.setattr(watch, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(world.watcher, "cycle", cycle)
    world.run()

    assert taken == [False, False, False]
    assert world.leases("other")


def test_run__store_away_for_one_renewal__renewed_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, failed = world.store.begin, []

    def cycle() -> None:
        def away() -> None:
            monkeypatch.setattr(world.store, "begin", begin)
            failed.append(True)
            raise Unavailable("the store is away")

        monkeypatch.setattr(world.store, "begin", away)
        wait_until(lambda: failed, what="a renewal that fails")
        before = world.asked
        wait_until(lambda: world.asked > before, what="the next renewal")

    monkeypatch.setattr(watch, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(world.watcher, "cycle", cycle)
    with capture_logs() as said:
        world.run()

    assert [line["event"] for line in said] == ["lease.not_renewed"]
