"""The port through which messages leave a process that runs no tasks: watcher, auditor, valuator.

`CeleryQueue` speaks to the broker; `MemoryQueue` keeps messages in a list, and can forget them.

A queue has a *generation*: a random word that it forgets together with its messages. A message
taken by another generation than today's is lost, and its job is put on the queue again at once.
"""

import secrets
from dataclasses import dataclass, field
from typing import Protocol

from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerDown
from redis import Redis
from redis.exceptions import RedisError

from oracle.config import Settings
from oracle.errors import Unavailable
from oracle.queue import celery_app
from oracle.queue.dead import counts
from oracle.queue.message import Message
from oracle.queue.messages import QUEUES

_SOCKET_TIMEOUT = 5.0  # seconds


class JobQueue(Protocol):
    """Where messages go."""

    def generation(self) -> str:
        """Return the word that the queue remembers as long as its messages.

        Raises:
            Unavailable: the broker cannot be reached.
        """

    def dead(self) -> dict[str, int]:
        """Return by queue how many items were no messages of ours, and were put aside.

        Raises:
            Unavailable: the broker cannot be reached.
        """

    def send(self, message: Message, task_id: str) -> None:
        """Hand over one message; it is on the queue when this returns.

        Raises:
            Unavailable: the broker cannot be reached; the message may or may not be on the queue.
        """


class CeleryQueue:
    """A broker that Celery workers listen to."""

    def __init__(self, settings: Settings) -> None:
        """Prepare to send to the operator's queues; nothing is connected yet."""
        self._celery = celery_app.create(lambda: settings)
        self._celery.conf.update(
            task_publish_retry=False,  # the watcher repeats, and knows what it repeats
            broker_connection_timeout=_SOCKET_TIMEOUT,
            broker_transport_options={
                "socket_timeout": _SOCKET_TIMEOUT,
                "socket_connect_timeout": _SOCKET_TIMEOUT,
                "max_retries": 1,  # of connecting; the next cycle tries again
            },
        )
        self._redis = None
        if settings.on_redis:
            self._redis = Redis.from_url(
                settings.redis_url, socket_timeout=_SOCKET_TIMEOUT, decode_responses=True
            )
        self._queues = [settings.queue(role) for role in QUEUES]
        self._key = f"tallystick:{settings.operator}:generation"

    def generation(self) -> str:
        if self._redis is None:
            return "durable"  # a broker that keeps its messages through a restart
        try:
            self._redis.set(self._key, secrets.token_hex(8), nx=True)
            return str(self._redis.get(self._key))
        except RedisError as error:
            raise _unavailable(error) from error

    def dead(self) -> dict[str, int]:
        if self._redis is None:
            return {}
        try:
            return counts(self._redis, self._queues)
        except RedisError as error:
            raise _unavailable(error) from error

    def send(self, message: Message, task_id: str) -> None:
        try:
            celery_app.send(self._celery, message, task_id)
        except (BrokerDown, KombuError, RedisError, OSError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Give back connections."""
        self._celery.close()
        if self._redis is not None:
            self._redis.close()


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message on a `MemoryQueue`."""

    message: Message
    task_id: str


@dataclass
class MemoryQueue:
    """A queue in this process."""

    messages: list[SentMessage] = field(default_factory=list)
    down: bool = False
    word: str = field(default_factory=lambda: secrets.token_hex(8))

    def generation(self) -> str:
        self._check()
        return self.word

    def dead(self) -> dict[str, int]:
        self._check()
        return {}

    def send(self, message: Message, task_id: str) -> None:
        self._check()
        self.messages.append(SentMessage(message, task_id))

    def lose(self) -> None:
        """Forget everything, as a Redis that is started empty does."""
        self.messages.clear()
        self.word = secrets.token_hex(8)

    def take(self) -> list[SentMessage]:
        """Empty the queue and return what was on it."""
        taken, self.messages = self.messages, []
        return taken

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the queue is down", hint="start it again")


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        f"the queue's broker does not answer: {error}",
        hint="check that Redis runs at TALLYSTICK_REDIS_URL; the watcher goes on when it is back",
    )
