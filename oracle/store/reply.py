"""What the store keeps about a dispute that waits for this operator: the row, as a value.

A reply is owed as long as its row is there. The demand is a fold of the game's events, written by
the watcher (`oracle/operator/replies.py`); the rest is the watcher's bookkeeping of its messages.
"""

from dataclasses import dataclass
from enum import StrEnum

from oracle.types import Address, Bytes32, RequestId, Timestamp


class ReplyKind(StrEnum):
    """What the chain waits for."""

    TRACE = "trace"  # commitTrace; `op`, `first`, `second` are 0
    NODE = "node"  # openNode or revealLeaves: `first` is the level, `second` the index
    STEP = "step"  # answerStep: `first` is the row, `second` the column


@dataclass(frozen=True, slots=True)
class GameTurn:
    """One turn of this operator in one challenger's game."""

    challenger: Address
    ask: ReplyKind
    deadline: Timestamp  # the turn is over at that second
    op: int = 0
    first: int = 0
    second: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A demand, and what was put on the queue for it."""

    request_id: RequestId
    demand: GameTurn
    attempt: int = 0  # messages sent for this demand
    retry_at: float = 0.0  # unix seconds of the wall clock: put it on the queue again
    generation: str = ""  # of the queue that took the message; another one has lost it


@dataclass(frozen=True, slots=True)
class Statement:
    """The one trace that this operator stands by; recorded before it is signed or sent."""

    trace_root: Bytes32
    signature: bytes  # of the receipt, r‖s‖v; empty = not signed yet
