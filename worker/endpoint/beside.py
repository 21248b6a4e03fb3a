"""Runs what an endpoint does beside answering, until the answering ends."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from oracle.chain.rpc import RpcError
from oracle.errors import TallystickError


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run an endless loop as long as the block runs."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def tell(log: Any, event: str, error: Exception, **facts: Any) -> None:
    """Log that one step of a loop failed. It must go on: money or a conviction hangs on the next.

    What none of our ports raises is a fault, and is logged with its place.
    """
    expected = isinstance(error, TallystickError | RpcError)
    (log.warning if expected else log.exception)(event, error=str(error), **facts)
