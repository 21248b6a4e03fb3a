"""The Celery application of one operator: broker, queues, reliability. Connects to nothing itself.

JSON only: a message can never carry code. Acknowledged late: a message is gone when its effect is
there, and comes back when its process dies. No results: effects are messages and transactions.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery, signals  # type: ignore[import-untyped]  # it ships no types

from oracle.config import Settings

VISIBILITY_TIMEOUT = 300  # seconds until Redis hands a message of a dead worker to another one
SOCKET_TIMEOUT = 10.0  # seconds
START_TIMEOUT = 120.0  # seconds a process may take to import torch


def create(settings: Settings, role: str) -> Celery:
    """Return the application for a role, `infer` or `submit`; its module adds the tasks."""
    app = Celery("tallystick", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        task_default_queue=settings.queue(role),
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_store_errors_even_if_ignored=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=START_TIMEOUT,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,  # nobody commands workers through the queue
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": True,
        },
        task_publish_retry_policy={"max_retries": 8, "interval_start": 0.1, "interval_max": 5.0},
    )
    return app


def serve(
    app: Celery, *, pool: str, processes: int, prefetch: int, queues: Sequence[str] = ()
) -> int:
    """Work until SIGTERM or SIGINT, then finish what is under way; return the exit code.

    Args:
        pool: Celery's name of one: "prefork" or "solo".
        processes: of a prefork pool.
        prefetch: messages that each process may hold.
        queues: full names, taken from in turn; the role's own when left out.
    """
    signals.setup_logging.connect(_keep_logging, weak=False)
    app.conf.worker_prefetch_multiplier = prefetch
    worker = app.Worker(
        pool=pool, concurrency=processes, quiet=True, without_mingle=True, without_gossip=True,
        queues=list(queues) or None,
    )  # fmt: skip
    worker.start()
    return int(worker.exitcode or 0)


def _keep_logging(**_: Any) -> None:
    """Keep Celery from setting up logs: `oracle.logs.configure` has done it."""
