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
_TOGETHER = 0.05  # seconds in which the pieces of a text are told together


class Tell(Protocol):
    """Says that requests have come to a step; `reason` is why they failed for good."""

    def __call__(
        self, step: str, request_ids: Sequence[RequestId], reason: str = "", **facts: object
    ) -> None:
        """Say it; fails never."""


def silent(step: str, request_ids: Sequence[RequestId], reason: str = "", **facts: object) -> None:
    """Tell nobody."""


class TextTeller:
    """Tells how a text grows, some pieces at a time."""

    def __init__(self, tell: Tell, request_id: RequestId) -> None:
        """Take whom to tell of which request."""
        self._tell, self._request_id = tell, request_id
        self._told = self._waiting = ""
        self._at = 0.0

    def piece(self, text: str) -> None:
        """Take what was written after the last piece."""
        self._waiting += text
        now = time.monotonic()
        if self._waiting and now - self._at >= _TOGETHER:
            self._tell("piece", [self._request_id], start=len(self._told), text=self._waiting)
            self._told, self._waiting, self._at = self._told + self._waiting, "", now


def teller(settings: Settings) -> Tell:
    """Return what tells the gateways on this broker; called after a fork."""
    if not settings.on_redis:
        return silent
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
    )

    def tell(
        step: str, request_ids: Sequence[RequestId], reason: str = "", **facts: object
    ) -> None:
        message = {
            **facts,
            "step": step,
            "operator": settings.operator,
            "ids": [request_id.hex() for request_id in request_ids],
            "at": time.time(),
            "reason": reason,
        }
        with suppress(RedisError):
            redis.publish(PROGRESS_CHANNEL, json.dumps(message))

    return tell
