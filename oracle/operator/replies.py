"""What a dispute makes of a delivery: which answers this operator owes, and the messages for them.

Pure but for `Replies`, the loop's hand. As with jobs, nothing is moved: what is owed is a fold of
the game's events (docs/exact.md, section 7), so a replay, a crash or a reorg needs no code.

```
 Challenged, no witness, no trace yet ─▶ trace ─▶ TraceCommitted
 NodeDemanded ─▶ node ─▶ NodeOpened · LeavesRevealed           ─▶ nothing owed
 StepDemanded ─▶ step ─▶ StepAnswered
                   request over · ChallengeFailed
```
A demand is a message `tallystick.respond` on the queue `respond`, sent again after a quarter of the
time that is left, and at once when the queue has lost its memory; none after its deadline.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from oracle.chain.bindings.dispute_game import (
    BondReleased,
    Challenged,
    ChallengeFailed,
    LeavesRevealed,
    NodeDemanded,
    NodeOpened,
    StepAnswered,
    StepDemanded,
    TraceCommitted,
)
from oracle.chain.event import Event
from oracle.operator.jobs import Clock
from oracle.queue.broker import JobQueue
from oracle.queue.messages import RespondMessage, TraceJob
from oracle.store.job import Job, SlotPhase
from oracle.store.reply_repository import GameTurn, Reply, ReplyKind
from oracle.store.store import Store, Transaction
from oracle.types import ZERO32, Address, VersionRecord

BATCH = 100  # replies in one transaction
_SHORTEST = 1.0  # seconds between two messages about one demand
_ENDS = (NodeOpened, LeavesRevealed, StepAnswered, ChallengeFailed, BondReleased)

VersionOf = Callable[[Transaction, int, int], VersionRecord]


def owed(job: Job, events: Iterable[Event], me: Address) -> tuple[GameTurn, ...]:
    """Return what is owed about a request, by its events, oldest first."""
    mine = job.delivery is not None and job.delivery.operator == me
    if not mine or job.phase is not SlotPhase.DELIVERED:
        return ()
    open_: dict[Address, GameTurn] = {}
    committed = False
    for event in events:
        match event:
            case Challenged():
                if event.witness == ZERO32 and not committed:
                    open_[event.challenger] = GameTurn(
                        event.challenger, ReplyKind.TRACE, event.deadline
                    )
            case TraceCommitted():
                committed = True
                open_ = {c: d for c, d in open_.items() if d.ask is not ReplyKind.TRACE}
            case NodeDemanded():
                place = (event.op, event.level, event.index)
                open_[event.challenger] = GameTurn(
                    event.challenger, ReplyKind.NODE, event.deadline, *place
                )
            case StepDemanded():
                place = (event.op, event.row, event.col)
                open_[event.challenger] = GameTurn(
                    event.challenger, ReplyKind.STEP, event.deadline, *place
                )
            case _ if isinstance(event, _ENDS):
                open_.pop(event.challenger, None)
    return tuple(open_.values())


def sent(reply: Reply, clock: Clock) -> Reply:
    """Note that the queue took a message, and when to send the next one."""
    left = reply.demand.deadline - clock.chain
    return replace(
        reply,
        attempt=reply.attempt + 1,
        retry_at=clock.wall + max(_SHORTEST, left / 4),
        generation=clock.generation,
    )


def message(reply: Reply, job: Job, version: VersionRecord) -> RespondMessage:
    """Say in a message what is owed, with all that an answer is made of."""
    request = job.request
    assert job.delivery is not None, "owed for a delivery"
    trace = TraceJob(
        request_id=reply.request_id,
        manifest_digest=version.manifest_digest,
        model_root=version.model_root,
        input_root=request.input_root,
        input_cid=request.input_cid,
        output_root=job.delivery.output_root,
    )
    return RespondMessage(trace, reply.demand)


def task_id(reply: Reply) -> str:
    """Return the Celery id of the next message about a demand."""
    demand = reply.demand
    place = f"{demand.ask}-{demand.op}-{demand.first}-{demand.second}"
    request_id = "0x" + reply.request_id.hex()
    return f"respond:{request_id}:{demand.challenger}:{place}:{reply.attempt + 1}"


class Replies:
    """Puts on the queue what is due; used by the watcher in every cycle."""

    def __init__(self, store: Store, queue: JobQueue, version_of: VersionOf) -> None:
        self._store = store
        self._queue = queue
        self._version_of = version_of

    def send(self, clock: Clock) -> int:
        """Send what is due and note it; return how many messages. A crash in here sends again.

        Raises:
            Unavailable: queue or store cannot be used.
        """
        with self._store.read() as tx:
            due = tx.due_replies(clock.chain, clock.wall, clock.generation, BATCH)
            jobs = tx.jobs_of(reply.request_id for reply in due)
            outgoing = [
                (reply, self._message(tx, reply, jobs[reply.request_id]))
                for reply in due
                if reply.request_id in jobs
            ]
        taken: list[Reply] = []
        try:
            for reply, owed_message in outgoing:
                self._queue.send(owed_message, task_id(reply))
                taken.append(reply)
        finally:
            if taken:
                with self._store.begin() as tx:  # only the watcher writes them
                    tx.put_replies(sent(reply, clock) for reply in taken)
        return len(taken)

    def _message(self, tx: Transaction, reply: Reply, job: Job) -> RespondMessage:
        version = self._version_of(tx, job.request.model_id, job.request.version)
        return message(reply, job, version)
