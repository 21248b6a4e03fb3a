"""Hands waiting messages to free processes as batches; mends three gaps in celery-batches 0.11.

```
 message ─▶ buffer ──(a process is free)──▶ batch ─▶ process ─▶ ack
              ▲                               │ process died
              └─── redelivered, runs alone ◀──┘        died again: `gave_up`, ack
```
celery-batches flushes on time alone, so batches stay small while all processes are busy; here the
buffer grows until one is free. And it never hears of a process that died with its messages; here
they go back to the queue once, and then run alone, so that one that kills its process (a crash in
native code) takes no neighbour along twice. With the connection to the broker Celery 5.6 drops the
timer that flushes, and the batches that no process has begun, and tells nobody. Here both begin
anew.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from queue import Empty
from typing import Any

from celery_batches import Batches, SimpleRequest  # type: ignore[import-untyped]  # no types
from celery_batches.trace import apply_batches_task  # type: ignore[import-untyped]  # no types

FLUSH_INTERVAL = 0.001  # seconds a message waits for company


class FairBatches(Batches):  # type: ignore[misc]  # an untyped base
    """A task that is given lists of messages. Subclasses implement `run(requests)`."""

    abstract = True
    acks_late = True
    ignore_result = True
    flush_interval = FLUSH_INTERVAL

    def __init__(self) -> None:
        super().__init__()
        self._tref: Any = None  # what flushes
        # Batches that processes have or are about to get, by number, with the pool's job
        self._running: dict[int, Any] = {}
        self._numbers = count()

    def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:
        """Begin a connection to the broker: Celery calls it for each one.

        What was taken over the last one cannot be acknowledged; the broker or the watcher sends it
        again. A batch that a process has begun still ends.
        """
        for queue in (self._buffer, self._pending):
            with suppress(Empty):
                while True:
                    queue.get_nowait()
        self._running = {n: job for n, job in self._running.items() if job.accepted()}
        if self._tref is not None:  # the next message starts the timer again
            self._tref.cancel()
            self._tref = None
        return super().Strategy(task, app, consumer)

    def gave_up(self, request: Any) -> None:
        """Hear (in the main process) of a message whose process died twice."""

    def _do_flush(self) -> None:
        if len(self._running) < self._slots():
            super()._do_flush()

    def flush(self, requests: Sequence[Any]) -> None:
        """Send as many batches as there are free processes; put the rest back in line."""
        requests = list(requests)
        again = [request for request in requests if _is_redelivered(request)]
        fresh = [request for request in requests if not _is_redelivered(request)]
        free = max(1, self._slots() - len(self._running))
        share = min(self.flush_every, max(1, -(-len(fresh) // free)))
        batches = [[request] for request in again]
        batches += [fresh[start : start + share] for start in range(0, len(fresh), share)]
        for batch in batches[:free]:
            self._dispatch(batch)
        for batch in batches[free:]:
            for request in batch:
                self._buffer.put(request)

    def _dispatch(self, batch: list[Any]) -> None:
        number = next(self._numbers)
        self._running[number] = None
        job = self._pool.apply_async(
            apply_batches_task,
            (self, ([SimpleRequest.from_request(request) for request in batch],), 0, None),
            callback=partial(self._done, number, batch),
            error_callback=partial(self._died, number, batch),
        )
        if number in self._running:  # a pool without processes has done it by now
            self._running[number] = job

    def _done(self, number: int, batch: list[Any], _result: object) -> None:
        self._running.pop(number, None)
        for request in batch:
            request.acknowledge()
        self._do_flush()

    def _died(self, number: int, batch: list[Any], _error: object) -> None:
        self._running.pop(number, None)
        for request in batch:
            if _is_redelivered(request):
                self.gave_up(request)
                request.acknowledge()
            else:
                request.reject(requeue=True)
        self._do_flush()

    def _slots(self) -> int:
        return max(1, int(self._pool.num_processes)) if self._pool else 1


def _is_redelivered(request: Any) -> bool:
    return bool((request.delivery_info or {}).get("redelivered"))
