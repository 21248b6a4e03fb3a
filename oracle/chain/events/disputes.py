"""What disputes about answers log: games about exact ones, committees about float ones."""

from dataclasses import dataclass

from oracle.chain.events.event import Event
from oracle.types import (
    Activation,
    Address,
    Amount,
    Bytes32,
    Finding,
    RequestId,
    Timestamp,
    VoterFault,
    Wei,
)

_event = dataclass(frozen=True, slots=True)


# ── DisputeGame ───────────────────────────────────────────────────────────────────────────────────
@_event
class Challenged(Event):
    request_id: RequestId
    challenger: Address
    witness: Bytes32
    bond: Wei
    deadline: Timestamp


@_event
class TraceCommitted(Event):
    request_id: RequestId
    trace_root: Bytes32
    leaves: tuple[Bytes32, ...]


@_event
class ReceiptAccepted(Event):
    request_id: RequestId
    trace_root: Bytes32


@_event
class NodeDemanded(Event):
    request_id: RequestId
    challenger: Address
    op: int
    level: int
    index: int
    deadline: Timestamp


@_event
class NodeOpened(Event):
    request_id: RequestId
    challenger: Address
    op: int
    level: int
    index: int
    nodes: tuple[Bytes32, ...]


@_event
class LeavesRevealed(Event):
    request_id: RequestId
    challenger: Address
    op: int
    level: int
    index: int
    data: bytes


@_event
class StepDemanded(Event):
    request_id: RequestId
    challenger: Address
    op: int
    row: int
    col: int
    deadline: Timestamp


@_event
class StepAnswered(Event):
    request_id: RequestId
    challenger: Address
    op: int
    row: int
    col: int


@_event
class ChallengeFailed(Event):
    request_id: RequestId
    challenger: Address
    to_operator: Wei
    burned: Wei


@_event
class FaultProven(Event):
    request_id: RequestId
    challenger: Address
    op: int
    row: int
    col: int


@_event
class EquivocationProven(Event):
    request_id: RequestId
    challenger: Address
    first: Bytes32
    second: Bytes32


@_event
class SilenceProven(Event):
    request_id: RequestId
    challenger: Address


@_event
class BondReleased(Event):
    request_id: RequestId
    challenger: Address
    amount: Wei


# ── Committee ─────────────────────────────────────────────────────────────────────────────────────
@_event
class RuntimeClassDeclared(Event):
    model_id: int
    version: int
    runtime_class: Bytes32


@_event
class Enlisted(Event):
    member: Address
    runtime_class: Bytes32
    amount: Amount
    stake: Amount


@_event
class LeaveStarted(Event):
    member: Address
    runtime_class: Bytes32
    amount: Amount
    release_at: Timestamp


@_event
class LeaveFinished(Event):
    member: Address
    runtime_class: Bytes32
    amount: Amount


@_event
class CommitteeCalled(Event):
    request_id: RequestId
    challenger: Address
    runtime_class: Bytes32
    eligible: Amount
    seed_block: int
    draw_until: Timestamp
    bond: Wei


@_event
class Drawn(Event):
    request_id: RequestId
    seed: Bytes32


@_event
class RoundStarted(Event):
    request_id: RequestId
    round: int
    commit_until: Timestamp
    reveal_until: Timestamp


@_event
class VoteCommitted(Event):
    request_id: RequestId
    member: Address
    round: int
    commitment: Bytes32


@_event
class VoteEvicted(Event):
    request_id: RequestId
    member: Address
    round: int


@_event
class VoteRevealed(Event):
    request_id: RequestId
    member: Address
    round: int
    finding: Finding
    output_digest: Bytes32
    activation: Activation


@_event
class RoundTallied(Event):
    request_id: RequestId
    round: int
    finding: Finding
    valid: int
    median: Activation


@_event
class VoterPunished(Event):
    request_id: RequestId
    member: Address
    round: int
    fault: VoterFault
    amount: Amount


@_event
class VotersPaid(Event):
    request_id: RequestId
    voters: int
    tokens_each: Amount
    wei_each: Wei


@_event
class DrawMissed(Event):
    request_id: RequestId
    challenger: Address
    to_operator: Wei
    burned: Wei


@_event
class RewardWithdrawn(Event):
    account: Address
    amount: Amount
