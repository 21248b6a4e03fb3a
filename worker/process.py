"""What one worker process has opened: each part when it is first asked for, all closed together.

The composition root of the tasks. The main process of a pool with children opens nothing before it
forks; one without children (`solo`) is its own child.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cached_property
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle import logs
from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.ipfs.client import IpfsClient
from oracle.operator import submit_process, watch_process
from oracle.operator.submit_process import KeyProcess
from oracle.operator.watcher import Watcher
from oracle.queue import celery_app
from oracle.queue.message import Message
from oracle.queue.messages import DeliverMessage
from oracle.rate_limit import Buckets
from oracle.store.store import Store
from worker import faults, infer_process, respond_process, trace_server
from worker.pipeline import Pipeline
from worker.roles import ROLES, require_torch, roles_of
from worker.trace_service import TraceService
from worker.traces import Traces


class WorkerProcess:
    """One process of the application."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        """Take what loads the settings; nothing is read yet."""
        self._load = load
        self._running = ExitStack()
        self._processes = 1
        self.roles: tuple[str, ...] = ()
        self.app: Celery = celery_app.create(lambda: self.settings)
        self.app.add_defaults(lambda: {"worker_concurrency": infer_process.processes()})

    # ── Parts ───────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def settings(self) -> Settings:
        """The settings of the operator."""
        return self._load()

    @cached_property
    def faults(self) -> frozenset[str]:
        """Faults on purpose (`worker.faults`)."""
        return faults.parse(self.settings.fault, self._log)

    @property
    def withholds(self) -> bool:
        """Whether no demand is answered and no trace served, on purpose."""
        return faults.WITHHOLD in self.faults

    @cached_property
    def ipfs(self) -> IpfsClient:
        """The IPFS node."""
        return IpfsClient(self.settings.ipfs_api, self.settings.ipfs_timeout)

    @cached_property
    def store(self) -> Store:
        """The operator's store."""
        return self._running.enter_context(closing(Store.open(self.settings.database_url)))

    @cached_property
    def pipeline(self) -> Pipeline:
        """What answers requests."""
        return infer_process.build_pipeline(self.settings, self._processes)

    @cached_property
    def traces(self) -> Traces:
        """The traces behind deliveries."""
        return respond_process.open_traces(self.settings, self.faults, self._log)

    @cached_property
    def watcher(self) -> Watcher:
        """What looks at the chain."""
        return watch_process.open_watcher(self.settings, self._running)

    @cached_property
    def key(self) -> KeyProcess:
        """What signs and sends.

        Raises:
            ConfigInvalid: this process does not serve the queue `submit`, so it has no key.
        """
        if DeliverMessage.queue not in self.roles:
            raise ConfigInvalid(
                "this process holds no key", hint=f"its queues: {', '.join(self.roles)}"
            )
        return submit_process.open_key(self.settings)

    def send(self, message: Message) -> None:
        """Put a message on its queue."""
        celery_app.send(self.app, message)

    # ── Life ────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, worker: Any) -> None:
        """Fit a Celery worker, before it has its pool, to the queues that it takes from.

        Raises:
            TallystickError: what the queues need is not there.
        """
        self.roles = roles_of(self.app.amqp.queues.consume_from, self.settings)
        self.configure_logs()
        needs = [ROLES[role] for role in self.roles]
        require_torch(self.roles)
        if any(role.solo for role in needs):
            worker.pool_cls, worker.concurrency = "solo", 1
        if any(role.one_by_one for role in needs):
            worker.prefetch_multiplier = 1
        self._processes = worker.concurrency
        holds_key = DeliverMessage.queue in self.roles
        if holds_key:
            self.key  # noqa: B018 - a key that does not open ends the process here
        self._log.info(
            "worker.starts", queues=self.roles, processes=self._processes, holds_key=holds_key
        )

    def configure_logs(self) -> None:
        """Send logs where ours go, and as they are written, instead of Celery's way."""
        logs.configure(self.settings, role="+".join(self.roles) or "celery")

    def warm_up(self) -> None:
        """Get ready for the first message; in every process of the pool."""
        if "infer" in self.roles:
            self.pipeline  # noqa: B018 - models' libraries are imported now, not with a request

    def start(self) -> None:
        """Start what runs beside the tasks: transactions are followed, traces served."""
        if "submit" in self.roles:
            self._running.enter_context(self.key.running())
        if "respond" in self.roles and not self.withholds:
            service = TraceService(self.store, self.traces, self.send)
            limit = Buckets(kept=trace_server.ADDRESSES)
            offered = trace_server.application(service, limit, self._log)
            self._running.enter_context(
                trace_server.serving(offered, self.settings.listen, self._log)
            )

    def close(self) -> None:
        """Stop what was started and close what was opened."""
        self._running.close()

    @property
    def _log(self) -> Any:
        return structlog.get_logger("tallystick.worker")
