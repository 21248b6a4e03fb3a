"""The port of what writes text, and llama.cpp behind it, in a process of its own.

```
 question ─prompt─▶ ids ─generate─▶ tokens, log-probabilities, one after the other
                        └─replay──▶ what the model says of somebody's tokens
```
An engine that dies takes no worker with it: its texts fail with EngineDied, which may be tried
again, and the next question starts it anew. One that does not go on is ended: `EngineLimits`.
"""

import http.client
import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from oracle import errors as general
from oracle.errors import InputInvalid, TallystickError
from oracle.protocol.logprobs import MAX_PIECE, LikelyToken, ShownStep
from oracle.protocol.tensor import Array
from oracle.protocol.text import TOP, TextQuestion
from worker import errors
from worker.errors import EngineDied, ModelFailed, ModelStuck, WeightsInvalid
from worker.text import binding, child

_LAST = 5.0  # seconds that a process gets to end by itself
_KEPT = 2_000  # bytes of what a dead engine said last
_MOST = 60.0  # seconds of one wait: the system's clock overflows
_LINE = 2**26  # characters of an answer: ids of a prompt, the longest, have a tenth of that


class PromptTooLong(InputInvalid):
    """Prompt and answer are above the model's context; nothing is cut."""


@dataclass(frozen=True, slots=True)
class Step:
    """A token that was written."""

    token: int
    piece: bytes
    logprobs: tuple[int, ...]  # see `oracle.protocol.text`
    ends: bool  # it ends the text by itself
    shown: ShownStep | None = None  # where it was asked for


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the model says of somebody's tokens.

    Attributes:
        logprobs: int16 [n, 8].
        gaps: nat that logits must differ by for each token to be the drawn one; 0 = it is.
        pieces: bytes of each token.
        ends: whether each token ends a text.
        observed: int16 [m, 8], of places in the prompt, which no answer shows.
        named: of each token, what was to be said of other tokens at its place.
    """

    logprobs: Array
    gaps: tuple[float, ...]
    pieces: tuple[bytes, ...]
    ends: tuple[bool, ...]
    observed: Array
    named: tuple[tuple[LikelyToken, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Seconds that an engine's process gets before it is ended, as it may be held up for ever."""

    load: float = 60.0  # to open weights,
    read: float = 50e6  # and one more for so many bytes of them, as disks are slow
    chat: float = 30.0  # to render a chat
    silent: float = 600.0  # between two signs of life while it is asked: a pass of 512 tokens

    def open(self, size: int) -> float:
        """Return the seconds for weights of so many bytes."""
        return self.load + size / self.read


LIMITS = EngineLimits()


class TextEngine(Protocol):
    """What writes text with one model. Safe for threads."""

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt.

        Raises:
            InputInvalid: the model's template does not take it.
            ModelStuck: the template does not end. EngineDied.
        """

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float],
        shown: int | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        """Yield tokens as they are written; closing the iterator stops the writing.

        Args:
            shown: how many of the likeliest tokens each step names; None = it names none.

        Raises:
            ModelFailed: the model does not run. ModelStuck: it does not go on. EngineDied.
        """

    def close(self) -> None:
        """End it."""


class LlamaEngine(TextEngine):
    """llama.cpp in a confined process."""

    def __init__(
        self,
        model: Path,
        *,
        context: int,
        slots: int,
        threads: int,
        limits: EngineLimits = LIMITS,
    ) -> None:
        """Start it.

        Raises:
            EngineMissing: the package is not installed.
            WeightsInvalid, ModelStuck (or another ModelRefused): the file is not loaded.
        """
        binding.require()
        self.context, self.slots, self.threads = context, slots, threads
        self._told = {
            "model": str(model.resolve()), "context": context, "slots": slots, "threads": threads,
        }  # fmt: skip
        self._limits = limits
        self._lock = threading.Lock()
        self._process = _Process(self._told, limits)

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt. See `TextEngine`."""
        process = self._alive()
        text = question.prompt
        if text is None:
            text = process.chat(question)
        size, most = len(text.encode()), self.context * process.longest
        if size > most:  # long texts take long to tokenize, and every other text waits meanwhile
            raise PromptTooLong(
                f"the prompt has {size} bytes, the model's context of {self.context} tokens holds "
                f"{most} at the most",
                hint="ask with fewer or shorter messages: nothing is cut here",
            )
        tokens: list[int] = process.one(do="render", text=text)["tokens"]
        return tokens

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float],
        shown: int | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        """Yield tokens as they are written. See `TextEngine`."""
        asked = {"prompt": list(prompt), "stop": list(stop), "params": dict(params)}
        for event in self._alive().many(do="generate", shown=shown, **asked):
            named = _named(event["named"])
            yield Step(
                event["token"], bytes.fromhex(event["piece"]), tuple(event["logprobs"]),
                event["ends"], ShownStep(named[0], named[1:]) if named else None,
            )  # fmt: skip

    def replay(
        self,
        prompt: Sequence[int],
        tokens: Sequence[int],
        params: Mapping[str, float],
        slack: float,
        named: Sequence[Sequence[int]] = (),
    ) -> Replayed:
        """Run prompt and tokens through the model at once.

        Args:
            slack: nat, see `worker.text.drawing.Logits.gap`.
            named: of each token, ids of which the model is to say how likely they are there.

        Raises:
            InputInvalid: a token that the model does not know. ModelFailed, EngineDied.
        """
        said = self._alive().one(
            do="replay", prompt=list(prompt), tokens=list(tokens), params=dict(params), slack=slack,
            named=[list(ids) for ids in named],
        )  # fmt: skip
        return Replayed(
            np.array(said["logprobs"], np.int16).reshape(-1, TOP), tuple(said["gaps"]),
            tuple(map(bytes.fromhex, said["pieces"])), tuple(said["ends"]),
            np.array(said["observed"], np.int16).reshape(-1, TOP),
            tuple(map(_named, said["named"])),
        )  # fmt: skip

    def piece(self, token: int) -> tuple[bytes, bool]:
        """Return the bytes of a token, and whether it ends a text.

        Raises:
            InputInvalid: a token that the model does not know. EngineDied.
        """
        said = self._alive().one(do="piece", token=token)
        return bytes.fromhex(said["piece"]), said["ends"]

    @property
    def vocabulary(self) -> int:
        """How many tokens the model has."""
        return self._process.vocabulary

    def use_threads(self, count: int) -> None:
        """Compute with so many threads from now on; rounding differs. EngineDied."""
        self._alive().one(do="threads", count=count)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _alive(self) -> "_Process":
        """Return the process; a dead one is started anew."""
        with self._lock:
            if self._process.dead:
                self._process.close()
                self._process = _Process(self._told, self._limits)
            return self._process


_DIED: dict[str, Any] = {"died": True}
_STUCK = "the owner must publish a model that goes on; of weights, try with more threads"


class _Process:
    """One life of the process: what is asked of it, and who waits for which answer."""

    def __init__(self, told: Mapping[str, Any], limits: EngineLimits) -> None:
        self._limits, self._loading = limits, limits.open(Path(told["model"]).stat().st_size)
        self._folder = tempfile.TemporaryDirectory(prefix="text-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes it till its end
        self._jobs: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._ids = itertools.count(1)
        self._lock, self._rendering = threading.Lock(), threading.Lock()
        self.dead = False
        self._heard = time.monotonic()  # its last sign of life
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", child.__name__,
             json.dumps({**told, "folder": self._folder.name})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            env=environ(),
        )  # fmt: skip
        assert self._process.stdin is not None
        self._stdin: IO[str] = self._process.stdin
        threading.Thread(target=self._read, daemon=True).start()
        try:
            with self._within(self._loading, "the model is not loaded"):
                said = self._answer(0)
                self.vocabulary = int(said.get("vocabulary", 0))
                self.longest = int(said.get("longest", MAX_PIECE))  # bytes of a token
        except EngineDied as error:
            self.close()
            raise WeightsInvalid(f"llama.cpp died of {told['model']}: {error}") from error
        except TallystickError:
            self.close()
            raise

    def one(self, **asked: Any) -> dict[str, Any]:
        """Ask for one answer."""
        job = self._ask(asked)
        return self._answer(job)

    def many(self, **asked: Any) -> Iterator[dict[str, Any]]:
        """Ask for answers until one says that it is the last."""
        job = self._ask(asked)
        done = False
        try:
            while not done:
                event = self._answer(job, more=True)
                done = event["done"]
                yield event
        finally:
            self._jobs.pop(job, None)
            if not done and not self.dead:
                with suppress(EngineDied):
                    self._write({"id": job, "do": "cancel"})

    def chat(self, question: TextQuestion) -> str:
        """Render a chat with the engine's own template code.

        Raises:
            InputInvalid: the template does not take it. ModelStuck: it does not end.
        """
        with self._within(self._loading, "the model's template is not taken"):
            path = self.one(do="serve")["socket"]  # the server tries the template as it starts
        body = {
            "messages": [dict(message) for message in question.messages],
            **({"tools": list(question.offered)} if question.offered else {}),
            "chat_template_kwargs": {"date_string": child.TODAY, "datetime": child.TODAY},
        }
        # One after the other, as its server does: waiting is not the template's time
        with self._rendering, self._within(self._limits.chat, "the model's template does not end"):
            status, said = _post(path, "/apply-template", body)
        if status != http.HTTPStatus.OK:
            raise InputInvalid(
                f"the model's template does not take this chat: {_message(said):.300}",
                hint="ask in the roles that it knows, or with a prompt",
            )
        prompt: str = said["prompt"]
        return prompt

    @contextmanager
    def _within(self, seconds: float, failing: str) -> Iterator[None]:
        """End the process unless what is asked of it is over in time.

        Raises:
            ModelStuck: it was not.
        """
        over = threading.Event()

        def end() -> None:
            over.set()
            self._kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            yield
        except EngineDied as error:
            if not over.is_set():
                raise
            raise ModelStuck(f"{failing} within {seconds:.0f} s", hint=_STUCK) from error
        finally:
            timer.cancel()

    def _kill(self) -> None:
        self.dead = True
        self._process.kill()

    def close(self) -> None:
        """End it, and what waits for it."""
        self.dead = True
        with suppress(OSError, ValueError):
            self._stdin.close()
        try:
            self._process.wait(_LAST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _ask(self, asked: Mapping[str, Any]) -> int:
        job = next(self._ids)
        self._jobs[job] = queue.Queue()
        self._write({"id": job, **asked})
        return job

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            with self._lock:
                self._stdin.write(json.dumps(line) + "\n")
                self._stdin.flush()
        except (OSError, ValueError) as error:
            raise EngineDied(f"the engine has ended: {self._last()}") from error

    def _answer(self, job: int, *, more: bool = False) -> dict[str, Any]:
        event = self._event(self._jobs[job], self._limits.silent if job else float("inf"))
        if not more:
            self._jobs.pop(job, None)
        if "died" in event:
            raise EngineDied(f"the engine died in the middle: {self._last()}", hint="ask again")
        if "error" in event:
            raise _error(event)
        return event

    def _event(self, waiting: "queue.Queue[dict[str, Any]]", silent: float) -> dict[str, Any]:
        """Return the next event.

        Raises:
            ModelStuck: nothing was heard of the process for so long; it is ended.
        """
        asked = time.monotonic()
        while not (self.dead and waiting.empty()):
            left = max(asked, self._heard) + silent - time.monotonic()
            if left <= 0:
                self._kill()
                raise ModelStuck(f"the engine said nothing for {silent:.0f} s", hint=_STUCK)
            with suppress(queue.Empty):
                return waiting.get(timeout=min(left, _MOST))
        return _DIED

    def _read(self) -> None:
        said = self._process.stdout
        assert said is not None
        with suppress(ValueError, LookupError, TypeError):  # a child that babbles is a dead one
            for line in iter(lambda: said.readline(_LINE), ""):
                event = json.loads(line)
                self._heard = time.monotonic()
                if waiting := self._jobs.get(event["id"]):
                    waiting.put(event)
        self.dead = True
        for waiting in list(self._jobs.values()):
            waiting.put(_DIED)

    def _last(self) -> str:
        end = os.fstat(self._said.fileno()).st_size
        data = os.pread(self._said.fileno(), _KEPT, max(0, end - _KEPT))
        lines = data.decode(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "no word"


def _named(said: Sequence[tuple[int, str, int]]) -> tuple[LikelyToken, ...]:
    return tuple(LikelyToken(token, bytes.fromhex(piece), value) for token, piece, value in said)


def environ() -> dict[str, str]:
    """Return what the engine's process is started with."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return {
        **kept,
        # Threads meet a hundred times a token. Who sleeps at once takes twice as long alone; who
        # spins for long takes ten times as long beside others
        "GOMP_SPINCOUNT": "1000",
        "OPENBLAS_NUM_THREADS": "1",  # a thread of NumPy's from before would not be confined
        "GGML_NO_BACKTRACE": "1",
    }


def _post(path: str, where: str, body: Any) -> tuple[int, Any]:
    """Ask a server whose socket is a file; return status and JSON of its answer.

    Raises:
        EngineDied: there is no such answer.
    """
    connection = _Local(path)
    try:
        connection.request("POST", where, json.dumps(body), {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read(_LINE))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise EngineDied(f"no chat is rendered: {error!r}") from error
    finally:
        connection.close()


class _Local(http.client.HTTPConnection):
    """HTTP over a socket that is a file; whoever asks ends the process that does not answer."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _message(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", "") if isinstance(error, dict) else said)


def _error(event: Mapping[str, Any]) -> TallystickError:
    """Return the child's error as ours."""
    name, message, hint = event["error"], event["message"], event["hint"]
    kind = getattr(errors, name, getattr(general, name, ModelFailed))
    found: TallystickError = kind(message, hint=hint)
    return found
