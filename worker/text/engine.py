"""The port of what writes text, and llama.cpp behind it, in a process of its own.

```
 question ─prompt─▶ ids ─generate─▶ tokens, log-probabilities, one after the other
                        └─replay──▶ what the model says of somebody's tokens
```
An engine that dies takes no worker with it: its texts fail with EngineDied, which may be tried
again, and the next question starts it anew.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from oracle import errors as general
from oracle.errors import InputInvalid, TallystickError
from oracle.protocol.tensor import Array
from oracle.protocol.text import TOP, TextQuestion
from worker import errors
from worker.errors import EngineDied, ModelFailed, WeightsInvalid
from worker.text import binding, child

_LAST = 5.0  # seconds that a process gets to end by itself
_TEMPLATE = 60.0  # seconds that a chat may take to be rendered
_KEPT = 2_000  # bytes of what a dead engine said last


class PromptTooLong(InputInvalid):
    """Prompt and answer are above the model's context; nothing is cut."""


@dataclass(frozen=True, slots=True)
class Step:
    """A token that was written."""

    token: int
    piece: bytes
    logprobs: tuple[int, ...]  # see `oracle.protocol.text`
    ends: bool  # it ends the text by itself


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the model says of somebody's tokens.

    Attributes:
        logprobs: int16 [n, 8].
        gaps: nat that logits must differ by for each token to be the drawn one; 0 = it is.
        pieces: bytes of each token.
        ends: whether each token ends a text.
        observed: int16 [m, 8], of places in the prompt, which no answer shows.
    """

    logprobs: Array
    gaps: tuple[float, ...]
    pieces: tuple[bytes, ...]
    ends: tuple[bool, ...]
    observed: Array


class TextEngine(Protocol):
    """What writes text with one model. Safe for threads."""

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt.

        Raises:
            InputInvalid: the model's template does not take it. EngineDied.
        """

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float]
    ) -> Iterator[Step]:
        """Yield tokens as they are written; closing the iterator stops the writing.

        Raises:
            ModelFailed: the model does not run. EngineDied.
        """

    def close(self) -> None:
        """End it."""


class LlamaEngine(TextEngine):
    """llama.cpp in a confined process."""

    def __init__(self, model: Path, *, context: int, slots: int, threads: int) -> None:
        """Start it.

        Raises:
            EngineMissing: the package is not installed.
            WeightsInvalid (or another ModelRefused): the file is not loaded.
        """
        binding.require()
        self.context, self.slots = context, slots
        self._told = {
            "model": str(model.resolve()), "context": context, "slots": slots, "threads": threads,
        }  # fmt: skip
        self._lock = threading.Lock()
        self._process = _Process(self._told)

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt. See `TextEngine`."""
        process = self._alive()
        text = question.prompt
        if text is None:
            text = process.chat(question)
        tokens: list[int] = process.one(do="render", text=text)["tokens"]
        return tokens

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float]
    ) -> Iterator[Step]:
        """Yield tokens as they are written. See `TextEngine`."""
        asked = {"prompt": list(prompt), "stop": list(stop), "params": dict(params)}
        for event in self._alive().many(do="generate", **asked):
            yield Step(
                event["token"], bytes.fromhex(event["piece"]), tuple(event["logprobs"]),
                event["ends"],
            )  # fmt: skip

    def replay(
        self,
        prompt: Sequence[int],
        tokens: Sequence[int],
        params: Mapping[str, float],
        slack: float,
    ) -> Replayed:
        """Run prompt and tokens through the model at once.

        Args:
            slack: nat, see `worker.text.drawing.Logits.gap`.

        Raises:
            InputInvalid: a token that the model does not know. ModelFailed, EngineDied.
        """
        said = self._alive().one(
            do="replay", prompt=list(prompt), tokens=list(tokens), params=dict(params), slack=slack
        )
        return Replayed(
            np.array(said["logprobs"], np.int16).reshape(-1, TOP), tuple(said["gaps"]),
            tuple(map(bytes.fromhex, said["pieces"])), tuple(said["ends"]),
            np.array(said["observed"], np.int16).reshape(-1, TOP),
        )  # fmt: skip

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _alive(self) -> "_Process":
        """Return the process; a dead one is started anew."""
        with self._lock:
            if self._process.dead:
                self._process.close()
                self._process = _Process(self._told)
            return self._process


class _Process:
    """One life of the process: what is asked of it, and who waits for which answer."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="text-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes it till its end
        self._jobs: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self.dead = False
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
            self._answer(0)
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
            InputInvalid: the template does not take it.
        """
        path = self.one(do="serve")["socket"]
        body = {
            "messages": [dict(message) for message in question.messages],
            **({"tools": list(question.tools)} if question.tools else {}),
            "chat_template_kwargs": {"date_string": child.TODAY, "datetime": child.TODAY},
        }
        connection = _Local(path)
        try:
            connection.request(
                "POST", "/apply-template", json.dumps(body), {"content-type": "application/json"}
            )
            reply = connection.getresponse()
            said = json.loads(reply.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise EngineDied(f"no chat is rendered: {error!r}") from error
        finally:
            connection.close()
        if reply.status != http.HTTPStatus.OK:
            raise InputInvalid(
                f"the model's template does not take this chat: {_message(said):.300}",
                hint="ask in the roles that it knows, or with a prompt",
            )
        prompt: str = said["prompt"]
        return prompt

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
        waiting = self._jobs[job]
        event = {"died": True} if self.dead and waiting.empty() else waiting.get()
        if not more:
            self._jobs.pop(job, None)
        if "died" in event:
            raise EngineDied(f"the engine died in the middle: {self._last()}", hint="ask again")
        if "error" in event:
            raise _error(event)
        return event

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError, LookupError, TypeError):  # a child that babbles is a dead one
            for line in self._process.stdout:
                event = json.loads(line)
                if waiting := self._jobs.get(event["id"]):
                    waiting.put(event)
        self.dead = True
        for waiting in list(self._jobs.values()):
            waiting.put({"died": True})

    def _last(self) -> str:
        end = os.fstat(self._said.fileno()).st_size
        data = os.pread(self._said.fileno(), _KEPT, max(0, end - _KEPT))
        lines = data.decode(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "no word"


def environ() -> dict[str, str]:
    """Return what the engine's process is started with."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return {
        **kept,
        "OMP_WAIT_POLICY": "passive",  # two threads that spin beside others take ten times as long
        "OPENBLAS_NUM_THREADS": "1",  # a thread of NumPy's from before would not be confined
        "GGML_NO_BACKTRACE": "1",
    }


class _Local(http.client.HTTPConnection):
    """HTTP over a socket that is a file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TEMPLATE)
        self._path = path

    def connect(self) -> None:
        """Connect to the file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TEMPLATE)
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
