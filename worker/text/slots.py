"""Many texts through one model at once: each pass takes a token of every text, and what waits.

```
 asked ─▶ waiting ─▶ slot: prompt in pieces ─▶ a token each pass ─▶ last event, slot free again
                                                     └▶ event
```
Knows nothing of processes; `worker.text.child` feeds it, in one thread.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from oracle.protocol import text
from oracle.protocol.tensor import Array
from worker.text.drawing import Logits
from worker.text.llama import BATCH, BatchRow, Llama

_DRAWERS = 2  # threads: a draw is a hundredth of a pass, and eight of them are not


@dataclass(slots=True)
class Writing:
    """A text that is being written."""

    job: int
    prompt: list[int]
    stop: tuple[str, ...]
    params: Mapping[str, float]
    shown: int | None = None  # how many of the likeliest are named with each token
    sequence: int = -1
    read: int = 0  # tokens of the prompt that have gone through the model
    tokens: list[int] = field(default_factory=list)
    written: bytes = b""

    @property
    def room(self) -> int:
        """Tokens that may still be written, as asked."""
        return int(self.params["max_tokens"]) - len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Drawn:
    token: int
    logprobs: list[int]
    named: list[tuple[int, int]]  # ids with log-probabilities: its own, and of the likeliest


def _draw(one: Writing, logits: Array) -> _Drawn:
    said = Logits(logits)
    token, named = said.draw(one.params, len(one.tokens)), []
    if one.shown is not None:
        ids = [token, *said.likeliest(one.shown).tolist()]
        named = list(zip(ids, said.logprobs(ids).tolist(), strict=True))
    return _Drawn(token, said.top_logprobs().tolist(), named)


class Slots:
    """Texts that are written together."""

    def __init__(self, model: Llama, context: int, slots: int) -> None:
        self._model, self._context = model, context
        self._free = list(range(slots))
        self._drawers = ThreadPoolExecutor(_DRAWERS)
        self._waiting: deque[Writing] = deque()
        self._active: list[Writing] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._active)

    def add(self, writing: Writing) -> None:
        """Take a text; its prompt is within the context."""
        self._waiting.append(writing)

    def cancel(self, job: int) -> None:
        """Write no more of a text. One that is not here is over already."""
        self._waiting = deque(one for one in self._waiting if one.job != job)
        for one in [one for one in self._active if one.job == job]:
            self._end(one)

    def step(self) -> Iterator[dict[str, Any]]:
        """Run one pass and yield an event for each token that was written.

        Raises:
            ModelFailed: the pass failed.
        """
        while self._free and self._waiting:
            one = self._waiting.popleft()
            one.sequence = min(self._free)
            self._free.remove(one.sequence)
            self._active.append(one)
        rows: list[BatchRow] = []
        asked: list[Writing] = []
        # Who writes goes before who reads; out of order, llama.cpp would take each text alone
        for one in sorted(self._active, key=lambda one: one.sequence):
            if one.tokens:
                place = len(one.prompt) + len(one.tokens) - 1
                rows.append(BatchRow(one.tokens[-1], place, one.sequence, True))
                asked.append(one)
        for one in self._active:
            if not one.tokens and len(rows) < BATCH:
                part = one.prompt[one.read : one.read + BATCH - len(rows)]
                last = len(one.prompt) - 1
                for place, token in enumerate(part, one.read):
                    rows.append(BatchRow(token, place, one.sequence, place == last))
                one.read += len(part)
                if one.read == len(one.prompt):
                    asked.append(one)
        if not rows:
            return
        logits = self._model.step(rows)
        drawn = (map if len(asked) == 1 else self._drawers.map)(_draw, asked, logits)
        for one, found in zip(asked, drawn, strict=True):
            yield self._wrote(one, found)

    def _wrote(self, one: Writing, drawn: _Drawn) -> dict[str, Any]:
        token = drawn.token
        one.tokens.append(token)
        piece, ends = self._model.piece(token), self._model.ends(token)
        one.written += piece
        full = len(one.prompt) + len(one.tokens) >= self._context
        done = ends or full or not one.room or text.stopped_at(one.written, one.stop) is not None
        if done:
            self._end(one)
        return {
            "id": one.job, "token": token, "piece": piece.hex(), "logprobs": drawn.logprobs,
            "named": [(id_, self._model.piece(id_).hex(), value) for id_, value in drawn.named],
            "ends": ends, "done": done,
        }  # fmt: skip

    def _end(self, one: Writing) -> None:
        self._active.remove(one)
        self._model.forget(one.sequence)
        self._free.append(one.sequence)
