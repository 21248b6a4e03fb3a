"""The port through which jobs leave the watcher: messages for Celery tasks, by name.

Knows task names and payloads (the table in docs/operator.md), not the tasks. Bytes are 0x-hex.
`CeleryQueue` speaks to the broker; `MemoryQueue` keeps messages in a list, and can forget them.

A queue has a *generation*: a random word that it forgets together with its messages. A message
taken by another generation than today's is lost, and its job is put on the queue again at once.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from celery import Celery  # type: ignore[import-untyped]  # it ships no types
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerDown
from redis import Redis
from redis.exceptions import RedisError

from oracle.errors import Unavailable
from oracle.store.job import Job, JobStep
from oracle.types import VersionRecord

FINALIZE_BATCH = 32  # settlements in one transaction: about 1 M gas
_SOCKET_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Message:
    """One call of a Celery task."""

    queue: str  # full name, the operator's prefix included
    task: str
    task_id: str  # <step>:<request id>:<attempt>
    payload: Mapping[str, Any]  # JSON; the task's keyword arguments


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and the jobs that it moves on."""

    message: Message
    jobs: tuple[Job, ...]


class JobQueue(Protocol):
    """Where messages go."""

    def generation(self) -> str:
        """Return the word that the queue remembers as long as its messages.

        Raises:
            Unavailable: the broker cannot be reached.
        """

    def send(self, message: Message) -> None:
        """Hand over one message; it is on the queue when this returns.

        Raises:
            Unavailable: the broker cannot be reached; the message may or may not be on the queue.
        """


class CeleryQueue:
    """A broker that Celery workers listen to."""

    def __init__(self, url: str, namespace: str) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: of the broker, redis:// or any other that Celery speaks.
            namespace: of the generation word: the operator's name.
        """
        self._celery = Celery("tallystick", broker=url, set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_ignore_result=True,
            task_publish_retry=False,  # the watcher repeats, and knows what it repeats
            broker_connection_timeout=_SOCKET_TIMEOUT,
            broker_transport_options={
                "socket_timeout": _SOCKET_TIMEOUT,
                "socket_connect_timeout": _SOCKET_TIMEOUT,
                "max_retries": 1,  # of connecting; the next cycle tries again
            },
        )
        self._redis = None
        if url.startswith(("redis://", "rediss://")):
            self._redis = Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT, decode_responses=True)
        self._key = f"tallystick:{namespace}:generation"

    def generation(self) -> str:
        if self._redis is None:
            return "durable"  # a broker that keeps its messages through a restart
        try:
            self._redis.set(self._key, secrets.token_hex(8), nx=True)
            return str(self._redis.get(self._key))
        except RedisError as error:
            raise _unavailable(error) from error

    def send(self, message: Message) -> None:
        try:
            self._celery.send_task(
                message.task,
                kwargs=dict(message.payload),
                task_id=message.task_id,
                queue=message.queue,
            )
        except (BrokerDown, KombuError, RedisError, OSError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Give back connections."""
        self._celery.close()
        if self._redis is not None:
            self._redis.close()


@dataclass
class MemoryQueue:
    """A queue in this process."""

    messages: list[Message] = field(default_factory=list)
    down: bool = False
    word: str = field(default_factory=lambda: secrets.token_hex(8))

    def generation(self) -> str:
        self._check()
        return self.word

    def send(self, message: Message) -> None:
        self._check()
        self.messages.append(message)

    def lose(self) -> None:
        """Forget everything, as a Redis that is started empty does."""
        self.messages.clear()
        self.word = secrets.token_hex(8)

    def take(self) -> list[Message]:
        """Empty the queue and return what was on it."""
        taken, self.messages = self.messages, []
        return taken

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the queue is down", hint="start it again")


def parcels(
    jobs: Iterable[Job],
    queue_name: Callable[[str], str],
    version_of: Callable[[int, int], VersionRecord],
) -> list[Parcel]:
    """Say in messages what each job's step asks for; many settlements share one message.

    Args:
        jobs: each with a step.
        queue_name: from role (`infer`, `submit`) to the queue's full name.
        version_of: from model and version to what the registry says of it.
    """
    singles: list[Parcel] = []
    settling: list[Job] = []
    for job in jobs:
        if job.step is JobStep.FINALIZE:
            settling.append(job)
            continue
        payload = _payload(job, version_of)
        role = "infer" if job.step is JobStep.INFER else "submit"
        singles.append(Parcel(_message(job, queue_name(role), payload), (job,)))
    for start in range(0, len(settling), FINALIZE_BATCH):
        batch = tuple(settling[start : start + FINALIZE_BATCH])
        payload = {"request_ids": [_hex(job.request_id) for job in batch]}
        singles.append(Parcel(_message(batch[0], queue_name("submit"), payload), batch))
    return singles


def _message(job: Job, queue: str, payload: Mapping[str, Any]) -> Message:
    task_id = f"{job.step}:{_hex(job.request_id)}:{job.attempt}"
    return Message(queue, f"tallystick.{job.step}", task_id, payload)


def _payload(job: Job, version_of: Callable[[int, int], VersionRecord]) -> dict[str, Any]:
    request_id = _hex(job.request_id)
    if job.step is JobStep.INFER:
        return _infer_payload(job, version_of(job.request.model_id, job.request.version))
    if job.step is JobStep.DELIVER and job.answer is not None:
        return {
            "request_id": request_id,
            "output_root": _hex(job.answer.output_root),
            "output_cid": _hex(job.answer.output_cid),
        }
    return {"request_id": request_id}


def _infer_payload(job: Job, version: VersionRecord) -> dict[str, Any]:
    request = job.request
    return {
        "request_id": _hex(job.request_id),
        "model_id": request.model_id,
        "version": request.version,
        "manifest_digest": _hex(version.manifest_digest),
        "model_root": _hex(version.model_root),
        "input_root": _hex(request.input_root),
        "input_cid": _hex(request.input_cid),
        "params": _hex(request.params),
        "claim": {"operator": job.claim.operator, "until": job.claim.until},
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        f"the queue's broker does not answer: {error}",
        hint="check that Redis runs at TALLYSTICK_REDIS_URL; the watcher goes on when it is back",
    )
