"""Celery's Redis transport, which survives what is no message: it is put aside in `<queue>.dead`.

kombu 5.7 ends the process at an item that is not JSON, or is not an object with properties. Here
such an item goes to a list, the newest `KEPT` of them, with a counter beside it.
"""

import json
from typing import Any

import structlog
from kombu.transport import redis
from redis.exceptions import RedisError

from oracle.queue.dead import put_aside

MAX_BODY = 1 << 20  # characters; a message of ours has a few hundred, the largest move 200,000


class RedisChannel(redis.Channel):
    """Takes items off the queues."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # no types
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            # both errors carry what could not be read
            item = getattr(error, "doc", "") or getattr(error, "object", b"")
            self.put_aside("", item, error)
            return True

    def well_formed(self, payload: Any) -> bool:
        """Say whether an item is a message, and of a size that one of ours may have."""
        try:
            properties = payload["properties"]
            self.Message(payload, channel=self)  # type: ignore[no-untyped-call]  # no types
            return (
                len(payload["body"]) <= MAX_BODY
                and isinstance(payload["headers"], dict)
                and isinstance(properties["delivery_info"], dict)
                and isinstance(properties["delivery_tag"], str)
            )
        except Exception:  # whatever a stranger's item makes kombu raise
            return False

    def put_aside(self, queue: str, item: Any, why: object) -> None:
        """Put an item on the list of its queue, of the first queue when it is not known."""
        queue = queue or next(iter(self.active_queues), "")
        structlog.get_logger("tallystick.queue").error(
            "queue.put_aside", queue=queue, reason=str(why)[:200]
        )
        try:
            with self.conn_or_acquire() as client:
                put_aside(client, queue, item)
        except RedisError:  # it is lost: nobody needs it
            pass


class Transport(redis.Transport):
    """What `broker_transport` names."""

    Channel = RedisChannel

    def _deliver(self, message: Any, queue: str) -> None:
        channel = self.channels[0]
        if channel.well_formed(message):
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]  # no types
        else:
            channel.put_aside(queue, message, "no message, or one too large")
