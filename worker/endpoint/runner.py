"""Models of this process: what waits while one pass runs shares the next. A long queue is refused.

```
 a ─▶ pass [a] ─▶      b, c, d wait ─▶ pass [b, c, d] ─▶
```
Texts wait for nobody's turn: their engine writes several at once.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from oracle.errors import TransientError
from oracle.protocol.tensor import Array
from worker import batching, forward, runtimes
from worker.models import LoadedModel
from worker.pipeline import MAX_ROWS

WAITING = 256  # inputs: whoever comes then asks again later
TOGETHER = 64  # inputs that are taken in one turn


class EndpointBusy(TransientError):
    """So many wait that another would wait for too long; nothing was charged."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    model: LoadedModel
    params: Mapping[str, float]
    inputs: dict[str, Array]
    done: "asyncio.Future[bytes]"
    taken: Callable[[], object]


class ModelRunner:
    """Runs inputs on one thread. For one event loop."""

    def __init__(self, log: Any, waiting: int = WAITING) -> None:
        """Run nothing yet; `waiting` is how many may."""
        self._log, self._most = log, waiting
        self._thread = ThreadPoolExecutor(1, "model")
        self._writers = ThreadPoolExecutor(waiting, "text")  # they wait for the engine's slots
        self._writing = 0
        self._waiting: list[_Waiting] = []
        self._turns: asyncio.Task[None] | None = None

    def require_room(self) -> None:
        """Return if another input may wait.

        Raises:
            EndpointBusy: too many do.
        """
        waiting = len(self._waiting) + self._writing
        if waiting >= self._most:
            raise EndpointBusy(f"{waiting} inputs wait here", hint="ask again later")

    async def run(
        self,
        model: LoadedModel,
        params: Mapping[str, float],
        inputs: dict[str, Array],
        taken: Callable[[], object] = lambda: None,
        heard: Callable[[str], object] = lambda _piece: None,
    ) -> bytes:
        """Return the canonical output; `taken` is called when its turn begins.

        Args:
            heard: of a text model: is told each piece of the text, in this loop. Cancelling stops
                the writing.

        Raises:
            ModelFailed, OutputInvalid, OutputTooLarge: of this input alone.
        """
        if forward.is_text(model.manifest):
            return await self._write(model, params, inputs, taken, heard)
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(model, params, inputs, done, taken))
        if self._turns is None:
            self._turns = asyncio.create_task(self._take_turns())
        return await done

    async def _write(
        self,
        model: LoadedModel,
        params: Mapping[str, float],
        inputs: dict[str, Array],
        taken: Callable[[], object],
        heard: Callable[[str], object],
    ) -> bytes:
        loop, stopped = asyncio.get_running_loop(), threading.Event()

        def write() -> bytes:
            runtime: Any = model.runtime
            try:
                found = runtime.write(
                    inputs, params,
                    lambda piece: loop.call_soon_threadsafe(heard, piece), stopped.is_set,
                )  # fmt: skip
                return forward.encode(model, found)
            except Exception as error:
                raise forward.failure(error) from error

        taken()
        self._writing += 1
        try:
            return await loop.run_in_executor(self._writers, write)
        finally:
            self._writing -= 1
            stopped.set()

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            for one in taken:
                one.taken()
            results = await loop.run_in_executor(self._thread, self._run, taken)
            for one, found in zip(taken, results, strict=True):
                if one.done.done():  # who asked has gone
                    continue
                if isinstance(found, bytes):
                    one.done.set_result(found)
                else:
                    one.done.set_exception(found)
        self._turns = None

    def _run(self, taken: list[_Waiting]) -> list[bytes | Exception]:
        results: list[bytes | Exception] = [EndpointBusy("not run")] * len(taken)
        alike: dict[object, list[int]] = {}
        for place, one in enumerate(taken):
            key = (id(one.model), tuple(sorted(one.params.items())))
            alike.setdefault(key, []).append(place)
        for places in alike.values():
            first, given = taken[places[0]], [taken[place].inputs for place in places]
            model, mask = first.model, runtimes.mask_of(first.model.manifest)
            for group in batching.plan(model.manifest, given, MAX_ROWS, mask):
                inputs = [given[index] for index in group]
                outputs = forward.run(model, dict(first.params), inputs, self._log)
                for index, found in zip(group, outputs, strict=True):
                    results[places[index]] = _encoded(model, found)
        return results


def _encoded(model: LoadedModel, found: forward.Outputs | Exception) -> bytes | Exception:
    if isinstance(found, Exception):
        return found
    try:
        return forward.encode(model, found)
    except Exception as error:
        return forward.failure(error)
