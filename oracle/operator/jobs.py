"""How an operator behaves: what each fact about a request makes of the job, and what to do then.

Pure: no clock, no store, no chain. `watcher.py` is the loop that brings facts here and
carries out what comes back.

A job's state is never *moved*; it is *concluded* from facts: the request's events in the order of
the chain, the answer or the failures that this operator recorded, and the time of the finalized
head. Equal facts give an equal state, however often they were told and whatever happened between,
so that a replay, a crash or a reorg (forget the removed events, fold the rest again) needs no code
of its own.

```
             Requested, and I am the preferred operator
     ┌──────────────────────────────────────────────────────────┐
     │                                                          ▼  [infer]
  waiting ◀──────── claimed by another ────────┐              queued ─────────▶ delivering
     │                                         │                     answered    │ [deliver]
     │ priority over, nobody holds a claim     │                                 │
     └─────────────▶ computing ────────────▶ claiming ───────────────────────────┤
                       [infer]    answered     [claim]      Claimed by me        │
                                                                                 │ Delivered by me
                     demand answered           window passed,                  ▼
          demanded ◀──────────────▶ delivered ◀─────────────────────── (delivered)
          [post_output]                 │       no dispute, no demand
                                        ▼
                                   finalizing ──────────▶ settled
                                    [finalize]  Finalized

  from every open state:  Delivered or Finalized by another, or nobody in time ─▶ lost
                          Cancelled ─▶ cancelled     own failure, conviction ─▶ failed
```
`[step]` is the message that a state wants on the queue. It is sent when the state is entered, and
again while the state lasts: after `requeue_after` (doubling), after a quarter of the time that is
left where lateness costs (deliver, post_output), after a reported failure, and at once when the
queue has lost its memory. Messages are therefore *at least once*; effects are exactly
once because the contract accepts one delivery per request and the submitter stands by one answer.

Times are chain times; a deadline has passed when it is reached, as in the contracts. Every
comparison below flips at one of `_boundaries`: a job looked at when `wake_at` comes is never late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from oracle.chain.bindings.inference_market import Requested
from oracle.chain.event import Event
from oracle.operator import request_life
from oracle.store.job import (
    AT_ONCE,
    FINAL_STATES,
    NEVER,
    NO_DEMAND,
    Job,
    JobState,
    JobStep,
    SlotPhase,
)
from oracle.types import Address, Timestamp

_STEP_OF = {
    JobState.COMPUTING: JobStep.INFER,
    JobState.CLAIMING: JobStep.CLAIM,
    JobState.QUEUED: JobStep.INFER,
    JobState.DELIVERING: JobStep.DELIVER,
    JobState.DEMANDED: JobStep.POST_OUTPUT,
    JobState.FINALIZING: JobStep.FINALIZE,
}
NOT_SENT = ""  # the generation of a message that no queue has taken yet
_MAX_DOUBLINGS = 5  # a message is repeated at the latest after 32 × requeue_after
_URGENT_AFTER = 1.0  # seconds: the shortest pause between two messages of one job


@dataclass(frozen=True, slots=True)
class Operator:
    """Whose jobs these are, and how eager this operator is."""

    address: Address
    claims: bool = True  # take over requests that others left
    max_claims: int = 32  # takes over no further requests while so many wait for an answer
    claim_margin: int = 2  # seconds before expiry in which a claim is not worth its risk
    max_failures: int = 3  # reported failures after which a job is given up
    requeue_after: float = 60.0  # seconds of wall time without progress
    retry_failed_after: float = 2.0  # seconds of wall time after a reported failure

    @property
    def longest_pause(self) -> float:
        """Seconds until a message is repeated at the latest."""
        return max(self.requeue_after, self.retry_failed_after) * float(2**_MAX_DOUBLINGS)


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the finalized head, that of this machine, and the queue that listens.

    This machine's may jump: a time to try again that is further away than any pause is over.
    """

    chain: Timestamp
    wall: float  # unix seconds
    generation: str  # changes when the queue has lost its messages


def from_events(requested: Requested, later: Iterable[Event] = ()) -> Job:
    """Fold the events of one request, oldest first, into a job that nobody has looked at yet."""
    return request_life.fold(Job(requested.request_id, requested.request), later)


def refold(job: Job, requested: Requested, later: Iterable[Event] = ()) -> Job:
    """Replace what the chain said by what it says now; keep what this operator did.

    A job that had ended is open again until somebody looks.
    """
    chain = from_events(requested, later)
    return replace(
        job,
        request=chain.request,
        phase=chain.phase,
        claim=chain.claim,
        delivery=chain.delivery,
        output_cid=chain.output_cid,
        disputes=chain.disputes,
        demand_until=chain.demand_until,
        challenge_until=chain.challenge_until,
        state=job.state if job.open else JobState.WAITING,
        wake_at=AT_ONCE,
    )


def advance(job: Job, clock: Clock, operator: Operator, authorised: bool) -> tuple[Job, bool]:
    """Conclude from all that is known what the job is now, and what is to be sent.

    Args:
        job: with all events up to the clock's chain time folded in.
        clock: time of the finalized head and of this machine.
        operator: whose job it is.
        authorised: whether the operator is authorised for the model at that time.

    Returns:
        The job, and whether to put `job.step` on the queue, once the job has been stored.
    """
    state = state_of(job, clock.chain, operator, authorised)
    step = _STEP_OF.get(state, JobStep.NONE)
    settled = replace(job, state=state, wake_at=_wake_at(job, clock.chain, operator, state))
    if step is JobStep.NONE:
        return replace(settled, step=step, attempt=0, retry_at=0.0, generation=NOT_SENT), False
    if step is not job.step:
        # The submitter records the answer and goes on to deliver it: it needs no message.
        silent = job.state is JobState.QUEUED and state is JobState.DELIVERING
        return _send(replace(settled, attempt=0), step, clock, operator, silent)
    if job.failures > job.failures_seen:
        delay = operator.retry_failed_after * 2 ** min(job.failures - 1, _MAX_DOUBLINGS)
        return replace(settled, failures_seen=job.failures, retry_at=clock.wall + delay), False
    waits = clock.wall < job.retry_at <= clock.wall + operator.longest_pause
    if not waits or clock.generation != job.generation:
        return _send(settled, step, clock, operator, silent=False)
    return settled, False


def _send(
    job: Job, step: JobStep, clock: Clock, operator: Operator, silent: bool
) -> tuple[Job, bool]:
    delay = operator.requeue_after * 2 ** min(job.attempt, _MAX_DOUBLINGS)
    delay = min(delay, max(_URGENT_AFTER, (_deadline(job, step) - clock.chain) / 4))
    sending = replace(
        job,
        step=step,
        attempt=job.attempt + 1,
        failures_seen=job.failures,
        retry_at=clock.wall + delay,
        generation=NOT_SENT,
    )
    return (sent(sending, clock.generation), False) if silent else (sending, True)


def _deadline(job: Job, step: JobStep) -> Timestamp:
    """Return when a message that went lost would cost money; of the cheap steps, repeated early."""
    match step:
        case JobStep.DELIVER:
            return job.claim.until if job.phase is SlotPhase.CLAIMED else job.request.priority_until
        case JobStep.POST_OUTPUT:
            return job.demand_until
        case _:
            return NEVER


def sent(job: Job, generation: str) -> Job:
    """Note that the queue took the message; a crash before that sends it again at once."""
    return replace(job, generation=generation)


def postpone(job: Job, clock: Clock, operator: Operator) -> Job:
    """Keep a request that may be taken over for later: those that name this operator go first."""
    later = clock.wall + operator.retry_failed_after
    return replace(job, attempt=0, retry_at=later, generation=clock.generation)


def state_of(job: Job, now: Timestamp, operator: Operator, authorised: bool) -> JobState:
    """Conclude what the request is to the operator at chain time `now`."""
    if job.phase in (SlotPhase.CANCELLED, SlotPhase.ANNULLED):
        return JobState.CANCELLED
    if job.delivery is None:
        return _before_delivery(job, now, operator, authorised)
    if job.delivery.operator != operator.address:
        return JobState.LOST
    match job.phase:
        case SlotPhase.FINALIZED:
            return JobState.SETTLED
        case SlotPhase.CONVICTED:
            return JobState.FAILED
        case _:
            return _after_delivery(job, now)


def _before_delivery(job: Job, now: Timestamp, operator: Operator, authorised: bool) -> JobState:
    if now >= job.request.expires_at:
        return JobState.LOST
    if job.permanent or (job.answer is None and job.failures >= operator.max_failures):
        return JobState.FAILED
    if not authorised:
        return JobState.WAITING  # may be authorised again before the request expires
    if _may_deliver(job, now, operator.address):
        return JobState.DELIVERING if job.answer else JobState.QUEUED
    if _may_claim(job, now, operator):
        # Compute first: of a request that nobody can answer a claim only costs its forfeit.
        return JobState.CLAIMING if job.answer else JobState.COMPUTING
    return JobState.WAITING


def _may_deliver(job: Job, now: Timestamp, me: Address) -> bool:
    if job.phase is SlotPhase.CLAIMED:
        return job.claim.operator == me and now < job.claim.until
    return job.request.operator == me and now < job.request.priority_until


def _may_claim(job: Job, now: Timestamp, operator: Operator) -> bool:
    if not operator.claims or now >= job.request.expires_at - operator.claim_margin:
        return False
    if job.phase is SlotPhase.CLAIMED:
        return now >= job.claim.until
    return now >= job.request.priority_until


def _after_delivery(job: Job, now: Timestamp) -> JobState:
    if job.demand_until != NO_DEMAND:
        return JobState.DEMANDED if now < job.demand_until else JobState.DELIVERED
    if job.disputes or now < job.final_at:
        return JobState.DELIVERED
    return JobState.FINALIZING


def _wake_at(job: Job, now: Timestamp, operator: Operator, state: JobState) -> Timestamp:
    if state in FINAL_STATES:
        return NEVER
    return min((at for at in _boundaries(job, operator) if at > now), default=NEVER)


def _boundaries(job: Job, operator: Operator) -> tuple[Timestamp, ...]:
    """Give the first second at which each comparison in `state_of` has another outcome."""
    if job.delivery is not None:
        return job.final_at, job.demand_until
    return (
        job.request.priority_until,
        job.claim.until,
        Timestamp(job.request.expires_at - operator.claim_margin),
        job.request.expires_at,
    )
