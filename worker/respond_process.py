"""The responder's process: answers demands, audits others' answers, serves traces over HTTP.

Has models and the store, but no key. The composition root of respond.py, traces.py and
trace_server.py. It is idle most of the time: torch is imported with the first trace, not before.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import structlog

from oracle.config import Settings
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array
from oracle.exact.program import Program
from oracle.exact.reference import ExecutionTrace
from oracle.ipfs.client import IpfsClient
from oracle.queue import celery_app
from oracle.rate_limit import Buckets
from oracle.store.store import Store
from worker import faults, trace_server, traces
from worker.cache import FileCache
from worker.models import ModelPool
from worker.tasks import audit, respond
from worker.trace_files import TraceFiles
from worker.trace_service import TraceService
from worker.traces import Traces

QUEUES = ("respond", "audit")  # taken from in turn: no demand waits behind many audits
_SHARE_OF_RAM = 0.25
_EXECUTORS = 2  # kept


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    log = structlog.get_logger("tallystick.responder")
    wanted = faults.parse(settings.fault, log)
    application = celery_app.create(settings, QUEUES[0])

    def send(name: str, payload: dict[str, Any]) -> None:
        application.send_task(name, kwargs=payload, queue=settings.queue("submit"), retry=True)

    if faults.WITHHOLD in wanted:
        respond.register_silence(application)
        return _serve(application, settings)
    made = open_traces(settings, wanted, log)
    respond.register(application, made, send)
    with closing(Store.open(settings.database_url)) as store:
        audit.register(application, made, store)
        offered = trace_server.application(
            TraceService(store, made, send), Buckets(kept=trace_server.ADDRESSES), log
        )
        with trace_server.serving(offered, settings.listen, log):
            return _serve(application, settings)


def _serve(application: Any, settings: Settings) -> int:
    queues = [settings.queue(role) for role in QUEUES]
    return celery_app.serve(application, pool="solo", processes=1, prefetch=1, queues=queues)


def open_traces(settings: Settings, wanted: frozenset[str], log: Any) -> Traces:
    """Put together what makes traces: IPFS, weight cache, versions, executor."""
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    cache = FileCache(settings.state_dir / "cache", settings.cache_bytes, ipfs, log)
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _SHARE_OF_RAM)
    pool = ModelPool(ipfs, cache, traces.load, device="cpu", max_bytes=memory, log=log)
    kept = TraceFiles(settings.state_dir / "traces", settings.trace_bytes, log)
    return Traces(ipfs, pool, kept, Executors(), log=log, faults=wanted)


class Executors:
    """Runs programs with the fast executor (a `traces.Execute`), on the CPU: no GPU is taken."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Any] = OrderedDict()

    def __call__(
        self, program: Program, constants: Constants, inputs: Sequence[Array]
    ) -> ExecutionTrace:
        from worker.exact.kernels.executor import Executor  # noqa: PLC0415 - imports torch

        if program.model_root not in self._kept:
            self._kept[program.model_root] = Executor(program, constants)
            while len(self._kept) > _EXECUTORS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(program.model_root)
        trace: ExecutionTrace = self._kept[program.model_root].trace(inputs)
        return trace
