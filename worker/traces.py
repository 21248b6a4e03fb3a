"""Makes the trace behind a delivery again: version and input fetched by digest, run, compared.

```
 TraceJob ─▶ in memory? ─▶ on disk? ─▶ version (pool), input (IPFS, checked) ─▶ execute ─▶ kept
```
An honest machine gives the roots it delivered. One that does not has lost this dispute already, and
says so: nothing that contradicts its delivery ever leaves it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from oracle.errors import DigestMismatch, PermanentError, TransientError
from oracle.exact import files, version
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array
from oracle.exact.program import Program
from oracle.exact.reference import ExecutionTrace
from oracle.exact.version import ExactVersion
from oracle.ipfs.port import MAX_BLOCK, Ipfs
from oracle.protocol import cid
from oracle.protocol.manifest import Manifest
from oracle.queue.messages import TraceJob
from oracle.types import ZERO32, Bytes32
from worker import faults
from worker.models import ModelPool
from worker.runtimes.base import Files, Params
from worker.trace_files import TraceFiles

Execute = Callable[[Program, Constants, Sequence[Array]], ExecutionTrace]
KEPT = 4  # traces in memory
KEPT_BYTES = 512 << 20  # of their tensors


class OwnAnswerDiffers(PermanentError):
    """Executing the request again gives another output than was delivered."""


class TracesBusy(TransientError):
    """Other traces are being made."""


@dataclass(frozen=True)
class Traced:
    """What answers are made of."""

    constants: Constants
    committed: Committed


class LoadedVersion:
    """An exact version as `ModelPool` keeps it."""

    def __init__(self, loaded: ExactVersion) -> None:
        self.version = loaded
        self.nbytes = sum(loaded.constants.tree(n).stored.nbytes for n in loaded.constants)

    def run(self, inputs: Any, params: Params) -> dict[str, Array]:
        """Not here: only traces are made of it."""
        raise NotImplementedError


def load(manifest: Manifest, files: Files, model_root: Bytes32, device: str) -> LoadedVersion:
    """Load program and constants (a `worker.models.Load`). Errors as in `version.read`."""
    return LoadedVersion(version.read(manifest, files, model_root))


class Traces:
    """The traces of one operator's deliveries. Safe for threads: one trace is made at a time."""

    def __init__(
        self,
        ipfs: Ipfs,
        pool: ModelPool,
        kept: TraceFiles,
        execute: Execute,
        *,
        log: Any,
        faults: frozenset[str] = frozenset(),
    ) -> None:
        self._ipfs = ipfs
        self._pool = pool
        self._kept = kept
        self._execute = execute
        self._log = log
        self._faults = faults
        self._recent: OrderedDict[tuple[bytes, bytes], Traced] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, job: TraceJob, patience: float = -1) -> Traced:
        """Return a delivery's trace.

        Args:
            job: the delivery.
            patience: seconds to wait for other traces; -1 = as long as it takes.

        Raises:
            OwnAnswerDiffers: the output is not the delivered one.
            Busy: the patience is over.
            DigestMismatch, InputInvalid, CidUnresolved, Unavailable: the version or the input
                cannot be had, or is not what the chain says.
        """
        key = (job.request_id, job.output_root)
        with self._turn(patience):
            if key not in self._recent:
                self._recent[key] = self._make(job)
            self._recent.move_to_end(key)
            found = self._recent[key]
            self._forget()
            return found

    @contextmanager
    def _turn(self, patience: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=patience):
            raise TracesBusy("other traces are being made", hint="ask again in a few seconds")
        try:
            yield
        finally:
            self._lock.release()

    def _make(self, job: TraceJob) -> Traced:
        runtime = self._pool.get(job.manifest_digest, job.model_root).runtime
        assert isinstance(runtime, LoadedVersion), "the pool loads with `load`"
        program, constants = runtime.version.program, runtime.version.constants
        if (kept := self._kept.get(job, program)) is not None:
            return Traced(constants, kept)
        trace = self._execute(program, constants, self._input(job))
        tensors = trace.tensors
        if faults.OUTPUT_BYTE in self._faults:
            tensors = faults.spoil_trace(tensors)
        committed = Committed(program, tensors)
        if committed.output_root != job.output_root:
            raise OwnAnswerDiffers(
                f"the output has root 0x{committed.output_root.hex()}, delivered was "
                f"0x{job.output_root.hex()}",
                hint="this machine and the one that answered compute differently: check memory "
                "and versions; the delivery will be convicted",
            )
        self._kept.put(job, committed)
        self._log.info("trace.made", request_id=job.request_id, operators=len(program.ops))
        return Traced(constants, committed)

    def _input(self, job: TraceJob) -> list[Array]:
        block = job.input_root if job.input_cid == ZERO32 else job.input_cid
        data = self._ipfs.fetch_bytes(cid.raw_cid(block), MAX_BLOCK)
        if (root := files.input_root(data)) != job.input_root:
            raise DigestMismatch(
                f"the input has root 0x{root.hex()}, the request says 0x{job.input_root.hex()}"
            )
        return [tree.array for tree in files.read_inputs(data)]

    def _forget(self) -> None:
        def size(traced: Traced) -> int:
            return sum(tensor.nbytes for tensor in traced.committed.tensors)

        while len(self._recent) > 1 and (
            len(self._recent) > KEPT or sum(map(size, self._recent.values())) > KEPT_BYTES
        ):
            self._recent.popitem(last=False)
