"""Resources as JSON: the services' results, page by page, with ETags.

What the chain says changes with its blocks: an answer is read once a second at most, however many
ask for it.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import Query, Request, Response

from oracle.errors import InputInvalid
from oracle.services import amounts
from oracle.services.documents import jsonable
from oracle.types import Address, RequestId

FRESH = 1.0  # seconds
KEPT = 512  # answers in memory

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many to leave out.")]


class ResourceReader(Protocol):
    """What a resource is read with; the app's state is one."""

    memory: "ResponseCache"

    async def blocking(self, step: Callable[[], Any]) -> Any:
        """Run a blocking step beside the event loop."""


class ResponseCache:
    """Answers of the last second; the same question is asked once at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[object, tuple[float, Any]] = {}
        self._asking: dict[object, asyncio.Task[Any]] = {}

    async def of(self, state: ResourceReader, question: object, read: Callable[[], Any]) -> Any:
        """Return what `read` answers to a question, or answered a moment ago."""
        kept = self._kept.get(question)
        if kept is not None and self._clock() - kept[0] < FRESH:
            return kept[1]
        task = self._asking.get(question)
        if task is None:
            task = asyncio.ensure_future(state.blocking(read))
            self._asking[question] = task
            task.add_done_callback(lambda done: self._keep(question, done))
        return await asyncio.shield(task)  # who goes away does not spoil it for the others

    def _keep(self, question: object, done: "asyncio.Task[Any]") -> None:
        self._asking.pop(question, None)
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[question] = (self._clock(), done.result())


async def show(
    request: Request, state: ResourceReader, read: Callable[[], Any], *, kind: object = None
) -> Response:
    """Answer a GET with what `read` returns, or with 304 when the client has just that."""
    question = kind or (request.url.path, request.url.query)
    value = await state.memory.of(state, question, read)
    return document(request, value)


async def listed(
    request: Request,
    state: ResourceReader,
    read: Callable[[], Sequence[Any]],
    limit: int,
    offset: int,
) -> Response:
    """Answer a GET with one page of what `read` returns."""
    path = request.url.path
    others = sorted((k, v) for k, v in request.query_params.multi_items() if k not in _PAGING)
    every = await state.memory.of(state, (path, *others), read)
    end = offset + limit
    following = None
    if end < len(every):
        following = str(
            request.url.include_query_params(offset=end, limit=limit).replace(scheme="", netloc="")
        )
    body = {"items": every[offset:end], "total": len(every), "next": following}
    return document(request, body)


def document(request: Request, value: Any) -> Response:
    """Return JSON with its ETag."""
    body = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":")).encode(
        errors="replace"
    )
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    given = {part.strip().removeprefix("W/") for part in _none_match(request).split(",")}
    if tag in given or "*" in given:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def request_id_of(text: str) -> RequestId:
    """Read a request's id from a path.

    Raises:
        InputInvalid: it is none.
    """
    return amounts.parse_request_id(text)


def address_of(text: str) -> Address:
    """Read an address from a path or a query.

    Raises:
        InputInvalid: it is none.
    """
    if not text.startswith("0x"):
        raise InputInvalid(f"{text!r:.60} is no address", hint="0x and 40 hexadecimal digits")
    return amounts.parse_address(text)


_PAGING = frozenset({"limit", "offset"})


def _none_match(request: Request) -> str:
    return request.headers.get("if-none-match", "")
