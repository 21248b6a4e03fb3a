"""What the responder serves off chain: the receipt of a delivery, and the tensors behind it.

```
 receipt(id) ─▶ delivery of ours, window open? ─▶ trace ─▶ signed? ──yes──▶ given
                                                             └─no─▶ `receipt` to the submitter, wait
```
Reads the store; only the submitter writes what is signed. Knows nothing of HTTP.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.logs import topic_of
from oracle.chain.versions import record_of
from oracle.errors import NotFound, PermanentError
from oracle.exact import files
from oracle.exact.tensors import TensorTree
from oracle.queue.messages import ReceiptMessage, TraceJob
from oracle.store.job import FINAL_STATES, JobState
from oracle.store.reply_repository import Statement
from oracle.store.store import Store
from oracle.types import Assurance, Bytes32, RequestId
from worker.traces import Traced, Traces, TracesBusy

PATIENCE = 10.0  # seconds that a caller waits for a trace, or for its signature
ASK_AGAIN = 5.0  # seconds between two messages about one receipt
_LOOK = 0.05  # seconds between two looks at the store
_SERVED = (JobState.DELIVERED, JobState.DEMANDED)
_OVER = FINAL_STATES | {JobState.FINALIZING}

Send = Callable[[ReceiptMessage], None]


class NoSuchTrace(NotFound):
    """There is no such delivery of ours, or it is not of an exact version."""


class WindowOver(PermanentError):
    """Nobody can challenge this delivery any more."""


class Contradiction(PermanentError):
    """Another trace is stood by: this machine computes differently than before."""


@dataclass(frozen=True, slots=True)
class SignedTrace:
    """What an operator says of one delivery."""

    request_id: RequestId
    output_root: Bytes32
    trace_root: Bytes32
    signature: bytes
    leaves: tuple[Bytes32, ...]


class TraceService:
    """Serves the traces of one operator. Safe for threads."""

    def __init__(
        self,
        store: Store,
        traces: Traces,
        send: Send,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._traces = traces
        self._send = send
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._asked: dict[RequestId, float] = {}
        self._lock = threading.Lock()

    def receipt(self, request_id: RequestId) -> SignedTrace:
        """Return the signed receipt with the leaves of the trace.

        Raises:
            NotServed, WindowOver: see `_job`. Busy: ask again later.
            Contradiction, OwnAnswerDiffers, …: this operator cannot stand by what it delivered.
        """
        job = self._job(request_id)
        committed = self._trace(job).committed
        root = committed.trace_root
        stated = self._signature(request_id, root)
        if stated.trace_root != root:
            raise Contradiction("the trace is not the one that is stood by")
        return SignedTrace(
            request_id, job.output_root, root, stated.signature, committed.trace_leaves
        )

    def tensor(self, request_id: RequestId, op: int) -> bytes:
        """Return the record of the tensor that operator `op` wrote. Errors as in `receipt`."""
        committed = self._trace(self._job(request_id)).committed
        program = committed.program
        if not 0 <= op < len(program.ops):
            raise NoSuchTrace(f"the program has no operator {op}")
        tree = committed.tree(program.id_of(op))
        assert isinstance(tree, TensorTree), "our own tensors are whole"
        return files.record(program.id_of(op), tree)

    def _job(self, request_id: RequestId) -> TraceJob:
        """Return what the trace of a delivery is made of.

        Raises:
            NotServed: not ours, or a float version's. WindowOver: settled, convicted or final.
            Busy: just delivered.
        """
        with self._store.read() as tx:
            job = tx.job(request_id)
            if job is None or job.delivery is None or job.state is JobState.LOST:
                raise NoSuchTrace("this operator delivered no such request")
            request, delivery = job.request, job.delivery
            if request.terms.assurance is not Assurance.EXACT:
                raise NoSuchTrace("the version is not exact: it has no trace")
            if job.state in _OVER:
                raise WindowOver(f"the delivery is {job.state}")
            if job.state not in _SERVED:  # the watcher is about to look
                raise TracesBusy(f"the delivery is {job.state}")
            logs = tx.logs_of_model(request.model_id, topic_of(VersionPublished))
        record = record_of(logs, request.version)
        return TraceJob(
            request_id, record.manifest_digest, record.model_root,
            request.input_root, request.input_cid, delivery.output_root,
        )  # fmt: skip

    def _trace(self, job: TraceJob) -> Traced:
        return self._traces.get(job, self._patience)

    def _signature(self, request_id: RequestId, root: Bytes32) -> Statement:
        deadline = self._clock() + self._patience
        while True:
            with self._store.read() as tx:
                stated = tx.statement(request_id)
            if stated is not None and (stated.signature or stated.trace_root != root):
                return stated
            self._ask(request_id, root)
            if self._clock() >= deadline:
                raise TracesBusy("the receipt is not signed yet", hint="ask again in a few seconds")
            self._sleep(_LOOK)

    def _ask(self, request_id: RequestId, root: Bytes32) -> None:
        """Ask the submitter for a signature, unless that was done a moment ago."""
        with self._lock:
            now = self._clock()
            self._asked = {i: at for i, at in self._asked.items() if now - at < ASK_AGAIN}
            if request_id in self._asked:
                return
            self._asked[request_id] = now
        self._send(ReceiptMessage(request_id, root))
