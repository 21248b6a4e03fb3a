"""A text model in memory: it says again what was asked, word by word, and can be held up or die."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oracle.protocol import text
from oracle.protocol.logprobs import LikelyToken, ShownStep
from oracle.protocol.text import TextQuestion
from worker.errors import EngineDied
from worker.runtimes.gguf import TextModel
from worker.text.engine import Step, TextEngine

CONTEXT = 4096
LOGPROBS = (-100, *[-2000 - n for n in range(text.TOP - 1)])
NAME = "parrot"


def shown_step(token: int, piece: bytes, count: int) -> ShownStep:
    """A token that is the likeliest; the others at its place are called b"x1", b"x2" …"""
    others = [LikelyToken(100 + n, b"x%d" % n, LOGPROBS[n]) for n in range(1, text.TOP)]
    written = LikelyToken(token, piece, LOGPROBS[0])
    return ShownStep(written, (written, *others)[:count])


class Parrot(TextEngine):
    """Token ids are characters of the prompt and words of the answer."""

    def __init__(self) -> None:
        self.gate, self.dies_after, self.begun, self.closed = threading.Event(), -1, 0, 0
        self.held_after = -1  # pieces until it waits for the gate
        self.says = ""  # instead of the question
        self.gate.set()

    def load(self, *_: Any) -> TextModel:
        return TextModel(self, CONTEXT, 8, 1)

    def prompt(self, question: TextQuestion) -> list[int]:
        asked = question.prompt
        if asked is None:
            asked = "\n".join(f"{m['role']}: {m['content']}" for m in question.messages)
        return [ord(character) for character in asked]

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float],
        shown: int | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        self.begun += 1
        last = "".join(map(chr, prompt)).rpartition(": ")[2]
        words = (self.says or f"{last} [{params['seed']}]").replace(" ", "\0 ").split("\0")
        done = b""
        try:
            for place, word in enumerate([*words, ""][: int(params["max_tokens"])]):
                if place == self.held_after:
                    self.gate.wait(60)
                if place == self.dies_after:
                    raise EngineDied("the engine died in the middle", hint="ask again")
                done += word.encode()
                named = None if shown is None else shown_step(place, word.encode(), shown)
                yield Step(place, word.encode(), LOGPROBS, word == "", named)
                if text.stopped_at(done, stop) is not None:
                    return
        finally:
            self.closed += 1

    def close(self) -> None: ...


def write_parrot(folder: Path, **changes: Any) -> Path:
    """A folder that is published like a text model's; only `Parrot.load` loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.gguf").write_bytes(b"GGUF of a parrot")
    specs = {"inputs": text.INPUTS, "outputs": text.OUTPUTS}
    described = {
        "name": NAME, "runtime": {"format": text.FORMAT, "entry": "model.gguf"},
        **{name: [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in given]
           for name, given in specs.items()},
        "parameters": [asdict(spec) for spec in text.PARAMETERS], "tolerance": 300_000_000,
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps({**described, **changes}))
    return folder
