"""Answers of text models as OpenAI's responses, whole and as events. Pure.

```
 response.created · output_item.added · output_text.delta … · output_text.done · response.completed
```
"""

from collections.abc import Iterator, Mapping
from typing import Any

from oracle.api import logprob_replies
from oracle.api.chat import AskedText
from oracle.api.chat_replies import OpenAiReply, content_of, event
from oracle.protocol.text import TextAnswer


class ResponseReply(OpenAiReply):
    """A response with one message, or with calls of functions."""

    def __init__(self, asked: AskedText, name: str, created: int) -> None:
        super().__init__(asked, name, created)
        self._number, self._opened = 0, False

    def whole(self, answer: TextAnswer, extra: Mapping[str, Any]) -> dict[str, Any]:
        """See `OpenAiReply.whole`."""
        cut = answer.finish_reason == "length"
        return {
            **self._document("incomplete" if cut else "completed", self._output(answer)),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": _usage(answer), "tallystick": extra,
        }  # fmt: skip

    def begin(self) -> Iterator[str]:
        """See `OpenAiReply.begin`."""
        for kind in ("response.created", "response.in_progress"):
            yield self._say(kind, response=self._document("in_progress", []))

    def piece(self, text: str) -> Iterator[str]:
        """See `OpenAiReply.piece`; the message is opened by the first."""
        if text and not self._asked.question.offered:
            yield from self._open()
            yield from super().piece(text)

    def fail(self, error: Mapping[str, Any]) -> str:
        """See `OpenAiReply.fail`."""
        told = {name: error[name] for name in ("code", "message", "param")}
        return self._say("error", **told, error=error)

    def _piece(self, text: str) -> str:
        return self._say("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]:
        """See `OpenAiReply.end`."""
        if content_of(answer) is not None:
            yield from self._open()
        yield from super().end(answer, extra)

    def _end(self, answer: TextAnswer, extra: Mapping[str, Any]) -> Iterator[str]:
        whole = self.whole(answer, extra)
        for place, item in enumerate(whole["output"]):
            if item["type"] == "message":
                part = item["content"][0]
                yield self._say(
                    "response.output_text.done", **self._place(), text=part["text"],
                    logprobs=part["logprobs"],
                )  # fmt: skip
                yield self._say("response.content_part.done", **self._place(), part=part)
            else:
                begun = {**item, "arguments": "", "status": "in_progress"}
                yield self._say("response.output_item.added", output_index=place, item=begun)
                where = {"item_id": item["id"], "output_index": place}
                said = item["arguments"]
                yield self._say("response.function_call_arguments.delta", **where, delta=said)
                yield self._say(
                    "response.function_call_arguments.done", **where, arguments=said,
                    name=item["name"],
                )  # fmt: skip
            yield self._say("response.output_item.done", output_index=place, item=item)
        yield self._say(f"response.{whole['status']}", response=whole)

    def _open(self) -> Iterator[str]:
        if self._opened:
            return
        self._opened = True
        item = {**self._message("", []), "content": [], "status": "in_progress"}
        yield self._say("response.output_item.added", output_index=0, item=item)
        yield self._say("response.content_part.added", **self._place(), part=_part("", []))

    def _output(self, answer: TextAnswer) -> list[dict[str, Any]]:
        content = content_of(answer)
        shown = logprob_replies.of_response(answer, self._asked.question.stop)
        items = [] if content is None else [self._message(content, shown)]
        for number, call in enumerate(answer.tool_calls):
            items.append({
                "type": "function_call", "id": f"fc_{self._name}_{number}", "status": "completed",
                "call_id": f"call_{self._name}_{number}", **call,
            })  # fmt: skip
        return items

    def _message(self, content: str, shown: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "type": "message", "id": f"msg_{self._name}", "role": "assistant",
            "status": "completed", "content": [_part(content, shown)],
        }  # fmt: skip

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self._name}", "output_index": 0, "content_index": 0}

    def _document(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"resp_{self._name}", "object": "response", "created_at": self._created,
            "status": status, "model": self._asked.model, "output": output, "error": None,
            "incomplete_details": None, "instructions": None, "metadata": {},
            "parallel_tool_calls": True, "tool_choice": self._asked.question.tool_choice or "auto",
            "tools": [{"type": "function", **tool["function"]}
                      for tool in self._asked.question.tools],
            "temperature": self._asked.params.get("temperature"),
            "top_p": self._asked.params.get("top_p"),
            "max_output_tokens": self._asked.params.get("max_tokens"),
            "store": False, "usage": None,
        }  # fmt: skip

    def _say(self, kind: str, **facts: Any) -> str:
        number, self._number = self._number, self._number + 1
        return f"event: {kind}\n" + event({"type": kind, "sequence_number": number, **facts})


def _part(content: str, shown: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": content, "annotations": [], "logprobs": shown}


def _usage(answer: TextAnswer) -> dict[str, Any]:
    prompt, written = answer.prompt_tokens, len(answer.tokens)
    return {
        "input_tokens": prompt, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + written,
    }  # fmt: skip
