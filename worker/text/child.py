"""The process that opens a stranger's weights: lines of JSON on stdin and stdout, confined first.

`python -m worker.text.child '{"model", "folder", "context", "slots", "threads"}'`

| asked | answered |
|---|---|
| `render`: text | `tokens` |
| `serve`: – | a socket in the folder, on which the engine renders chats, once it is there |
| `generate`: prompt, stop, params, shown | a line for each token, the last with `done` |
| `cancel`: job | – |
| `threads`: count | `threads` |
| `piece`: token | `piece`, `ends` |
| `replay`: prompt, tokens, params, slack, named | the fields of `worker.text.engine.Replayed` |
| – | `{"id": 0}` after each pass: a sign of life |

Ends with its stdin. A job's error is a line; anything else ends the process, which is started anew.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from oracle.errors import TallystickError
from worker.importing import confinement
from worker.text.binding import library
from worker.text.drawing import Logits
from worker.text.llama import BATCH, BatchRow, Llama
from worker.text.slots import Slots, Writing

SOCKET = "engine.sock"
OBSERVED = 16  # places of the prompt whose log-probabilities a replay shows
_SERVER: Mapping[str, Any] = {  # it writes nothing: as small as it can be
    "n_ctx": 256, "n_parallel": 1, "n_threads_http": 1, "no_extra_bufts": True, "warmup": False,
    "ui": False, "endpoint_slots": False, "cache_ram_mib": 0,
}  # fmt: skip
# What templates take for today: operator and committee make one prompt on different days
TODAY = "26 Jul 2024"
_CLOCK = f"{{%- macro strftime_now(format) -%}}{TODAY}{{%- endmacro -%}}"
_ALIVE = {"id": 0}
FAR = 1e9  # stands for what no difference of logits explains: JSON has no infinity


class Child:
    """A model, and what is asked of it."""

    def __init__(self, told: dict[str, Any], answers: IO[str]) -> None:
        self._told, self._answers = told, answers
        self._path = Path(told["model"])
        self._model = Llama(
            self._path, context=told["context"], slots=told["slots"] + 1,
            threads=told["threads"],
        )  # fmt: skip
        self._slots = Slots(self._model, told["context"], told["slots"])
        self._asked: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._server: Any = None
        self._speaking, self._serving = threading.Lock(), threading.Lock()

    def run(self, lines: IO[str]) -> None:
        """Answer until the lines end."""
        model = self._model
        told = {"vocabulary": model.size, "trained": model.trained, "longest": model.longest}
        self._say({"id": 0, **told})
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        while True:
            while not (self._slots.busy and self._asked.empty()):
                asked = self._asked.get()
                if asked is None:
                    return
                self._take(asked)
            for event in self._slots.step():
                self._say(event)
            self._say(_ALIVE)

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self._asked.put(json.loads(line))
        self._asked.put(None)

    def _take(self, asked: dict[str, Any]) -> None:
        job, what = asked["id"], asked["do"]
        try:
            if what == "generate":
                self._slots.add(
                    Writing(
                        job, asked["prompt"], tuple(asked["stop"]), asked["params"], asked["shown"]
                    )
                )  # fmt: skip
            elif what == "cancel":
                self._slots.cancel(job)
            elif what == "piece":
                token = asked["token"]
                piece, ends = self._model.piece(token).hex(), self._model.ends(token)
                self._say({"id": job, "piece": piece, "ends": ends})
            elif what == "threads":
                self._model.use_threads(asked["count"])
                self._say({"id": job, "threads": asked["count"]})
            elif what == "render":
                self._say({"id": job, "tokens": self._model.tokenize(asked["text"])})
            elif what == "serve":  # who writes is not held up by it
                threading.Thread(target=self._try_to_serve, args=(job,), daemon=True).start()
            else:
                self._say({"id": job, **self._replay(asked)})
        except TallystickError as error:
            name = type(error).__name__
            self._say({"id": job, "error": name, "message": str(error), "hint": error.hint})

    def _replay(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Run prompt and tokens through the model at once; say how well they go together."""
        prompt, tokens, params = asked["prompt"], asked["tokens"], asked["params"]
        sequence, first = self._told["slots"], len(prompt) - 1
        pieces = [self._model.piece(token).hex() for token in tokens]
        wanted = [[(one, self._model.piece(one).hex()) for one in ids] for ids in asked["named"]]
        named: list[list[tuple[int, str, int]]] = []
        observed: list[list[int]] = []
        logprobs: list[list[int]] = []
        gaps: list[float] = []
        whole = [*prompt, *tokens[:-1]]
        begin = max(0, first - OBSERVED)
        try:
            for start in range(0, len(whole), BATCH):
                part = enumerate(whole[start : start + BATCH], start)
                rows = [BatchRow(token, at, sequence, at >= begin) for at, token in part]
                self._say(_ALIVE)
                for logits in map(Logits, self._model.step(rows)):
                    top, step = logits.top_logprobs().tolist(), len(gaps)
                    if len(observed) < first - begin:
                        observed.append(top)
                    elif step < len(tokens):
                        logprobs.append(top)
                        found = logits.gap(tokens[step], params, step, asked["slack"])
                        gaps.append(min(found, FAR))
                        if step < len(wanted):
                            values = logits.logprobs([one for one, _ in wanted[step]]).tolist()
                            pairs = zip(wanted[step], values, strict=True)
                            named.append([(*one, value) for one, value in pairs])
                    else:
                        observed.append(top)  # of a prompt alone
        finally:
            self._model.forget(sequence)
        ends = [self._model.ends(token) for token in tokens]
        return {
            "logprobs": logprobs, "gaps": gaps, "pieces": pieces, "ends": ends,
            "observed": observed, "named": named,
        }  # fmt: skip

    def _try_to_serve(self, job: int) -> None:
        try:
            self._serve(job)
        except Exception as error:  # whoever asked would wait for ever
            message = f"the model's chats cannot be rendered: {error!s:.300}"
            self._say(
                {"id": job, "error": "InputInvalid", "message": message, "hint": "use a prompt"}
            )

    def _serve(self, job: int) -> None:
        """Start the engine's own server, whose template code renders chats; tell its socket."""
        place = str(Path(self._told["folder"]) / SOCKET)
        with self._serving:
            if self._server is None:
                import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415 - chats alone

                params = xllamacpp.CommonParams()
                params.model.path = str(self._path)
                params.cpuparams.n_threads = 1
                templates = [self._model.template(), self._model.template("tool_use")]
                asks = any("strftime_now" in one for one in templates)
                dated = {"chat_template": _CLOCK + templates[0]} if asks else {}
                for name, value in {**_SERVER, **dated, "hostnames": [place]}.items():
                    setattr(params, name, value)
                self._server = xllamacpp.Server(params)
        self._say({"id": job, "socket": place})

    def _say(self, event: dict[str, Any]) -> None:
        with self._speaking:
            self._answers.write(json.dumps(event) + "\n")
            self._answers.flush()


def main(told: dict[str, Any]) -> int:
    """Serve one model until stdin ends; return the exit code."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever the library prints is no answer
    library()
    model = Path(told["model"])
    most = confinement.MEMORY + 4 * model.stat().st_size  # twice mapped, and packed anew for speed
    confinement.confine(Path(told["folder"]), [model], serves=True, memory=most)
    try:
        Child(told, answers).run(sys.stdin)
    except TallystickError as error:
        failure = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
        answers.write(json.dumps({"id": 0, **failure}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
