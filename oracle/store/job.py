"""What the store keeps about one request that concerns the operator: the row, as a value.

Pure data; how a job moves is said in `oracle/operator/jobs.py`, how it is kept in the rest
of this package.
The row has three parts, each with one writer:

* the chain half (`phase` … `challenge_until`): a fold of the request's events, of the watcher;
* the local half (`answer`, `failures`, `permanent`): read here, written by the submitter;
* the bookkeeping (`state` … `wake_at`): what the watcher concluded and last put on the queue.
"""

from dataclasses import dataclass
from enum import StrEnum

from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Bytes32,
    Claim,
    Delivery,
    OperatorAnswer,
    Request,
    RequestId,
    Timestamp,
)

NEVER = Timestamp(2**62)  # fits a signed 64-bit column
AT_ONCE = Timestamp(0)
NO_DEMAND = Timestamp(0)


class SlotPhase(StrEnum):
    """Where the market's slot stands (IInferenceMarket.sol), with the reason it became free."""

    REQUESTED = "requested"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    FINALIZED = "finalized"
    CANCELLED = "cancelled"
    CONVICTED = "convicted"
    ANNULLED = "annulled"


class JobState(StrEnum):
    """What the request is to this operator; `oracle/operator/jobs.py` draws the arrows."""

    WAITING = "waiting"
    COMPUTING = "computing"  # the answer to a request that may be claimed with it
    CLAIMING = "claiming"
    QUEUED = "queued"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    DEMANDED = "demanded"
    FINALIZING = "finalizing"
    SETTLED = "settled"
    CANCELLED = "cancelled"
    LOST = "lost"
    FAILED = "failed"


FINAL_STATES = frozenset({JobState.SETTLED, JobState.CANCELLED, JobState.LOST, JobState.FAILED})


class JobStep(StrEnum):
    """What the watcher asks another process to do; the name of the Celery task after the dot."""

    NONE = ""
    CLAIM = "claim"
    INFER = "infer"
    DELIVER = "deliver"
    POST_OUTPUT = "post_output"
    FINALIZE = "finalize"


@dataclass(frozen=True, slots=True)
class RequestLife:
    """One request as the events of the market tell it (`oracle/operator/request_life.py`)."""

    request_id: RequestId
    request: Request

    phase: SlotPhase = SlotPhase.REQUESTED
    claim: Claim = NO_CLAIM  # the latest
    delivery: Delivery | None = None
    output_cid: Bytes32 = ZERO32  # as delivered, by whomever
    disputes: int = 0  # open ones
    demand_until: Timestamp = NO_DEMAND  # the output's bytes must be posted by then
    challenge_until: Timestamp = NO_DEMAND  # those that were posted can be challenged until then

    @property
    def final_at(self) -> Timestamp:
        """When a delivered answer can no longer be challenged, in unix seconds."""
        delivered_at = self.delivery.stamp.time if self.delivery else NEVER
        window = self.request.terms.challenge_window
        return Timestamp(max(delivered_at + window, self.challenge_until))


@dataclass(frozen=True, slots=True)
class Job(RequestLife):
    """One request, seen by one operator."""

    answer: OperatorAnswer | None = (
        None  # the one it stands by; recorded once, before its first broadcast
    )
    failures: int = 0  # reported attempts that may succeed when repeated
    permanent: bool = False  # a failure that would repeat itself was reported

    state: JobState = JobState.WAITING
    step: JobStep = JobStep.NONE  # what was last put on the queue
    attempt: int = 0  # of that step, from 1
    failures_seen: int = 0  # failures that `retry_at` takes into account
    retry_at: float = 0.0  # unix seconds of the wall clock: put it on the queue again
    generation: str = ""  # of the queue that took the message; another one has lost it
    wake_at: Timestamp = AT_ONCE  # chain time at which the state may change by itself

    @property
    def open(self) -> bool:
        """Whether anything may still have to be done."""
        return self.state not in FINAL_STATES


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """One failed attempt, as a worker reported it."""

    request_id: RequestId
    error: str  # name of the class
    message: str
    permanent: bool
    recorded_at: float  # unix seconds
