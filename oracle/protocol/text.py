"""Questions to text models and their answers, as the bytes that a request and a delivery are of.

```
 question  U8 [n]    canonical JSON {"messages": […]} or {"prompt": "…"}, and what goes with it
 answer    U8 [n]    canonical JSON {"content", "finish_reason", "prompt_tokens", "tool_calls"?,
                     "shown"?: see `protocol.logprobs`}
 tokens    I32 [n]   the ids that were written, the one that ended it included
 logprobs  I16 [n,8] of each step the eight largest log-probabilities, in 1/1024 nat, sorted
```
Whoever asks needs no tokenizer: operator and committee make the prompt of the model's own template.
The 8 × 2 bytes of a token commit the operator to the model that wrote it (docs/text.md).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from oracle.errors import InputInvalid
from oracle.protocol import canonical
from oracle.protocol import logprobs as names
from oracle.protocol.logprobs import ShownStep
from oracle.protocol.params import ParameterSpec
from oracle.protocol.shapes import TensorSpec
from oracle.protocol.tensor import Array

FORMAT = "gguf"
TOP = 8  # log-probabilities of a step
UNIT = 1024  # steps of a nat
LEAST = -(2**15)  # what stands for anything below -32 nat
MAX_MESSAGES = 4096
MAX_STOPS = 16
MAX_STOP = 256  # characters
MAX_TOOLS = 128
MAX_TOOLS_BYTES = 2**16  # of canonical JSON: engines take time with the square of their properties
MAX_DEPTH = 64  # of objects and lists in each other: how deep a parser goes is its interpreter's
MAX_DIGITS = 64  # of a whole number that a text calls a tool with, for the same reason
MAX_TOKENS = 1024  # of an answer, unless its manifest says less
_ROLES = ("system", "developer", "user", "assistant", "tool")
_FIELDS = frozenset({
    "messages", "prompt", "stop", "tools", "tool_choice", "response_format", "logprobs",
})  # fmt: skip
_CALL, _CALLED = "<tool_call>", "</tool_call>"

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]

INPUTS = (TensorSpec("question", "U8", (None,), "canonical JSON: messages or a prompt"),)
OUTPUTS = (
    TensorSpec("answer", "U8", (None,), "canonical JSON: content, finish_reason, prompt_tokens"),
    TensorSpec("tokens", "I32", (None,), "ids that were written"),
    TensorSpec("logprobs", "I16", (None, TOP), "largest log-probabilities, 1/1024 nat"),
)
PARAMETERS = (
    ParameterSpec(
        lane=0, name="max_tokens", minimum=1, maximum=MAX_TOKENS, default=128,
        description="tokens of the answer at the most",
    ),
    ParameterSpec(
        lane=1, name="temperature", minimum=0, maximum=2000, default=800, scale=1000,
        description="0: always the likeliest token",
    ),
    ParameterSpec(
        lane=2, name="top_p", minimum=1, maximum=1000, default=950, scale=1000,
        description="share of probability that is drawn from",
    ),
    ParameterSpec(
        lane=3, name="seed", minimum=0, maximum=2**32 - 1, default=0,
        description="the same seed draws the same numbers",
    ),
    ParameterSpec(
        lane=4, name="top_k", minimum=0, maximum=1000, default=40,
        description="likeliest tokens that are drawn from; 0: all",
    ),
)  # fmt: skip


class QuestionInvalid(InputInvalid):
    """The question is not one that a text model can be asked."""


class AnswerInvalid(InputInvalid):
    """The parts of an answer are malformed, or contradict each other."""


@dataclass(frozen=True, slots=True)
class TextQuestion:
    """What a text model is asked: a chat, or text that it continues."""

    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    logprobs: int | None = None  # how many the asker wants to see of each token

    @classmethod
    def parse(cls, body: Any) -> "TextQuestion":
        """Read a question from a JSON value.

        Raises:
            QuestionInvalid: a field is unknown, missing, or of the wrong kind or size.
        """
        if not isinstance(body, dict):
            raise QuestionInvalid("a question is a JSON object", hint=_EXAMPLE)
        if unknown := sorted(body.keys() - _FIELDS):
            raise QuestionInvalid(
                f"question: unknown field {unknown[0]}", hint="known: " + ", ".join(sorted(_FIELDS))
            )
        if ("messages" in body) == ("prompt" in body):
            raise QuestionInvalid("a question has messages or a prompt, one of them", hint=_EXAMPLE)
        prompt = body.get("prompt")
        if "prompt" in body and (not isinstance(prompt, str) or not prompt):
            raise QuestionInvalid("question: prompt is no text", hint=_EXAMPLE)
        logprobs = body.get("logprobs")
        if logprobs is not None and (type(logprobs) is not int or not 0 <= logprobs <= TOP):
            raise QuestionInvalid(f"question: logprobs is not 0 to {TOP}")
        return cls(
            prompt, _messages(body.get("messages", ())), _stops(body.get("stop", ())),
            _tools(body.get("tools", ())), _choice(body.get("tool_choice")),
            _response_format(body.get("response_format")), logprobs,
        )  # fmt: skip

    @property
    def offered(self) -> tuple[Mapping[str, Any], ...]:
        """Return the tools that an answer may call: with `tool_choice` "none" there are none."""
        return () if self.tool_choice == "none" else self.tools

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; what was not given is left out."""
        whole = {
            "messages": [dict(message) for message in self.messages], "prompt": self.prompt,
            "stop": list(self.stop), "tools": [dict(tool) for tool in self.tools],
            "tool_choice": self.tool_choice, "logprobs": self.logprobs,
            "response_format": None if self.response_format is None else dict(self.response_format),
        }  # fmt: skip
        return {name: value for name, value in whole.items() if value not in (None, [])}


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What a text model wrote.

    Attributes:
        content: the text, without the stop string that ended it.
        prompt_tokens: tokens of the rendered prompt.
        tokens: ids that were written, the one that ended it included.
        logprobs: int16 of shape [len(tokens), 8].
        tool_calls: names and arguments that the text asks for.
        shown: of each token, where the question asks for `logprobs`.
    """

    content: str
    finish_reason: FinishReason
    prompt_tokens: int
    tokens: tuple[int, ...]
    logprobs: Array
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    shown: tuple[ShownStep, ...] = ()

    @property
    def head(self) -> dict[str, Any]:
        """Return what stands in the tensor `answer`."""
        body: dict[str, Any] = {
            "content": self.content,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
        }
        if self.tool_calls:
            body["tool_calls"] = list(self.tool_calls)
        if self.shown:
            body["shown"] = names.encode(self.shown)
        return body


_EXAMPLE = 'as {"messages": [{"role": "user", "content": "Hello"}]} or {"prompt": "Once upon"}'


def encode_question(question: TextQuestion) -> dict[str, Array]:
    """Return the model's one input. Raises: QuestionInvalid: no JSON, too deep, too many tools."""
    TextQuestion.parse(question.to_json())
    data = _bytes(question.to_json())
    _require_flat(data.tobytes())
    _require_few_tools(question)
    return {"question": data}


def decode_question(inputs: Mapping[str, Array]) -> TextQuestion:
    """Read a question from the model's input.

    Raises:
        QuestionInvalid: not UTF-8, not canonical JSON, nested too deep, too many tools, or no
            question.
    """
    data = np.asarray(inputs["question"], np.uint8).tobytes()
    _require_flat(data)
    try:
        body = canonical.loads(data)
    except InputInvalid as error:
        raise QuestionInvalid(f"question: {error}", hint=error.hint) from error
    question = TextQuestion.parse(body)
    _require_few_tools(question)
    return question


def encode_answer(answer: TextAnswer) -> dict[str, Array]:
    """Return the model's outputs."""
    return {
        "answer": _bytes(answer.head),
        "tokens": np.array(answer.tokens, np.int32),
        "logprobs": np.asarray(answer.logprobs, np.int16).reshape(-1, TOP),
    }


def decode_answer(outputs: Mapping[str, Array]) -> TextAnswer:
    """Read an answer from the model's outputs.

    Raises:
        AnswerInvalid: malformed, without tokens or with more than any answer has, or as many
            log-probabilities as there are tokens are not there.
    """
    try:
        body = canonical.loads(np.asarray(outputs["answer"], np.uint8).tobytes())
    except InputInvalid as error:
        raise AnswerInvalid(f"answer: {error}", hint=error.hint) from error
    tokens, logprobs = outputs["tokens"], outputs["logprobs"]
    if len(tokens) != len(logprobs):
        raise AnswerInvalid(f"{len(tokens)} tokens have {len(logprobs)} rows of log-probabilities")
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise AnswerInvalid(f"{len(tokens)} tokens, an answer has 1 to {MAX_TOKENS}")
    if (logprobs > 0).any() or (np.diff(logprobs.astype(np.int32), axis=1) > 0).any():
        raise AnswerInvalid("log-probabilities are above zero, or not sorted")
    wanted = {"content": str, "finish_reason": str, "prompt_tokens": int}
    fields = set(body) - {"tool_calls", "shown"} if isinstance(body, dict) else set()
    if fields != set(wanted) or any(type(body[n]) is not kind for n, kind in wanted.items()):
        raise AnswerInvalid(f"the answer has not the fields {', '.join(wanted)}")
    calls, reason = body.get("tool_calls", []), body["finish_reason"]
    if reason not in ("stop", "length", "tool_calls") or not isinstance(calls, list):
        raise AnswerInvalid(f"finish_reason is {reason!r:.40}, not stop, length or tool_calls")
    for call in calls:
        if not isinstance(call, dict) or not all(
            isinstance(call.get(name), str) for name in ("name", "arguments")
        ):
            raise AnswerInvalid("a call of a tool has not a name and arguments, both texts")
    written = tuple(map(int, tokens))
    try:
        shown = names.decode(body["shown"], written, logprobs) if "shown" in body else ()
    except (LookupError, TypeError, ValueError) as error:
        raise AnswerInvalid(f"the answer does not show its tokens: {error!s:.200}") from error
    return TextAnswer(
        body["content"], cast(FinishReason, reason), body["prompt_tokens"], written, logprobs,
        tuple(calls), shown,
    )  # fmt: skip


def require_room(question: TextQuestion, max_tokens: int, max_output_bytes: int) -> None:
    """Return if an answer has room for the log-probabilities that its question asks for.

    Raises:
        QuestionInvalid: not of so many tokens.
    """
    if question.logprobs is None:
        return
    most = max_output_bytes // names.size(1, question.logprobs)
    if max_tokens > most:
        raise QuestionInvalid(
            f"an answer has room for the log-probabilities of {most} tokens, not of {max_tokens}",
            hint="ask for fewer tokens, or for fewer of the likeliest (`top_logprobs`)",
        )


def quantise(logprobs: Array) -> Array:
    """Return log-probabilities (nat, sorted) as int16 in 1/1024 nat."""
    steps: Array = np.clip(np.rint(logprobs * UNIT), LEAST, 0).astype(np.int16)
    return steps


def finish(
    pieces: Sequence[bytes], question: TextQuestion, *, ended: bool
) -> tuple[str, FinishReason, tuple[Mapping[str, Any], ...]]:
    """Return content, reason and calls of a text: one rule for who answers and who judges.

    Args:
        pieces: bytes of each token, those of the one that ends a text being empty.
        ended: whether the last token ends a text.
    """
    text = b"".join(pieces)
    cut = stopped_at(text, question.stop)
    reason: FinishReason = "stop" if ended or cut is not None else "length"
    content = (text if cut is None else text[:cut]).decode("utf-8", "replace")
    calls = tool_calls(content) if question.offered else ()
    return content, "tool_calls" if calls else reason, calls


def stopped_at(text: bytes, stops: Sequence[str]) -> int | None:
    """Return where the first stop string begins; None = there is none."""
    found = [at for stop in stops if (at := text.find(stop.encode())) >= 0]
    return min(found, default=None)


def withheld(text: bytes, stops: Sequence[str]) -> int:
    """Return how many last bytes may belong to a stop string or to an unfinished character."""
    longest = 0
    for stop in map(str.encode, stops):
        longest = max(longest, *(n for n in range(len(stop)) if n == 0 or text.endswith(stop[:n])))
    for back in range(1, min(4, len(text) + 1)):  # a character has four bytes at the most
        byte = text[-back]
        if byte >> 6 == 0b11:  # it begins one
            needs = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return max(longest, back if back < needs else 0)
        if byte >> 7 == 0:
            break
    return longest


def tool_calls(content: str) -> tuple[Mapping[str, Any], ...]:
    """Return the calls that a text asks for: `<tool_call>{"name", "arguments"}</tool_call>`, or
    a text that is one such object. Others stay text, and so does what is nested too deep: one rule
    on any interpreter, as it decides votes.
    """
    found = []
    for part in content.split(_CALL)[1:] or [content + _CALLED]:
        text = part.lstrip()
        if not _flat(text.encode()):
            continue
        try:
            body, end = json.JSONDecoder(parse_int=_whole).raw_decode(text)
            name, arguments = body["name"], body.get("arguments", body.get("parameters"))
            name.encode()  # half a surrogate is no text
            written = json.dumps(arguments, allow_nan=False)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if isinstance(arguments, dict) and text[end:].lstrip().startswith(_CALLED):
            found.append({"name": name, "arguments": written})
    return tuple(found)


def _flat(data: bytes) -> bool:
    """Whether the JSON value that a text begins with is nested no deeper than is allowed."""
    depth = 0
    for found in _BRACKETS.finditer(data):
        if found[0] in b"[{":
            depth += 1
        elif found[0] in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            return False
        if depth <= 0:
            break  # whatever follows the value is another
    return True


def _require_flat(data: bytes) -> None:
    if not _flat(data):
        raise QuestionInvalid(
            f"question: nested deeper than {MAX_DEPTH}", hint="ask with a flatter object"
        )


def _require_few_tools(question: TextQuestion) -> None:
    size = len(canonical.dumps(list(question.tools)))
    if size > MAX_TOOLS_BYTES:
        raise QuestionInvalid(
            f"question: its tools have {size} bytes, above {MAX_TOOLS_BYTES}",
            hint="offer fewer tools, or with fewer parameters",
        )


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{\]}]', re.DOTALL)


def _bytes(body: Any) -> Array:
    return np.frombuffer(canonical.dumps(body), np.uint8)


def _messages(given: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(given, list | tuple) or len(given) > MAX_MESSAGES:
        raise QuestionInvalid(f"question: messages is no list of at most {MAX_MESSAGES}")
    if isinstance(given, list) and not given:
        raise QuestionInvalid("question: there are no messages", hint=_EXAMPLE)
    for place, message in enumerate(given):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise QuestionInvalid(
                f"question: message {place} has no role", hint="roles: " + ", ".join(_ROLES)
            )
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise QuestionInvalid(
                f"question: the content of message {place} is no text",
                hint="this model takes text alone",
            )
    return tuple(given)


def _stops(given: Any) -> tuple[str, ...]:
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list | tuple) or len(given) > MAX_STOPS:
        raise QuestionInvalid(f"question: stop is no list of at most {MAX_STOPS} texts")
    if not all(isinstance(stop, str) and 1 <= len(stop) <= MAX_STOP for stop in given):
        raise QuestionInvalid(f"question: a stop string has 1 to {MAX_STOP} characters")
    return tuple(given)


def _tools(given: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(given, list | tuple) or len(given) > MAX_TOOLS:
        raise QuestionInvalid(f"question: tools is no list of at most {MAX_TOOLS}")
    for tool in given:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise QuestionInvalid("question: a tool names no function")
    return tuple(given)


def _choice(given: Any) -> Any:
    if given not in (None, "auto", "none"):
        raise QuestionInvalid(
            f"question: `tool_choice` {given!r:.60} cannot be held to: no answer is forced to call",
            hint='use "auto", ask for the call in a message, and look whether `tool_calls` has it',
        )
    return given


def _response_format(given: Any) -> Mapping[str, Any] | None:
    if given is None or (isinstance(given, dict) and given.get("type") == "text"):
        return cast("Mapping[str, Any] | None", given)
    raise QuestionInvalid(
        f"question: `response_format` {given!r:.60} cannot be held to: no form is forced",
        hint='use {"type": "text"}, ask for JSON in a message, and check what comes',
    )
