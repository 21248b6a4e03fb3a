"""Turns finalized logs into messages on the operator's queue; restarts, reorgs, outages included.

The loop around `jobs.py`, which says what to do; docs/operator.md shows one cycle as a
picture and what a crash at each line leaves behind. Holds no key.
`watch_process.py` runs it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import structlog

from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.logs import topic_of
from oracle.chain.rpc import RpcError
from oracle.chain.versions import record_of
from oracle.errors import TransientError
from oracle.metrics import WatcherMetrics
from oracle.operator import jobs
from oracle.operator.follower import Chain, Followed, Follower
from oracle.operator.job_messages import Parcel, parcels
from oracle.operator.jobs import Clock, Operator
from oracle.operator.replies import Replies
from oracle.patience import Breath, QuietPace
from oracle.queue.broker import JobQueue
from oracle.stopping import Stop
from oracle.store.chain_repository import RewindNeeded
from oracle.store.job import Job, JobState, JobStep
from oracle.store.store import Store, Transaction
from oracle.types import Contracts, RequestId, VersionRecord

BATCH = 500  # jobs concluded in one transaction
BACKOFF_FIRST = 0.25  # seconds; doubles with every failed cycle
BACKOFF_LAST = 5.0  # seconds
# What a cycle may fail with and be tried again: a server is away, the node answers nonsense, or the
# chain changed between two of its answers. Whatever else goes wrong ends the process.
PASSING = (TransientError, RpcError, RewindNeeded)
NOTHING_NEW = Followed()


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one look found and did."""

    found: Followed
    messages: int


class Watcher:
    """One operator's eye on the chain."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        queue: JobQueue,
        operator: Operator,
        contracts: Contracts,
        *,
        finality_depth: int = 0,
        now: Callable[[], float] = time.time,
        metrics: WatcherMetrics | None = None,
    ) -> None:
        """Take the collaborators; nothing is read yet.

        Args:
            chain: reader of blocks and of the contracts' logs.
            store: of this operator alone.
            queue: where messages go.
            operator: whose jobs these are.
            contracts: the deployment that is watched.
            finality_depth: blocks below the head that count as final.
            now: wall clock, unix seconds.
            metrics: what is counted.
        """
        self._stop = Stop()
        self._follower = Follower(
            chain,
            store,
            operator.address,
            contracts,
            finality_depth=finality_depth,
            stop=self._stop,
        )
        self._store = store
        self._queue = queue
        self._operator = operator
        self._replies = Replies(store, queue, self._version)
        self._now = now
        self._metrics = metrics or WatcherMetrics()
        self._log = structlog.get_logger("tallystick.watcher")

    def cycle(self) -> Cycle:
        """Follow the chain to its finalized head, then put on the queue what is due.

        Raises:
            WrongChain: the node serves another chain.
            TransientError, RpcError: chain, store or queue could not be used. Nothing is lost; the
                next cycle goes on.
        """
        found = self._follower.follow()
        self._metrics.looked(found.blocks, found.logs, found.rewound)
        done = Cycle(found, self._dispatch())
        if done.messages or found != NOTHING_NEW:
            with self._store.read() as tx:
                counts, block = tx.job_counts(), tx.cursor()
            self._metrics.put_aside(self._queue.dead())
            self._metrics.know(block or 0, {state: counts.get(state, 0) for state in JobState})
        return done

    # ── Messages ────────────────────────────────────────────────────────────────────────────────

    def _dispatch(self) -> int:
        """Conclude what is due, store it, send it, and note what was taken; return messages."""
        generation = self._queue.generation()
        messages = 0
        while not self._stop.is_set():
            looked, outgoing = self._conclude(generation)
            self._send(outgoing, generation)
            messages += len(outgoing)
            if looked < BATCH:
                break
        return messages + self._reply(generation)

    def _reply(self, generation: str) -> int:
        """Put on the queue what disputes wait for; return messages."""
        with self._store.read() as tx:
            newest = tx.newest_block()
        if newest is None:
            return 0
        sent = self._replies.send(Clock(newest.timestamp, self._now(), generation))
        for _ in range(sent):
            self._metrics.sent("respond")
        return sent

    def _conclude(self, generation: str) -> tuple[int, list[Parcel]]:
        wall, pause = self._now(), self._operator.longest_pause
        with self._store.read() as tx:
            if not (newest := tx.newest_block()):
                return 0, []
            clock = Clock(newest.timestamp, wall, generation)
            if not tx.due(clock.chain, wall, generation, 1, longest_pause=pause):
                return 0, []
        with self._store.begin(forgettable=True) as tx:
            due = tx.due(clock.chain, wall, generation, BATCH, longest_pause=pause)
            models = {job.request.model_id for job in due}
            may = {model: tx.is_authorized(model, self._operator.address) for model in models}
            looked = [
                jobs.advance(job, clock, self._operator, may[job.request.model_id]) for job in due
            ]
            tx.put_jobs(job for job, _ in looked)
            sending = [job for job, send in looked if send]
            late = self._beyond_capacity(tx, sending)
            tx.put_jobs(jobs.postpone(job, clock, self._operator) for job in late)
            sending = [job for job in sending if job not in late]
            version_of = cache(partial(self._version, tx))
            return len(due), parcels(sending, version_of)

    def _beyond_capacity(self, tx: Transaction, sending: list[Job]) -> list[Job]:
        """Return what could be taken over, but for which there is too much work already."""
        more = [job for job in sending if job.state is JobState.COMPUTING and job.attempt == 1]
        if not more:
            return []
        busy = tx.under_way(JobStep.INFER) - len(more)
        return more[max(0, self._operator.max_claims - busy) :]

    def _send(self, outgoing: list[Parcel], generation: str) -> None:
        """Hand over messages; a crash in here sends them again."""
        taken: list[RequestId] = []
        try:
            for parcel in outgoing:
                self._queue.send(parcel.message, parcel.task_id)
                self._metrics.sent(parcel.jobs[0].step)
                taken += [job.request_id for job in parcel.jobs]
                self._log.info("message_sent", task_id=parcel.task_id)
        finally:
            if taken:
                # nothing else: the submitter may have woken them
                with self._store.begin(forgettable=True) as tx:
                    tx.jobs_sent(taken, generation)

    def _version(self, tx: Transaction, model_id: int, version: int) -> VersionRecord:
        return record_of(tx.logs_of_model(model_id, topic_of(VersionPublished)), version)

    # ── The process ─────────────────────────────────────────────────────────────────────────────

    def run(self, interval: float) -> None:
        """Repeat cycles until `stop`; wait longer and longer while they fail.

        Args:
            interval: seconds between two cycles; see `QuietPace` for what is longer.

        Raises:
            PermanentError: something that a repetition does not mend, e.g. WrongChain.
        """
        trouble, failed, pace, breath = "", 0, QuietPace(interval), Breath()
        while not self._stop.is_set():
            try:
                with breath.step():
                    done = self.cycle()
            except PASSING as error:
                self._metrics.failed(error)
                if trouble != type(error).__name__:
                    self._log.warning("waiting", reason=str(error), hint=error.hint)
                trouble, failed = type(error).__name__, failed + 1
                self._stop.wait(min(BACKOFF_LAST, BACKOFF_FIRST * 2 ** min(failed, 10)))
                continue
            if trouble:
                self._log.info("going_on")
            trouble, failed = "", 0
            if done.found.logs or done.messages:
                self._log.debug("cycle", logs=done.found.logs, messages=done.messages)
                pace.news()
            self._stop.wait(pace.pause(), wakeable=True)
            self._stop.wait(breath.left())

    def new_block(self) -> None:
        """Hear of a new block: look at once."""
        self._stop.wake()

    def stop(self) -> None:
        """End `run` after the transaction or message at hand; safe in a signal handler."""
        self._stop.set()
