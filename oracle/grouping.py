"""Threads that want the same kind of thing at the same time get it in one go.

```
 a ─▶ leader: runs [a] ───────────────▶ a returns
 b ─────────▶ waits ─┐ b leads: runs [b, c] ─▶ b and c return
 c ───────────▶ waits ┘
```
Nobody waits for company: a group is what came while the group before it ran.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Place(Generic[T, R]):
    """One thread's place in line."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.woken = threading.Event()  # to lead, or because it is done
        self.outcome: tuple[R | BaseException] | None = None


class Grouping(Generic[T, R]):
    """Runs what many threads bring, a group at a time. Safe for threads."""

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R | BaseException]]) -> None:
        """Take what runs a group: an outcome for each item, an exception where it failed alone."""
        self._run = run
        self._lock = threading.Lock()
        self._waiting: list[_Place[T, R]] = []
        self._led = False

    def do(self, item: T) -> R:
        """Run an item with those that wait beside it; return its result, or raise its error.

        Raises:
            What `run` raised: then no item of the group has a result.
        """
        mine: _Place[T, R] = _Place(item)
        with self._lock:
            self._waiting.append(mine)
            if not self._led:
                self._led = True
                mine.woken.set()
        mine.woken.wait()
        if mine.outcome is None:
            self._lead()
        assert mine.outcome is not None, "a leader is of its own group"
        (result,) = mine.outcome
        if isinstance(result, BaseException):
            raise result
        return result

    def _lead(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = self._run([place.item for place in group])
        except BaseException as error:  # each thread raises it
            outcomes = [error] * len(group)
        with self._lock:
            for place, outcome in zip(group, outcomes, strict=True):
                place.outcome = (outcome,)
                place.woken.set()
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].woken.set()
