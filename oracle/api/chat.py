"""OpenAI's chat, completions and responses: what a body asks, as a text model's question. Pure.

```
 /v1/chat/completions ─▶ ChatBody ──────┐
 /v1/completions ──────▶ CompletionBody ┼▶ AskedText: question, parameters, how the reply is wanted
 /v1/responses ────────▶ ResponseBody ──┘
```
A field that cannot be followed is refused by its name; fields that ask nothing are passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from oracle.errors import InputInvalid
from oracle.protocol import text
from oracle.protocol.manifest import Manifest
from oracle.protocol.text import QuestionInvalid, TextQuestion

Shape: TypeAlias = Literal["chat", "completion", "response"]
# They say who asks, and how a provider may book or keep it: nothing about the answer
_SAYS_NOTHING = frozenset({
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "parallel_tool_calls", "include_obfuscation",
})  # fmt: skip
_AS_IF_LEFT_OUT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "presence_penalty": (0,), "frequency_penalty": (0,),
    "logit_bias": ({},), "echo": (False,), "suffix": ("",), "modalities": (["text"],),
    "logprobs": (False,), "top_logprobs": (0,), "functions": ([],),
    "background": (False,), "truncation": ("disabled",), "include_usage": (False,),
}  # fmt: skip
_SHOWN = "message.output_text.logprobs"  # of what a response may include
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id")  # of a message


@dataclass(frozen=True, slots=True)
class AskedText:
    """What a body asks, whichever route it came to."""

    shape: Shape
    model: str  # NAME or NAME@VERSION
    question: TextQuestion
    params: Mapping[str, float]  # those that were given
    stream: bool = False
    usage: bool = True  # whether a stream ends with the tokens used


class StreamOptions(BaseModel):
    """What a stream has besides its pieces."""

    include_usage: bool | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=80)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None

    def _asked(self, shape: Shape, most: int | None, asked: Mapping[str, Any]) -> AskedText:
        for name, value in (self.model_extra or {}).items():
            if value is None or name in _SAYS_NOTHING or value in _AS_IF_LEFT_OUT.get(name, ()):
                continue
            raise QuestionInvalid(
                f"`{name}`: {value!r:.60} cannot be followed here", hint="leave it out"
            )
        given = {
            "stop": self.stop, "tools": self.tools or None, "tool_choice": self.tool_choice, **asked
        }  # fmt: skip
        params = {
            "max_tokens": most, "temperature": self.temperature, "top_p": self.top_p,
            "top_k": self.top_k, "seed": self.seed,
        }  # fmt: skip
        return AskedText(
            shape, self.model,
            TextQuestion.parse({name: value for name, value in given.items() if value is not None}),
            {name: value for name, value in params.items() if value is not None},
            bool(self.stream),
            self.stream_options is not None and bool(self.stream_options.include_usage),
        )  # fmt: skip


class ChatBody(_Body):
    """Body of `/v1/chat/completions`."""

    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    def asked(self) -> AskedText:
        """Return what it asks.

        Raises:
            QuestionInvalid: something that cannot be followed, named.
        """
        if self.top_logprobs and not self.logprobs:
            raise QuestionInvalid("`top_logprobs` needs `logprobs`", hint='send "logprobs": true')
        most = self.max_completion_tokens
        if most is not None and self.max_tokens not in (None, most):
            raise QuestionInvalid("`max_tokens` and `max_completion_tokens` differ")
        return self._asked(
            "chat", self.max_tokens if most is None else most,
            {"messages": [_message(one) for one in self.messages],
             "response_format": self.response_format,
             "logprobs": _shown("top_logprobs", self.top_logprobs or 0) if self.logprobs else None},
        )  # fmt: skip


class CompletionBody(_Body):
    """Body of `/v1/completions`: text that is continued."""

    prompt: str | list[str]
    max_tokens: int | None = None
    logprobs: int | None = None

    def asked(self) -> AskedText:
        """Return what it asks. Raises: QuestionInvalid: something that cannot be followed."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(prompts) != 1:
            raise QuestionInvalid(
                f"`prompt` has {len(prompts)} texts; one is answered", hint="ask for each of them"
            )
        shown = None if self.logprobs is None else _shown("logprobs", self.logprobs)
        return self._asked("completion", self.max_tokens, {"prompt": prompts[0], "logprobs": shown})


class ResponseBody(_Body):
    """Body of `/v1/responses`; nothing is kept, so a conversation comes whole each time."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    text: dict[str, Any] | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None

    def asked(self) -> AskedText:
        """Return what it asks. Raises: QuestionInvalid: something that cannot be followed."""
        given = self.input
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages = [] if self.instructions is None else [_system(self.instructions)]
        messages += [_message(one) for one in map(_item, items)]
        tools = [_function(tool) for tool in self.tools or ()]
        told = self.text or {}
        for name, value in told.items():
            if name != "format" and value not in (None, "medium"):
                raise QuestionInvalid(
                    f"`text.{name}`: {value!r:.60} cannot be followed here", hint="leave it out"
                )
        include = self.include or []
        if others := [one for one in include if one != _SHOWN]:
            raise QuestionInvalid(
                f"`include`: {others[0]!r:.60} cannot be followed here", hint=f"`{_SHOWN}` can"
            )
        shown = None
        if include or self.top_logprobs:
            shown = _shown("top_logprobs", self.top_logprobs or 0)
        asked = {
            "messages": messages, "response_format": told.get("format"),
            "logprobs": shown,
        }  # fmt: skip
        return self._asked(
            "response", self.max_output_tokens, {**asked, **({"tools": tools} if tools else {})}
        )


AnyBody: TypeAlias = ChatBody | CompletionBody | ResponseBody


def require_text(manifest: Manifest, asked: AskedText) -> None:
    """Return if a model writes text, and its answer has room for what is asked.

    Raises:
        InputInvalid: it does something else. QuestionInvalid: too many tokens are to be named.
    """
    if manifest.runtime.format != text.FORMAT:
        raise InputInvalid(
            f"the model {manifest.name} does not write text",
            hint="ask one that does; each model's page says what it takes",
        )
    default = {spec.name: spec.real(spec.default) for spec in manifest.parameters}
    tokens = int(asked.params.get("max_tokens", default.get("max_tokens", 0)))
    text.require_room(asked.question, tokens, manifest.max_output_bytes)


def _shown(name: str, count: int) -> int:
    """Return how many of the likeliest tokens are shown. Raises: QuestionInvalid."""
    if not 0 <= count <= text.TOP:
        raise QuestionInvalid(
            f"`{name}`: {count} is not 0 to {text.TOP}",
            hint=f"answers hold the {text.TOP} likeliest tokens",
        )
    return count


# ── Messages ────────────────────────────────────────────────────────────────────────────────────
def _system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def _message(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as a question has it: its content is one text."""
    message = {name: given[name] for name in _KEPT if given.get(name) is not None}
    if message.get("role") == "developer":  # what OpenAI calls the system's role since 2024
        message["role"] = "system"
    if isinstance(content := message.get("content"), list):
        message["content"] = "".join(_parts(content))
    return message


def _parts(content: list[Any]) -> Iterator[str]:
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "input_text", "output_text") or not isinstance(
            part.get("text"), str
        ):
            raise QuestionInvalid(
                f"a message has a part of type {kind!r:.40}", hint="text models take text alone"
            )
        yield part["text"]


def _item(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of a response's input as a message of a chat."""
    kind = given.get("type", "message")
    if kind == "message":
        return dict(given)
    if kind == "function_call":
        function = {"name": given.get("name"), "arguments": given.get("arguments")}
        call = {"id": given.get("call_id"), "type": "function", "function": function}
        return {"role": "assistant", "tool_calls": [call]}
    if kind == "function_call_output":
        output = given.get("output")
        return {"role": "tool", "tool_call_id": given.get("call_id"), "content": output}
    raise QuestionInvalid(
        f"the input has an item of type {kind!r:.40}", hint="messages, and calls of functions"
    )


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function as chats name it: responses have its fields one level higher."""
    if tool.get("type") != "function":
        raise QuestionInvalid(
            f"a tool of type {tool.get('type')!r:.40} cannot be called here", hint="functions can"
        )
    fields = ("name", "description", "parameters")
    return {"type": "function", "function": {n: tool[n] for n in fields if n in tool}}
