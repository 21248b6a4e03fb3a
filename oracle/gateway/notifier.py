"""Wakes coroutines when a thread has news of an id: one watcher serves all who wait."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
_Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Notifier:
    """Told by threads; wakes coroutines of any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[bytes, list[_Waiting]] = defaultdict(list)

    @property
    def waiting(self) -> int:
        """How many coroutines wait."""
        return len(self._waiting)

    def notify(self, ids: Iterable[bytes]) -> None:
        """Say that there is news of these ids."""
        with self._lock:
            woken = [one for name in ids for one in self._waiting.pop(name, ())]
        for loop, future in woken:
            loop.call_soon_threadsafe(_wake, future)

    async def until(self, name: bytes, look: Callable[[], T | None], timeout: float | None) -> T:
        """Look after each notice until there is something; return it.

        Args:
            timeout: in seconds; None = for ever.

        Raises:
            TimeoutError: there is nothing after so many seconds.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            while True:
                future: asyncio.Future[None] = loop.create_future()
                entry = (loop, future)
                with self._lock:  # before the look: a notice in between must not be missed
                    self._waiting[name].append(entry)
                try:
                    if (found := look()) is not None:
                        return found
                    await future
                finally:
                    self._leave(name, entry)

    def _leave(self, name: bytes, entry: _Waiting) -> None:
        with self._lock:
            left = [one for one in self._waiting.get(name, ()) if one is not entry]
            if left:
                self._waiting[name] = left
            else:
                self._waiting.pop(name, None)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
