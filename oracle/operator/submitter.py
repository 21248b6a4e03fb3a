"""Turns answers, claims and settlements into transactions of the operator; the use of the key.

```
 message ─▶ answer recorded (first stands) ─▶ intent committed ─▶ tend(): sign, broadcast, follow
                                                      ▲                │ a batch was refused
                                                      └──── halves ◀───┘
```
Taking a message touches the store alone, never the chain: an outage of the node loses nothing and
blocks nobody. `tend` is called again and again by one thread. Knows nothing of Celery.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.contract import Call
from oracle.chain.outbox import AlreadyPending, EntryState, OutboxEntry
from oracle.errors import PermanentError
from oracle.exact.files import output_root
from oracle.ipfs.port import MAX_BLOCK, Ipfs
from oracle.metrics import SubmitterMetrics
from oracle.protocol import cid
from oracle.queue.messages import DeliverMessage, ReportFailureMessage
from oracle.store.job import Job, JobState, SlotPhase
from oracle.store.outbox import mined_above
from oracle.store.store import Store, Transaction
from oracle.types import NO_CLAIM, ZERO32, OperatorAnswer, Request, RequestId

MAX_DELIVERIES = 64  # in one transaction: about 1.3 M gas
CLAIM, DELIVER, FINALIZE, POST_OUTPUT = "claim", "deliver", "finalize", "post_output"
_CLAIMED_FIRST = (JobState.COMPUTING, JobState.CLAIMING)  # the watcher asks for it after the claim
_REPORTED = (DELIVER, POST_OUTPUT)  # a refused claim or settlement is asked for again in time


class Transactions(Protocol):
    """What is used of `oracle.chain.sender.Sender`."""

    def submit(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Commit an intent; raises AlreadyPending."""

    def step(self) -> list[OutboxEntry]:
        """Bring all transactions a step on; return those that ended."""


class Submitter:
    """One operator's hand; one per key. Threads may share it if they take turns."""

    def __init__(
        self,
        store: Store,
        market: InferenceMarket,
        sender: Transactions,
        ipfs: Ipfs,
        log: Any,
        *,
        metrics: SubmitterMetrics | None = None,
    ) -> None:
        self._store = store
        self._market = market
        self._sender = sender
        self._ipfs = ipfs
        self._log = log
        self.metrics = metrics or SubmitterMetrics()

    # ── Messages ────────────────────────────────────────────────────────────────────────────────

    def deliver(self, answers: Iterable[DeliverMessage]) -> None:
        """Record answers, then commit to deliver those that stand, many in one transaction."""
        given: dict[RequestId, OperatorAnswer] = {}
        for answer in answers:
            given.setdefault(
                answer.request_id,
                OperatorAnswer(answer.output_root, answer.output_cid, answer.units),
            )
        if not given:
            return
        with self._store.begin(forgettable=True) as tx:  # signing is what has to be durable
            tx.record_answers(given)
            ready = self._ready(tx, DELIVER, list(given))
        ready = [job for job in ready if job.state not in _CLAIMED_FIRST]
        for start in range(0, len(ready), MAX_DELIVERIES):
            self._intend(DELIVER, ready[start : start + MAX_DELIVERIES])

    def has_bytes(self, answer: DeliverMessage) -> bool:
        """Fetch an answer's bytes, and say whether the root is theirs: no other one is delivered.

        Raises:
            Unavailable: the bytes cannot be had now.
        """
        block = answer.output_root if answer.output_cid == ZERO32 else answer.output_cid
        try:
            data = self._ipfs.fetch_bytes(cid.raw_cid(block), MAX_BLOCK)
            right = block == answer.output_root or output_root(data) == answer.output_root
        except PermanentError as error:
            self._log.error("submit.no_answer", request_id=answer.request_id, error=str(error))
            return False
        if not right:
            self._log.error("submit.other_root", request_id=answer.request_id)
        return right

    def claim(self, request_id: RequestId) -> None:
        """Commit to take the exclusive right to answer a request."""
        self._submit(CLAIM, [request_id])

    def finalize(self, request_ids: Sequence[RequestId]) -> None:
        """Commit to settle deliveries."""
        self._submit(FINALIZE, request_ids)

    def post_output(self, request_id: RequestId) -> None:
        """Commit to post the output's bytes on chain: somebody demanded them."""
        self._submit(POST_OUTPUT, [request_id])

    def report_failure(self, failure: ReportFailureMessage, report: str | None) -> None:
        """Record that a request could not be answered; `report` tells a repeat from another."""
        self.metrics.failed(failure.error)
        self._log.warning(
            "submit.failure", request_id=failure.request_id, error=failure.error,
            message=failure.message, permanent=failure.permanent,
        )  # fmt: skip
        self._store.record_failure(
            failure.request_id, failure.error, failure.message, failure.permanent, report
        )

    # ── Transactions ────────────────────────────────────────────────────────────────────────────

    def tend(self) -> None:
        """Bring all transactions a step on, and split batches that were refused.

        Raises:
            Unavailable, RpcError, FundsInsufficient: see `Sender.step`; call again later.
        """
        for entry in self._sender.step():
            ids, kind = entry.request_ids, entry.kind.partition(":")[0]
            if entry.state is EntryState.MINED:
                self.metrics.ended(kind, "mined")
                self._log.info(
                    "submit.mined", kind=entry.kind, requests=len(ids), block=entry.block_number
                )
            elif len(ids) > 1:
                self.metrics.ended(entry.kind, "split")
                self._log.warning("submit.split", kind=entry.kind, requests=len(ids))
                middle = len(ids) // 2
                self._submit(entry.kind, ids[:middle])
                self._submit(entry.kind, ids[middle:])
            else:
                self._refused(entry)

    def _refused(self, entry: OutboxEntry) -> None:
        (request_id,) = entry.request_ids
        self.metrics.ended(entry.kind.partition(":")[0], "refused")
        self._log.warning(
            "submit.refused", kind=entry.kind, request_id=request_id, error=entry.error
        )
        if entry.kind in _REPORTED:  # not for good: the watcher knows when it is too late
            self._store.record_failure(
                request_id, "Refused", f"{entry.kind}: {entry.error}", False, f"outbox:{entry.id}"
            )

    def _submit(self, kind: str, request_ids: Sequence[RequestId]) -> None:
        with self._store.read() as tx:
            ready = self._ready(tx, kind, request_ids)
        self._intend(kind, ready)

    def _ready(self, tx: Transaction, kind: str, request_ids: Sequence[RequestId]) -> list[Job]:
        jobs = tx.jobs_of(request_ids)
        # settled above what the watcher has read: the contract skips those, and takes the gas
        done = mined_above(tx, tx.cursor() or 0, FINALIZE, request_ids)
        ready = [
            jobs[i]
            for i in dict.fromkeys(request_ids)
            if i in jobs and _is_ready(kind, jobs[i]) and i not in done
        ]
        if len(ready) < len(request_ids):  # gone in a reorg, done, or somebody else's by now
            self._log.info("submit.skipped", kind=kind, requests=len(request_ids) - len(ready))
        return ready

    def _intend(self, kind: str, ready: Sequence[Job]) -> None:
        while ready:
            ids = [job.request_id for job in ready]
            try:
                self._sender.submit(kind, ids, self._call(kind, ready))
            except AlreadyPending as pending:
                under_way = set(pending.entry.request_ids)
                ready = [job for job in ready if job.request_id not in under_way]
                continue
            self._log.info("submit.intent", kind=kind, requests=len(ids))
            return

    def _call(self, kind: str, jobs: Sequence[Job]) -> Call:
        first = jobs[0]
        if kind == CLAIM:
            return self._market.claim(first.request, _claim_of(first))
        if kind == DELIVER:
            return self._delivery_of(jobs)
        deliveries = [job.delivery for job in jobs if job.delivery is not None]
        if kind == FINALIZE:
            return self._market.finalize([job.request for job in jobs], deliveries)
        return self._market.post_output(first.request, deliveries[0], self._output_of(first))

    def _delivery_of(self, jobs: Sequence[Job]) -> Call:
        answers = [_billed(job.request, job.answer) for job in jobs if job.answer is not None]
        if len(jobs) == 1:
            return self._market.deliver(jobs[0].request, _claim_of(jobs[0]), answers[0])
        return self._market.deliver_batch(
            [job.request for job in jobs], [_claim_of(job) for job in jobs], answers
        )

    def _output_of(self, job: Job) -> bytes:
        block = job.output_cid
        if block == ZERO32 and job.delivery is not None:
            block = job.delivery.output_root
        return self._ipfs.fetch_bytes(cid.raw_cid(block), MAX_BLOCK)


def _is_ready(kind: str, job: Job) -> bool:
    if kind in (CLAIM, DELIVER):
        waits = job.delivery is None and job.phase in (SlotPhase.REQUESTED, SlotPhase.CLAIMED)
        return waits and (kind == CLAIM or job.answer is not None)
    return job.delivery is not None and job.phase is SlotPhase.DELIVERED


def _billed(request: Request, answer: OperatorAnswer) -> OperatorAnswer:
    """Return the answer as it is delivered: under a flat fee a manifest's unit counts nothing."""
    return answer if request.terms.max_units else replace(answer, units=0)


def _claim_of(job: Job) -> Any:
    return job.claim if job.phase is SlotPhase.CLAIMED else NO_CLAIM
