"""A flag that signal handlers set: it wakes a sleep, and a handler in its middle is no harm."""

import os
import signal
import subprocess
import sys
import threading
import time

from oracle.stopping import Stop, on_signals

# Signals in the middle of `wait` and `set`, where threading.Event soon waits for itself.
STORM = """
import signal
from oracle.stopping import Stop
stop = Stop()
signal.signal(signal.SIGALRM, lambda *_: stop.set())
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
for _ in range(200_000):
    stop.wait(0)
    stop.set()
    stop.__init__()  # not set again
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_stop__not_set__sleeps_and_says_no():
    assert not Stop().wait(0.01)


def test_stop__set_before__does_not_sleep():
    stop = Stop()
    stop.set()
    stop.set()

    assert stop.wait(60)
    assert stop.wait(60)
    assert stop.is_set()


def test_stop__woken__ends_a_sleep_that_may_be_ended_and_no_other():
    stop = Stop()
    stop.wake()
    stop.wake()
    began = time.monotonic()

    assert not stop.wait(60, wakeable=True)
    assert time.monotonic() - began < 60
    stop.wake()
    assert not stop.wait(0.01)


def test_stop__set_by_a_signal__wakes_the_sleep():
    with on_signals() as stop:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()

        assert stop.wait(600)  # pytest-timeout ends a sleep that goes on


def test_stop__signals_in_the_middle_of_its_calls__never_hangs():
    subprocess.run([sys.executable, "-c", STORM], check=True)


def test_on_signals__left__old_handlers_are_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with on_signals():
        pass

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
