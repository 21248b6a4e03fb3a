"""The Celery application of one operator: broker, routes, reliability. Connects to nothing itself.

JSON only: a message can never carry code. Acknowledged late: a message is gone when its effect is
there, and comes back when its process dies. No results: effects are messages and transactions.
"""

import functools
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types
from redis import Redis
from redis.exceptions import RedisError

from oracle.config import Settings
from oracle.queue.dead import put_aside
from oracle.queue.message import Message
from oracle.queue.messages import MESSAGES, InferMessage, WatchMessage
from oracle.queue.seal import MessageForged, Seal

VISIBILITY_TIMEOUT = 300  # seconds until Redis hands a message of a dead worker to another one
SOCKET_TIMEOUT = 10.0  # seconds
START_TIMEOUT = 600.0  # seconds a process may take to import torch
PREFETCH = 64  # messages that each process may hold: a batch
SHARED = "tallystick"  # what operators without a name share


def create(load: Callable[[], Settings]) -> Celery:
    """Return the application; `load` is called when Celery asks for its configuration first."""
    app = Celery("tallystick", set_as_current=False)
    app.add_defaults(lambda: _configuration(load()))
    app.tallystick_settings = load
    app.tallystick_seal = functools.cache(lambda: Seal.of(load()))
    return app


def send(app: Celery, message: Message, task_id: str | None = None, delay: float = 0) -> None:
    """Seal a message and put it on the queue of its task.

    Args:
        task_id: Celery's; random when left out.
        delay: seconds until it may be taken.
    """
    task_id = task_id or str(uuid.uuid4())
    sealed = app.tallystick_seal().close(message, task_id)
    app.send_task(message.name, kwargs=sealed, task_id=task_id, countdown=delay or None)


def opened(app: Celery, kind: type[Message], task_id: str, body: Any) -> Mapping[str, Any] | None:
    """Return a message's arguments; None when it is forged: then it is put aside and logged."""
    try:
        opened_body: Mapping[str, Any] = app.tallystick_seal().open(kind.name, task_id, body)
    except MessageForged as error:
        structlog.get_logger("tallystick.queue").error(
            "queue.forged", task=kind.name, task_id=str(task_id)[:80], hint=error.hint
        )
        _put_aside(app.tallystick_settings(), kind, body)
        return None
    return opened_body


def _put_aside(settings: Settings, kind: type[Message], body: Any) -> None:
    if not settings.on_redis:
        return
    timeout = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT}
    with suppress(RedisError), closing(Redis.from_url(settings.redis_url, **timeout)) as redis:
        put_aside(redis, settings.queue(kind.queue), body)


def _configuration(settings: Settings) -> dict[str, Any]:
    ours = settings.on_redis
    return {
        "broker_url": settings.redis_url,
        "broker_transport": "oracle.queue.redis_transport:Transport" if ours else None,
        "task_default_queue": settings.queue(InferMessage.queue),
        "task_routes": {
            message.name: {"queue": settings.queue(message.queue)} for message in MESSAGES
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_store_errors_even_if_ignored": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_proc_alive_timeout": START_TIMEOUT,
        "worker_prefetch_multiplier": PREFETCH,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Operators that share a broker neither see nor command each other's workers.
        "worker_enable_remote_control": settings.remote_control,
        "control_exchange": settings.operator or SHARED,
        "event_exchange": f"{settings.operator or SHARED}.events",
        "event_queue_prefix": f"{settings.operator or SHARED}.events",
        # Nothing of the schedule is worth a file: a look that was missed is made up by the next.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": {
            "watch": {
                "task": WatchMessage.name,
                "schedule": settings.poll_interval,
                "options": {"expires": max(1.0, settings.poll_interval)},
            }
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": True,
        },
        "task_publish_retry_policy": {
            "max_retries": 8,
            "interval_start": 0.1,
            "interval_max": 5.0,
        },
    }
