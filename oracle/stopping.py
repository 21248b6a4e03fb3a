"""SIGINT and SIGTERM as a flag that a loop looks at between two steps, and that wakes its sleep."""

import signal
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

    def is_set(self) -> bool:
        """Return whether the loop was asked to end."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """Sleep for that many seconds, or until `set`; return if it is set. One thread only."""
        if not self._set:
            with suppress(Empty):
                self._wake.get(timeout=timeout)
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
