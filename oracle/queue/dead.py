"""What was taken off a queue and is no message of ours: the newest of it, and a count."""

import json
from collections.abc import Iterable
from typing import Any

KEPT = 1_000  # items of each queue
_MAX_ITEM = 4_096  # characters that are kept of one


def put_aside(redis: Any, queue: str, item: Any) -> None:
    """Put an item on `<queue>.dead`, and count it."""
    text = item if isinstance(item, str | bytes) else json.dumps(item, default=str)
    steps = redis.pipeline()
    steps.lpush(f"{queue}.dead", text[:_MAX_ITEM])
    steps.ltrim(f"{queue}.dead", 0, KEPT - 1)
    steps.incr(f"{queue}.dead.count")
    steps.execute()


def counts(redis: Any, queues: Iterable[str]) -> dict[str, int]:
    """Return by queue how much was put aside since the broker was started empty."""
    names = list(queues)
    found = redis.mget([f"{name}.dead.count" for name in names])
    return {name: int(count or 0) for name, count in zip(names, found, strict=True)}
