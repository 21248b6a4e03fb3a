"""The last answers, for who lost a reply: the same voucher and question bring the same again.

```
 voucher, question ─▶ asked before? ─no──▶ answered and kept ─▶ reply
                            └───────yes─▶ waited for, or given again: nothing more is charged
```
They are in memory: after a restart such a question is refused, and `GET /channels/…` has the
receipt.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

MOST, MOST_BYTES = 4096, 64 << 20  # answers that are kept, and all their bytes

T = TypeVar("T")


class RecentAnswers(Generic[T]):
    """Answers by question. For one event loop."""

    def __init__(
        self, size: Callable[[T], int], *, most: int = MOST, most_bytes: int = MOST_BYTES
    ) -> None:
        """Begin empty; `size` says how many bytes an answer has."""
        self._size, self._most, self._most_bytes = size, most, most_bytes
        self._under_way: dict[bytes, asyncio.Task[T]] = {}
        self._waiting: Counter[bytes] = Counter()
        self._kept: OrderedDict[bytes, T] = OrderedDict()
        self._bytes = 0

    async def once(
        self,
        question: bytes,
        answer: Callable[[], Coroutine[Any, Any, T]],
        stoppable: Callable[[], bool] = lambda: False,
    ) -> T:
        """Return the answer of a question, which is worked on once, also when its client has gone.

        Args:
            stoppable: whether work that nobody waits for any more is given up.

        Raises what `answer` raises; then it was not answered, and may be asked again.
        """
        if question in self._kept:
            return self._kept[question]
        task = self._under_way.get(question)
        if task is None:
            task = self._under_way[question] = asyncio.create_task(answer())
            task.add_done_callback(partial(self._done, question))
        self._waiting[question] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[question] -= 1
            if not self._waiting[question]:
                del self._waiting[question]
                if not task.done() and stoppable():
                    task.cancel()

    def _done(self, question: bytes, task: "asyncio.Task[T]") -> None:
        del self._under_way[question]
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[question] = task.result()
        self._bytes += self._size(task.result())
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= self._size(oldest)
