"""Tells whoever listens how far a job has come; nobody has to, and nothing depends on it.

Redis' publish/subscribe forgets what nobody hears. With another broker nothing is told.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError

from oracle.config import PROGRESS_CHANNEL, Settings
from oracle.types import RequestId

_TIMEOUT = 0.2  # seconds: a broker that is slow must not hold up an answer


class Tell(Protocol):
    """Says that requests have come to a step; `reason` is why they failed for good."""

    def __call__(self, step: str, request_ids: Sequence[RequestId], reason: str = "") -> None:
        """Say it; fails never."""


def silent(step: str, request_ids: Sequence[RequestId], reason: str = "") -> None:
    """Tell nobody."""


def teller(settings: Settings) -> Tell:
    """Return what tells the gateways on this broker; called after a fork."""
    if not settings.on_redis:
        return silent
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
    )

    def tell(step: str, request_ids: Sequence[RequestId], reason: str = "") -> None:
        message = {
            "step": step,
            "operator": settings.operator,
            "ids": [request_id.hex() for request_id in request_ids],
            "at": time.time(),
            "reason": reason,
        }
        with suppress(RedisError):
            redis.publish(PROGRESS_CHANNEL, json.dumps(message))

    return tell
