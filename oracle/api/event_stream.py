"""Server-sent events (WHATWG HTML, section 9.2), as gateways and endpoints write them."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

KIND = "text/event-stream"


def event(name: str, facts: Mapping[str, Any], number: int | None = None) -> str:
    """Return an event: its name is in its data, too, for clients that read nothing else."""
    data = json.dumps({"name": name, **facts}, ensure_ascii=False)
    first = "" if number is None else f"id: {number}\n"
    return f"{first}event: {name}\ndata: {data}\n\n"


def response(events: AsyncIterator[str]) -> StreamingResponse:
    """Return a response that proxies pass on event by event."""
    return StreamingResponse(events, media_type=KIND, headers={"X-Accel-Buffering": "no"})
