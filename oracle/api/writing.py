"""From what a body asks to its reply, whole or streamed: for gateways and endpoints alike.

```
 refused before it is accepted ─▶ a status and a problem, as without a stream
 accepted ─▶ pieces, as they are written ─▶ the delivered answer: the rest, how it ended, usage
                                        └─▶ an error, in the stream
```
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response

from oracle.api import event_stream, problems
from oracle.api.chat import AskedText, Shape
from oracle.api.chat_replies import ChatReply, CompletionReply, OpenAiReply
from oracle.api.response_replies import ResponseReply
from oracle.errors import TallystickError
from oracle.protocol.text import TextAnswer

SILENCE = 15.0  # seconds after which a comment keeps proxies from hanging up
Tell = Callable[[str], object]  # of a piece of text; an empty one says that it was accepted
_REPLIES: Mapping[Shape, type[OpenAiReply]] = {
    "chat": ChatReply, "completion": CompletionReply, "response": ResponseReply
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """An answer that is delivered, and what is said beside it."""

    answer: TextAnswer
    extra: Mapping[str, Any]  # `tallystick` of the reply
    headers: Mapping[str, str] = field(default_factory=dict)


Ask = Callable[[Tell], Awaitable[WrittenAnswer]]


async def respond(asked: AskedText, ask: Ask) -> Response:
    """Return the reply to a body.

    Args:
        ask: pays and waits; it is told whom to tell of pieces, from any thread. It is cancelled
            when nobody listens any more.

    Raises:
        Whatever `ask` raises before it accepts.
    """
    reply = reply_of(asked)
    if not asked.stream:
        written = await ask(lambda _piece: None)
        content = json.dumps(reply.whole(written.answer, written.extra), separators=(",", ":"))
        return Response(content, headers=dict(written.headers), media_type="application/json")
    events = _events(reply, ask)
    first = await anext(events)  # a refusal is a status
    return event_stream.response(_after(first, events))


def reply_of(asked: AskedText) -> OpenAiReply:
    """Return what writes the reply to a body."""
    return _REPLIES[asked.shape](asked, uuid.uuid4().hex, int(time.time()))


async def _events(reply: OpenAiReply, ask: Ask) -> AsyncGenerator[str]:
    loop, heard = asyncio.get_running_loop(), asyncio.Queue[str | None]()
    task = asyncio.ensure_future(
        ask(lambda piece: loop.call_soon_threadsafe(heard.put_nowait, piece))
    )
    task.add_done_callback(lambda _task: heard.put_nowait(None))
    begun = False
    try:
        while True:
            try:
                piece = await asyncio.wait_for(heard.get(), SILENCE if begun else None)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if not begun and (piece is not None or not _refused(task)):
                begun = True
                yield "".join(reply.begin())
            if piece is None:
                break
            for event in reply.piece(piece):
                yield event
        try:
            written = await task
            for event in reply.end(written.answer, written.extra):
                yield event
        except TallystickError as error:
            if not begun:
                raise
            yield reply.fail(problems.openai_error(problems.of(error)))
    finally:
        task.cancel()


def _refused(task: "asyncio.Future[WrittenAnswer]") -> bool:
    return task.cancelled() or task.exception() is not None


async def _after(first: str, others: AsyncGenerator[str]) -> AsyncIterator[str]:
    async with aclosing(others):
        yield first
        async for event in others:
            yield event
