"""Text by an engine that the operator runs: vLLM, llama.cpp's server, any that tells token ids.

```
 ids ─POST /v1/completions─▶ likeliest tokens with ids and log-probabilities ─draw here─▶ token ─┐
  └───────────────────────────────────────────────────────────────────────────────── appended ◀──┘
```
An engine draws with numbers of its own, which nobody can repeat. So it is asked at temperature 0
always, and the draw is ours: one step each, of the `top_k` likeliest. At temperature 0 the draw is
the likeliest token, and `CHUNK` steps come at once. The prompt, the bytes of tokens, and replays
are those of the own llama.cpp. Only the operator's settings name a URL.
Source: https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html (Completions API, extra
parameters `return_tokens_as_token_ids`); llama.cpp, tools/server/README.md (`/v1/completions`).
"""

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from oracle.errors import ConfigInvalid
from oracle.protocol import text
from oracle.protocol.logprobs import LikelyToken, ShownStep
from oracle.protocol.text import TOP, TextQuestion
from worker.errors import EngineDied, EngineUnfit
from worker.text.drawing import Logits
from worker.text.engine import LlamaEngine, Replayed, Step, TextEngine

SETTING = "TALLYSTICK_TEXT_ENGINE"
CHUNK = 16  # steps of one answer at temperature 0
_SECONDS = 120.0  # of one answer
_BYTES = 2**23  # of one answer: 1,000 log-probabilities have a hundredth of that
_ID = re.compile(r"token_id:([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class _Row:
    """The likeliest tokens of a step, with their log-probabilities (nat)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    chosen: int  # by the engine; what comes after holds for this one


class UrlEngine(TextEngine):
    """An OpenAI-compatible server that writes, beside the own engine that reads."""

    def __init__(self, url: str, name: str, own: LlamaEngine) -> None:
        """Take a URL as the operator's settings name it; nothing is asked yet.

        Args:
            name: of the model at the server; it must be served under the version's name.
            own: renders prompts, knows the bytes of tokens, and replays.

        Raises:
            ConfigInvalid: it is no URL of a server.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigInvalid(f"{SETTING}={url!r:.80} is no URL", hint="http://127.0.0.1:8000")
        self._secure, self._place = parts.scheme == "https", parts.netloc
        self._path = parts.path.rstrip("/").removesuffix("/v1") + "/v1"
        self._name, self.own = name, own

    def prompt(self, question: TextQuestion) -> list[int]:
        """Return the ids of a question's prompt. See `TextEngine`."""
        return self.own.prompt(question)

    def generate(
        self, prompt: Sequence[int], stop: Sequence[str], params: Mapping[str, float],
        shown: int | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        """Yield tokens as they are drawn. See `TextEngine`.

        Raises:
            EngineUnfit: the engine does not tell what the draw needs.
        """
        ids, written, count = list(prompt), b"", 0
        room = min(int(params["max_tokens"]), self.own.context - len(prompt))
        top_k = int(params["top_k"]) if params["temperature"] else 1
        if not top_k:
            raise EngineUnfit(
                "top_k 0 draws from all tokens, and an engine by URL tells a few of them",
                hint="ask with top_k 1 to 1,000, or at temperature 0",
            )
        while count < room:
            steps = 1 if params["temperature"] else min(CHUNK, room - count)
            for row in self._rows(ids, steps, max(TOP, top_k)):
                token = _draw(row, params, count, self.own.vocabulary)
                piece, ends = self.own.piece(token)
                ids.append(token)
                written, count = written + piece, count + 1
                named = None if shown is None else self._shown(row, token, shown)
                yield Step(token, piece, _top(row), ends, named)
                if ends or count == room or text.stopped_at(written, stop) is not None:
                    return
                if token != row.chosen:
                    break

    def replay(
        self,
        prompt: Sequence[int],
        tokens: Sequence[int],
        params: Mapping[str, float],
        slack: float,
        named: Sequence[Sequence[int]] = (),
    ) -> Replayed:
        """Run prompt and tokens through the own engine. See `LlamaEngine.replay`."""
        return self.own.replay(prompt, tokens, params, slack, named)

    def close(self) -> None:
        """End the own engine; the server is the operator's."""
        self.own.close()

    def _shown(self, row: _Row, token: int, shown: int) -> ShownStep:
        ids, said = (token, *row.ids[:shown]), dict(zip(row.ids, row.logprobs, strict=True))
        values = text.quantise(np.array([said[one] for one in ids], np.float64)).tolist()
        written, *top = (
            LikelyToken(one, self.own.piece(one)[0], value)
            for one, value in zip(ids, values, strict=True)
        )
        return ShownStep(written, tuple(top))

    def _rows(self, ids: Sequence[int], steps: int, wanted: int) -> list[_Row]:
        """Return what the engine says of the next steps, one at the least."""
        said = self._post({
            "model": self._name, "prompt": list(ids), "max_tokens": steps, "temperature": 0,
            "logprobs": wanted, "return_tokens_as_token_ids": True, "stream": False,
        })  # fmt: skip
        try:
            rows = _parse(said["choices"][0]["logprobs"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineUnfit(
                f"the engine tells no ids of tokens with log-probabilities: {error!r:.100}",
                hint="vLLM and llama.cpp's server do",
            ) from error
        if not rows or any(len(row.ids) < min(wanted, self.own.vocabulary) for row in rows):
            raise EngineUnfit(f"the engine tells fewer than {wanted} tokens", hint=_MORE)
        return rows[:steps]

    def _post(self, body: Mapping[str, Any]) -> Any:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._place, timeout=_SECONDS)
        until = time.monotonic() + _SECONDS
        try:
            connection.request(
                "POST", f"{self._path}/completions", json.dumps(body),
                {"content-type": "application/json"},
            )  # fmt: skip
            reply = connection.getresponse()
            data = b""
            while part := reply.read1(2**16):
                data += part
                if len(data) > _BYTES or time.monotonic() > until:
                    raise EngineUnfit(
                        f"the engine's answer is above {_BYTES} bytes or {_SECONDS} s"
                    )
            if reply.length:  # bytes that never came
                raise http.client.IncompleteRead(data, reply.length)
            busy = reply.status == http.HTTPStatus.TOO_MANY_REQUESTS
            if 400 <= reply.status < 500 and not busy:
                raise EngineUnfit(
                    f"the engine says {reply.status}: {data.decode(errors='replace'):.300}",
                    hint=_MORE,
                )
            if reply.status != http.HTTPStatus.OK:
                raise EngineDied(f"the engine says {reply.status}", hint="ask again")
            return json.loads(data)
        except (OSError, http.client.HTTPException) as error:
            raise EngineDied(f"no engine at {self._place}: {error!r}", hint="ask again") from error
        except (ValueError, RecursionError) as error:
            raise EngineUnfit(f"the engine's answer is not JSON: {error}") from error
        finally:
            connection.close()


_MORE = "serve the model under the version's name; vLLM needs `--max-logprobs 1000`"


def _parse(said: Any) -> list[_Row]:
    """Read log-probabilities in llama.cpp's form, or in vLLM's.

    Raises:
        LookupError, TypeError, ValueError: they are in neither.
    """
    if "content" in said:  # [{"id", "top_logprobs": [{"id", "logprob"}]}]
        steps = said["content"]
        chosen = [step["id"] for step in steps]
        tops = [[(one["id"], one["logprob"]) for one in step["top_logprobs"]] for step in steps]
    else:  # "tokens": ["token_id:7"], "top_logprobs": [{"token_id:7": -0.1}]
        chosen = [_id(name) for name in said["tokens"]]
        tops = [[(_id(name), value) for name, value in step.items()]
                for step in said["top_logprobs"]]  # fmt: skip
    rows = []
    for token, top in zip(chosen, tops, strict=True):
        top.sort(key=lambda one: (-one[1], one[0]))
        ids, logprobs = zip(*top, strict=True)
        rows.append(_Row(tuple(map(int, ids)), tuple(map(float, logprobs)), int(token)))
    return rows


def _id(name: str) -> int:
    found = _ID.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r:.40} is no id")
    return int(found[1])


def _draw(row: _Row, params: Mapping[str, float], step: int, vocabulary: int) -> int:
    """Draw from what is known: with as many as `top_k`, it is the draw from all logits."""
    if not 0 <= min(row.ids) <= max(row.ids) < vocabulary:
        raise EngineUnfit("the engine tells a token that the model does not have")
    logits = np.full(vocabulary, -np.inf, np.float32)
    logits[list(row.ids)] = row.logprobs
    return Logits(logits).draw(params, step)


def _top(row: _Row) -> tuple[int, ...]:
    return tuple(text.quantise(np.array(row.logprobs[:TOP], np.float64)).tolist())
