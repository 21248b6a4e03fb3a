"""Hears from workers on the same broker how far requests have come, where there is one.

What is heard is shown and measured, and ends a wait: only the chain says that there is an answer,
or that money came back.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from oracle.config import PROGRESS_CHANNEL, Settings
from oracle.gateway.notifier import Notifier
from oracle.types import RequestId

FAILED = "failed"  # for good: this operator will not answer
STEPS = ("taken", "fetched", "running", "computed", "published", FAILED)
PIECE = "piece"  # of a text that is being written
_MAX_REASON, _MAX_NAME = 1000, 80  # characters
KEPT = 20_000  # requests
KEPT_TEXTS, MAX_TEXT = 256, 1 << 16  # texts, and characters of each: the rest comes delivered
_PAUSE = 2.0  # seconds until a broker that went away is looked for again


@dataclass(frozen=True, slots=True)
class Heard:
    """One step of a worker."""

    step: str
    operator: str  # name of its operator
    at: float  # unix seconds, by the worker's clock
    reason: str = ""  # of a failure
    error: str = ""  # its name


class WorkerProgress:
    """What workers said lately, by request."""

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        """Take where the broker is; nothing is opened. Only a Redis tells progress."""
        self._url = settings.redis_url if settings.on_redis else ""
        self._notifier = notifier
        self._heard: OrderedDict[RequestId, tuple[Heard, ...]] = OrderedDict()
        self._texts: OrderedDict[RequestId, tuple[str, str]] = OrderedDict()  # operator, text
        self._stopping = threading.Event()
        self._tried = threading.Event()  # subscribed, or there is nobody to subscribe to
        self._thread = threading.Thread(
            target=self._run, name="gateway-worker-progress", daemon=True
        )

    def start(self) -> None:
        """Begin to listen."""
        if self._url:
            self._thread.start()

    def await_subscription(self) -> None:
        """Wait until what is said from now on is heard; not long, where no broker answers."""
        if self._url:
            self._tried.wait(_PAUSE)

    def end(self) -> None:
        """End soon."""
        self._stopping.set()

    def stop(self) -> None:
        """End."""
        self.end()
        if self._thread.is_alive():
            self._thread.join()

    def of(self, request_id: RequestId) -> tuple[Heard, ...]:
        """Return what was heard of a request, oldest first."""
        return self._heard.get(request_id, ())

    def text(self, request_id: RequestId) -> str:
        """Return how far an answer is written, as one operator says; "" = nobody says."""
        return self._texts.get(request_id, ("", ""))[1]

    def failure(self, request_id: RequestId) -> Heard | None:
        """Return the last report that an operator cannot answer a request, if there is one."""
        return next((h for h in reversed(self.of(request_id)) if h.step == FAILED), None)

    def reason(self, request_id: RequestId) -> str | None:
        """Return who cannot answer a request and why, in words, if somebody said so."""
        found = self.failure(request_id)
        return None if found is None else f"operator {found.operator}: {found.reason}"

    def take(self, data: bytes) -> None:
        """Take one message; what is none of ours is passed over."""
        try:
            message = json.loads(data)
            heard = Heard(
                str(message["step"]),
                str(message["operator"]),
                float(message["at"]),
                str(message.get("reason", ""))[:_MAX_REASON],
                str(message.get("error", ""))[:_MAX_NAME],
            )
            ids = [RequestId(bytes.fromhex(one)) for one in message["ids"]]
            if heard.step == PIECE:
                self._grow(ids, heard.operator, int(message["start"]), str(message["text"]))
                return
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        if heard.step not in STEPS:
            return
        for request_id in ids:
            self._heard[request_id] = (*self._heard.get(request_id, ()), heard)[-32:]
            self._heard.move_to_end(request_id)
        while len(self._heard) > KEPT:
            self._heard.popitem(last=False)
        self._notifier.notify(ids)

    def _grow(self, ids: list[RequestId], operator: str, start: int, piece: str) -> None:
        """Take a piece of a text, unless one before it is missing or another operator's came."""
        for request_id in ids:
            who, text = self._texts.get(request_id, (operator, ""))
            if start == 0:
                text = ""  # a job that was given back is begun anew
            if who != operator or start != len(text) or len(text) + len(piece) > MAX_TEXT:
                continue
            self._texts[request_id] = operator, text + piece
            self._texts.move_to_end(request_id)
        while len(self._texts) > KEPT_TEXTS:
            self._texts.popitem(last=False)
        self._notifier.notify(ids)

    def _run(self) -> None:
        # Imported where a broker is listened to: commands that only look do without
        from redis import Redis  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415

        while not self._stopping.is_set():
            try:
                with Redis.from_url(self._url) as redis, redis.pubsub() as channel:
                    channel.subscribe(PROGRESS_CHANNEL)
                    while not self._stopping.is_set():
                        message = channel.get_message(timeout=0.5)
                        if message is None:
                            continue
                        if message["type"] == "message":
                            self.take(message["data"])
                        else:
                            self._tried.set()
            except (RedisError, OSError):
                self._tried.set()
                self._stopping.wait(_PAUSE)


@contextmanager
def listening(settings: Settings) -> Iterator[WorkerProgress]:
    """Listen while the block runs; what is said in it is heard. Leaving it waits for nothing."""
    progress = WorkerProgress(settings, Notifier())
    progress.start()
    progress.await_subscription()
    try:
        yield progress
    finally:
        progress.end()


def seconds(heard: tuple[Heard, ...], sent: float, now: float | None = None) -> dict[str, float]:
    """Return how long each step took, from the sending of the request on.

    Args:
        heard: of one operator.
        sent: unix seconds when the request was accepted.
        now: unix seconds when the delivery was seen.
    """
    found, before = {}, sent
    names = {"taken": "queue", "fetched": "fetch", "computed": "inference", "published": "publish"}
    for one in heard:
        if one.step in names and names[one.step] not in found:
            found[names[one.step]] = max(0.0, one.at - before)
            before = one.at
    if found:
        found["deliver"] = max(0.0, (time.time() if now is None else now) - before)
    return found
