"""Runs text models (GGUF) with llama.cpp: questions in, answers with their commitment out.

The engine writes several texts at once, so rows are never joined: whoever has several questions
calls `write` from as many threads.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from oracle.errors import ConfigInvalid, PermanentError
from oracle.protocol import text
from oracle.protocol.logprobs import ShownStep
from oracle.protocol.manifest import MAX_OUTPUT_BYTES, Manifest
from oracle.protocol.shapes import TensorSpec
from oracle.protocol.text import AnswerInvalid, QuestionInvalid, TextAnswer, TextQuestion
from worker.errors import ModelUnsupported
from worker.runtimes.base import Array, Files, Params
from worker.text import by_url, header
from worker.text.by_url import UrlEngine
from worker.text.engine import LlamaEngine, PromptTooLong, Replayed, Step, TextEngine

THREADS = "TALLYSTICK_TEXT_THREADS"  # of the engine; the cores of this process by default
SLOTS = "TALLYSTICK_TEXT_SLOTS"  # texts at once
_CONTEXT, _SLOTS = 4096, 8
MAX_CONTEXT = 2**20

Heard = Callable[[str], object]  # a piece of text, as soon as it is sure


class WritingStopped(PermanentError):
    """Nobody waits for the answer any more."""


class TextModel:
    """A text model that is ready. Safe for threads."""

    def __init__(
        self, engine: TextEngine, context: int, slots: int, nbytes: int,
        room: int = MAX_OUTPUT_BYTES,
    ) -> None:  # fmt: skip
        """Take an engine. `room`: bytes of an answer at the most."""
        self.engine, self.context, self.nbytes = engine, context, nbytes
        self.slots, self._room = slots, room
        self._writers = ThreadPoolExecutor(slots, "text")

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one question (see `base.Runtime`). Errors as `write`."""
        return self.write(inputs, params)

    def run_all(
        self,
        inputs: Sequence[Mapping[str, Array]],
        params: Sequence[Params],
        heard: Sequence[Heard] | None = None,
    ) -> list[dict[str, Array] | Exception]:
        """Answer questions at once; one that fails spoils no other."""
        heard = heard or [lambda _piece: None] * len(inputs)

        def answer(one: tuple[Mapping[str, Array], Params, Heard]) -> dict[str, Array] | Exception:
            try:
                return self.write(*one)
            except Exception as error:  # whose it is, the caller tells
                return error

        return list(self._writers.map(answer, zip(inputs, params, heard, strict=True)))

    def write(
        self,
        inputs: Mapping[str, Array],
        params: Params,
        heard: Heard = lambda _piece: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Array]:
        """Answer one question.

        Args:
            heard: is told each piece of the text; together they are its content. An empty one comes
                first, and says that the prompt fits.
            stopped: whether nobody waits any more.

        Raises:
            QuestionInvalid: it is no question, or its answer has no room for what it asks for.
            PromptTooLong: it is above the context.
            EngineDied: it can be asked again. WritingStopped.
        """
        question = text.decode_question(inputs)
        text.require_room(question, int(params["max_tokens"]), self._room)
        prompt = self.prompt(question)
        heard("")
        steps: list[Step] = []
        told = b""
        asked = (prompt, question.stop, params, question.logprobs)
        with closing(self.engine.generate(*asked)) as written:  # type: ignore[type-var]  # a generator, which closing stops
            for step in written:
                steps.append(step)
                told = _tell(steps, told, question, heard)
                if stopped():
                    raise WritingStopped("nobody waits for the rest of the text")
        content, reason, calls = text.finish(
            [step.piece for step in steps], question, ended=steps[-1].ends
        )
        if rest := content[len(told.decode()) :]:
            heard(rest)
        return text.encode_answer(
            TextAnswer(
                content, reason, len(prompt), tuple(step.token for step in steps),
                np.array([step.logprobs for step in steps], np.int16), calls,
                tuple(step.shown for step in steps if step.shown is not None),
            )
        )  # fmt: skip

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt.

        Raises:
            QuestionInvalid: it has none. PromptTooLong: nothing could be written after it.
        """
        prompt = self.engine.prompt(question)
        if not prompt:
            raise QuestionInvalid("the prompt has no tokens", hint="ask with another text")
        if len(prompt) >= self.context:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens, the model's context holds {self.context}",
                hint="ask with fewer or shorter messages: nothing is cut here",
            )
        return prompt

    def replay(
        self, question: TextQuestion, tokens: Sequence[int], params: Params, slack: float,
        shown: Sequence[ShownStep] = (),
    ) -> tuple[int, Replayed]:  # fmt: skip
        """Return the prompt's tokens, and what the model says of somebody's tokens after it.

        Args:
            shown: what somebody says of each token's place.

        Raises:
            ModelUnsupported: the engine is another machine's.
            AnswerInvalid: the context has no room for so many tokens.
        """
        if not isinstance(self.engine, LlamaEngine | UrlEngine):
            raise ModelUnsupported("this engine replays nothing")
        prompt = self.prompt(question)
        if len(prompt) + len(tokens) > self.context:  # the engine would fail, which is tried again
            raise AnswerInvalid(f"{len(tokens)} tokens do not fit into the context")
        named = [[one.token for one in step.all] for step in shown]
        return len(prompt), self.engine.replay(prompt, tokens, params, slack, named)

    def close(self) -> None:
        """End the engine."""
        self._writers.shutdown(wait=False)
        self.engine.close()


def load(manifest: Manifest, files: Files, device: str) -> TextModel:
    """Load the entry file into an engine of its own.

    Raises:
        WeightsInvalid: not a GGUF file, or llama.cpp refuses it.
        ModelUnsupported: inputs, outputs or parameters are not those of a text model.
        EngineMissing: the package is not installed. ConfigInvalid: the engine's URL is none.
    """
    del device  # the wheel computes on processors; GPUs are an engine by URL
    url = os.environ.get(by_url.SETTING, "")
    path = files[manifest.runtime.entry]
    found = header.read(path)
    context = require(manifest)
    slots, threads = _number(SLOTS, _SLOTS), _number(THREADS, _cores())
    own = LlamaEngine(path, context=context, slots=slots, threads=threads)
    try:
        engine = UrlEngine(url, manifest.name, own) if url else own
    except ConfigInvalid:
        own.close()
        raise
    return TextModel(engine, context, slots, found.size, manifest.max_output_bytes)


def require(manifest: Manifest) -> int:
    """Return the context of a text model that its manifest describes as one.

    Raises:
        ModelUnsupported: it does not.
    """
    given = (manifest.inputs, manifest.outputs)
    names = [[(s.name, s.dtype, s.shape) for s in specs] for specs in given]
    wanted = [[(s.name, s.dtype, s.shape) for s in specs] for specs in (text.INPUTS, text.OUTPUTS)]
    if names != wanted:
        raise ModelUnsupported(
            "a text model takes `question` and gives `answer`, `tokens`, `logprobs`",
            hint=f"`tallystick model init {manifest.runtime.entry}` writes them",
        )
    lanes = {spec.name: spec for spec in manifest.parameters}
    for spec in text.PARAMETERS:
        given_spec = lanes.get(spec.name)
        if (
            given_spec is None
            or (given_spec.scale, given_spec.offset) != (spec.scale, spec.offset)
            or not spec.minimum <= given_spec.minimum <= given_spec.maximum <= spec.maximum
        ):
            raise ModelUnsupported(
                f"a text model has a parameter {spec.name} of scale {spec.scale}, "
                f"{spec.minimum} to {spec.maximum} at the most",
                hint=f"`tallystick model init {manifest.runtime.entry}` writes it",
            )
    context = manifest.runtime.options.get("context", _CONTEXT)
    if type(context) is not int or not 8 <= context <= MAX_CONTEXT:
        raise ModelUnsupported(f"runtime.options.context {context!r} is not 8 to {MAX_CONTEXT}")
    return context


def described(path: Path) -> dict[str, object]:
    """Return what a file says of itself, in the words of `model.json`.

    Raises:
        WeightsInvalid: it is not a GGUF file.
    """
    found = header.read(path)
    context = min(found.context or _CONTEXT, _CONTEXT)
    name = found.text("general.name") or found.text("general.basename")
    return {
        "description": " ".join(filter(None, [name, found.text("general.size_label")])),
        "license": found.text("general.license"),
        "runtime": {"format": text.FORMAT, "entry": path.name, "options": {"context": context}},
        "inputs": [_words(spec) for spec in text.INPUTS],
        "outputs": [_words(spec) for spec in text.OUTPUTS],
        "parameters": [asdict(spec) for spec in text.PARAMETERS],
    }


def _words(spec: TensorSpec) -> dict[str, object]:
    return {
        "name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape),
        "description": spec.description,
    }  # fmt: skip


def _tell(steps: Sequence[Step], told: bytes, question: TextQuestion, heard: Heard) -> bytes:
    """Tell what is sure to stay; return all that was told, whole characters."""
    written = b"".join(step.piece for step in steps)
    if text.stopped_at(written, question.stop) is not None:
        return told
    sure = written[: len(written) - text.withheld(written, question.stop)]
    piece = sure[len(told) :].decode("utf-8", "replace")
    if not piece or "\ufffd" in piece:  # the end tells what is no text
        return told
    heard(piece)
    return sure


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, "0")
    if not given.isdecimal():
        raise ConfigInvalid(f"{name}={given!r} is no number")
    return int(given) or default


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
