"""Puts together what makes traces: IPFS, weight cache, versions, executor.

A responder is idle most of the time: torch is imported with the first trace, not before.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from oracle.config import Settings
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array
from oracle.exact.program import Program
from oracle.exact.reference import ExecutionTrace
from oracle.ipfs.client import IpfsClient
from worker import traces
from worker.cache import FileCache
from worker.models import ModelPool
from worker.trace_files import TraceFiles
from worker.traces import Traces

_SHARE_OF_RAM = 0.25
_EXECUTORS = 2  # kept


def open_traces(settings: Settings, wanted: frozenset[str], log: Any) -> Traces:
    """Return the traces of an operator's deliveries; `wanted` are faults on purpose."""
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
