"""What waits together runs together, and each thread gets its own outcome."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from oracle.grouping import Grouping
from tests.support.waiting import wait_until


class Runner:
    """Notes its groups; the first one is held until `go`."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Event()
        self.grouping: Grouping[int, int] = Grouping(self.run)

    def run(self, items: Sequence[int]) -> list[int | BaseException]:
        self.groups.append(sorted(items))
        self.go.wait()
        if 13 in items:
            raise ValueError("all of them")
        return [KeyError(item) if item < 0 else 10 * item for item in items]

    def all_of(self, pool: ThreadPoolExecutor, *items: int):
        """Let the first item lead, and the others wait meanwhile."""
        first = pool.submit(self.grouping.do, items[0])
        wait_until(lambda: self.groups)
        rest = [pool.submit(self.grouping.do, item) for item in items[1:]]
        wait_until(lambda: len(self.grouping._waiting) == len(rest))
        self.go.set()
        return [first, *rest]


@pytest.fixture
def runner():
    return Runner()


def test_do__one_item_fails__the_others_have_their_results(runner):
    with ThreadPoolExecutor() as pool:
        first, second, third, fourth = runner.all_of(pool, 1, 2, -3, 4)
        assert (first.result(), second.result(), fourth.result()) == (10, 20, 40)
        with pytest.raises(KeyError):
            third.result()
    assert runner.groups == [[1], [-3, 2, 4]]


def test_do__the_group_fails__each_thread_raises_it_and_the_next_goes_on(runner):
    with ThreadPoolExecutor() as pool:
        first, second, third = runner.all_of(pool, 1, 13, 2)
        assert first.result() == 10
        for one in (second, third):
            with pytest.raises(ValueError, match="all of them"):
                one.result()
    assert runner.grouping.do(5) == 50


def test_do__from_many_threads_at_once__each_item_runs_once(runner):
    runner.go.set()
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(runner.grouping.do, range(14, 500))) == [
            10 * item for item in range(14, 500)
        ]
    assert sorted(item for group in runner.groups for item in group) == list(range(14, 500))
