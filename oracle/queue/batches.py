"""Hands waiting messages to free processes as batches; the mend of two gaps in celery-batches 0.11.

```
 message ─▶ buffer ──(a process is free)──▶ batch ─▶ process ─▶ ack
              ▲                               │ process died
              └─── redelivered, runs alone ◀──┘        died again: `gave_up`, ack
```
celery-batches flushes on time alone, so batches stay small while all processes are busy; here the
buffer grows until one is free. And it never hears of a process that died with its messages; here
they go back to the queue once, and then run alone, so that one that kills its process (a crash in
native code) takes no neighbour along twice.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from celery_batches import Batches, SimpleRequest  # type: ignore[import-untyped]  # no types
from celery_batches.trace import apply_batches_task  # type: ignore[import-untyped]  # no types

FLUSH_INTERVAL = 0.01  # seconds a message waits for company


class FairBatches(Batches):  # type: ignore[misc]  # an untyped base
    """A task that is given lists of messages. Subclasses implement `run(requests)`."""

    abstract = True
    acks_late = True
    ignore_result = True
    flush_interval = FLUSH_INTERVAL

    def __init__(self) -> None:
        super().__init__()
        self._busy = 0  # batches that processes are working on

    def gave_up(self, request: Any) -> None:
        """Hear (in the main process) of a message whose process died twice."""

    def _do_flush(self) -> None:
        if self._busy < self._slots():
            super()._do_flush()

    def flush(self, requests: Sequence[Any]) -> None:
        """Send as many batches as there are free processes; put the rest back in line."""
        requests = list(requests)
        again = [request for request in requests if _is_redelivered(request)]
        fresh = [request for request in requests if not _is_redelivered(request)]
        free = max(1, self._slots() - self._busy)
        share = min(self.flush_every, max(1, -(-len(fresh) // free)))
        batches = [[request] for request in again]
        batches += [fresh[start : start + share] for start in range(0, len(fresh), share)]
        for batch in batches[:free]:
            self._dispatch(batch)
        for batch in batches[free:]:
            for request in batch:
                self._buffer.put(request)

    def _dispatch(self, batch: list[Any]) -> None:
        self._busy += 1
        self._pool.apply_async(
            apply_batches_task,
            (self, ([SimpleRequest.from_request(request) for request in batch],), 0, None),
            callback=partial(self._done, batch),
            error_callback=partial(self._died, batch),
        )

    def _done(self, batch: list[Any], _result: object) -> None:
        self._busy -= 1
        for request in batch:
            request.acknowledge()
        self._do_flush()

    def _died(self, batch: list[Any], _error: object) -> None:
        self._busy -= 1
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
