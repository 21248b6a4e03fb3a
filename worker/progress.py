"""Tells whoever listens how far a job has come; nobody has to, and nothing depends on it.

Redis' publish/subscribe forgets what nobody hears. With another broker nothing is told.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis import Redis
from redis.exceptions import RedisError

from oracle.config import PROGRESS_CHANNEL, Settings
from oracle.types import RequestId

Tell = Callable[[str, Sequence[RequestId]], None]  # (step, requests)
_TIMEOUT = 0.2  # seconds: a broker that is slow must not hold up an answer


def silent(_step: str, _request_ids: Sequence[RequestId]) -> None:
    """Tell nobody."""


def teller(settings: Settings) -> Tell:
    """Return what tells the gateways on this broker; called after a fork."""
    if not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        return silent
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
    )

    def tell(step: str, request_ids: Sequence[RequestId]) -> None:
        ids = [request_id.hex() for request_id in request_ids]
        message = {"step": step, "operator": settings.operator, "ids": ids, "at": time.time()}
        with suppress(RedisError):
            redis.publish(PROGRESS_CHANNEL, json.dumps(message))

    return tell
