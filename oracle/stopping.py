"""SIGINT and SIGTERM as a flag that a loop looks at between two steps; what wakes its sleep."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue


class Stop:
    """What `threading.Event` is, but safe in a signal handler.

    `Event.set` takes a lock that the thread may hold in the moment in which the signal interrupts
    it, and then waits for itself; `SimpleQueue.put` is documented to be reentrant.
    """

    def __init__(self) -> None:
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._set = False

    def set(self) -> None:
        """Ask the loop to end; may be called again, and in the middle of any other call."""
        if not self._set:
            self._set = True
            self._wake.put(None)

    def wake(self) -> None:
        """End the sleep of the loop, and let it go on."""
        self._wake.put(None)

    def is_set(self) -> bool:
        """Return whether the loop was asked to end."""
        return self._set

    def wait(self, timeout: float, *, wakeable: bool = False) -> bool:
        """Sleep for that many seconds, or until `set`; return if it is set. One thread only.

        Args:
            wakeable: `wake` ends it as well, also one that came since the last sleep.
        """
        until = time.monotonic() + timeout
        with suppress(Empty):
            while not self._set and (left := until - time.monotonic()) > 0:
                self._wake.get(timeout=left)
                if wakeable:
                    break
            while True:  # however often it was called, it wakes once
                self._wake.get_nowait()
        return self._set


@contextmanager
def on_signals() -> Iterator[Stop]:
    """Give a flag that SIGINT and SIGTERM set; main thread only. Puts old handlers back."""
    stop = Stop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
