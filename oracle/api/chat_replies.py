"""Answers of text models as OpenAI's chats and completions, whole and as events. Pure.

```
 chunk · chunk … · chunk with finish_reason · usage? · [DONE]
```
Pieces are shown while they are written; all else is said when the delivered answer is here, also
log-probabilities. What was shown must be how it begins, or the stream ends with an error.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from oracle.api import logprob_replies
from oracle.api.chat import AskedText
from oracle.errors import DigestMismatch
from oracle.protocol.text import TextAnswer

_CALL = "<tool_call>"
DONE = "data: [DONE]\n\n"


class StreamDiffers(DigestMismatch):
    """What was streamed is not how the delivered answer begins: the delivered one counts."""


class OpenAiReply(ABC):
    """One reply, whole or in pieces."""

    def __init__(self, asked: AskedText, name: str, created: int) -> None:
        self._asked, self._name, self._created = asked, name, created
        self._shown = ""

    @abstractmethod
    def whole(self, answer: TextAnswer, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document; `extra` is what we say beside it, as `tallystick`."""

    @abstractmethod
    def begin(self) -> Iterator[str]:
        """Yield what comes before the first piece."""

    def piece(self, text: str) -> Iterator[str]:
        """Yield what says that this was written. With tools nothing is: it may be a call."""
        if text and not self._asked.question.offered:
            self._shown += text
            yield self._piece(text)

    def end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is missing of the delivered answer, and how it ended.

        Raises:
            StreamDiffers: it does not begin with the pieces.
        """
        content = content_of(answer) or ""
        if not content.startswith(self._shown):
            raise StreamDiffers(
                "the delivered answer does not begin with what was streamed",
                hint="the delivered one counts: ask the same again without `stream`",
            )
        if rest := content[len(self._shown) :]:
            self._shown = content
            yield self._piece(rest)
        yield from self._end(answer, extra)

    @abstractmethod
    def fail(self, error: Mapping[str, Any]) -> str:
        """Return the event of an error in OpenAI's shape; its client raises it."""

    @abstractmethod
    def _piece(self, text: str) -> str: ...

    @abstractmethod
    def _end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]: ...


class _ChunkedReply(OpenAiReply):
    """Replies whose events are chunks with choices."""

    object = chunk_object = prefix = ""

    def begin(self) -> Iterator[str]:
        """See `OpenAiReply.begin`."""
        yield from ()

    def fail(self, error: Mapping[str, Any]) -> str:
        """See `OpenAiReply.fail`."""
        return event({"error": error})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{self.prefix}-{self._name}", "object": kind,
            "created": self._created, "model": self._asked.model,
        }  # fmt: skip

    def _chunk(self, choice: Mapping[str, Any], reason: str | None = None, **more: Any) -> str:
        whole = {"index": 0, "logprobs": None, **choice, "finish_reason": reason}
        usage = {"usage": None} if self._asked.usage else {}
        return event({**self._head(self.chunk_object), "choices": [whole], **usage, **more})

    def _last(self, answer: TextAnswer) -> Iterator[str]:
        if self._asked.usage:
            head = self._head(self.chunk_object)
            yield event({**head, "choices": [], "usage": _usage(answer)})
        yield DONE


class ChatReply(_ChunkedReply):
    """A message of an assistant."""

    object, chunk_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def whole(self, answer: TextAnswer, extra: Mapping[str, Any]) -> dict[str, Any]:
        """See `OpenAiReply.whole`."""
        calls = {"tool_calls": self._calls(answer)} if answer.tool_calls else {}
        content = content_of(answer)
        message = {"role": "assistant", "content": content, "refusal": None, **calls}
        choice = {
            "index": 0, "message": message, "logprobs": self._logprobs(answer),
            "finish_reason": answer.finish_reason,
        }  # fmt: skip
        head = self._head(self.object)
        return {**head, "choices": [choice], "usage": _usage(answer), "tallystick": extra}

    def begin(self) -> Iterator[str]:
        """See `OpenAiReply.begin`."""
        yield self._chunk({"delta": {"role": "assistant", "content": ""}})

    def _piece(self, text: str) -> str:
        return self._chunk({"delta": {"content": text}})

    def _end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]:
        if answer.tool_calls:
            calls = [{"index": n, **call} for n, call in enumerate(self._calls(answer))]
            yield self._chunk({"delta": {"tool_calls": calls}})
        last = {"delta": {}, "logprobs": self._logprobs(answer)}
        yield self._chunk(last, answer.finish_reason, tallystick=extra)
        yield from self._last(answer)

    def _logprobs(self, answer: TextAnswer) -> dict[str, Any] | None:
        return logprob_replies.of_chat(answer, self._asked.question.stop)

    def _calls(self, answer: TextAnswer) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{self._name}_{number}", "type": "function", "function": dict(call)}
            for number, call in enumerate(answer.tool_calls)
        ]


class CompletionReply(_ChunkedReply):
    """Text that goes on."""

    object = chunk_object = "text_completion"
    prefix = "cmpl"

    def whole(self, answer: TextAnswer, extra: Mapping[str, Any]) -> dict[str, Any]:
        """See `OpenAiReply.whole`."""
        choice = {
            "index": 0, "text": answer.content, "logprobs": self._logprobs(answer),
            "finish_reason": answer.finish_reason,
        }  # fmt: skip
        head = self._head(self.object)
        return {**head, "choices": [choice], "usage": _usage(answer), "tallystick": extra}

    def _piece(self, text: str) -> str:
        return self._chunk({"text": text})

    def _end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]:
        last = {"text": "", "logprobs": self._logprobs(answer)}
        yield self._chunk(last, answer.finish_reason, tallystick=extra)
        yield from self._last(answer)

    def _logprobs(self, answer: TextAnswer) -> dict[str, Any] | None:
        return logprob_replies.of_completion(answer, self._asked.question.stop)


def content_of(answer: TextAnswer) -> str | None:
    """Return the text beside calls; None = there is none."""
    if not answer.tool_calls:
        return answer.content
    before, found, _ = answer.content.partition(_CALL)
    return before.strip() or None if found else None


def _usage(answer: TextAnswer) -> dict[str, int]:
    prompt, written = answer.prompt_tokens, len(answer.tokens)
    return {
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written
    }  # fmt: skip


def event(document: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n"
