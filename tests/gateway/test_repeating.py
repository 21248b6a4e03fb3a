"""A step that is taken again and again, on a thread of its own."""

import threading
import time

from structlog.testing import capture_logs

from oracle.errors import Unavailable
from oracle.gateway import repeating
from oracle.gateway.repeating import Repeating
from oracle.patience import BURST
from tests.support.waiting import wait_until


def test_repeating__step_fails__is_said_once_and_tried_again(monkeypatch):
    monkeypatch.setattr(repeating, "_TROUBLE", 0.0)
    taken = []

    def step() -> float:
        taken.append(loop.troubled)
        if len(taken) <= 3:
            raise Unavailable("no node answers")
        return 60.0

    loop = Repeating("test", step)
    with capture_logs() as said:
        loop.start()
        wait_until(lambda: len(taken) == 4 and not loop.troubled)
        loop.stop()

    assert taken == [False, True, True, True]
    assert [line["event"] for line in said] == ["test.trouble"]


def test_repeating__woken_in_its_pause__takes_the_next_step():
    taken = threading.Semaphore(0)

    def step() -> float:
        taken.release()
        return 3600.0

    loop = Repeating("test", step)
    loop.start()
    assert taken.acquire(timeout=60)
    loop.wake()
    assert taken.acquire(timeout=60)
    loop.stop()


def test_stop__in_a_pause__no_further_step():
    taken = []
    loop = Repeating("test", lambda: float(taken.append(1) or 0), pause=3600.0)
    loop.start()
    loop.stop()
    assert taken == []


def test_repeating__woken_at_once_after_a_long_step__rests_as_long_first():
    times = []

    def step() -> float:
        times.append(time.monotonic())
        loop.wake()
        time.sleep(2 * BURST)  # what the step does
        times.append(time.monotonic())
        return 3600.0

    loop = Repeating("test", step)
    loop.start()
    wait_until(lambda: len(times) >= 3)
    loop.stop()
    assert times[2] - times[1] >= times[1] - times[0] - BURST - 0.01
