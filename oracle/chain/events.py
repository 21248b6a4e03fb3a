"""What the contracts log, as frozen dataclasses: one per event, a field per argument in snake_case.

A test holds them to the generated ABIs; logs.py reads raw logs into them.
"""

from dataclasses import dataclass

from oracle.types import (
    Activation,
    Address,
    Amount,
    Bytes32,
    Fault,
    Finding,
    Policy,
    Request,
    RequestId,
    Terms,
    Timestamp,
    Verdict,
    VersionRecord,
    Wei,
)


class Event:
    """Base of every event; lets `match` and type hints name them all."""

    __slots__ = ()


_event = dataclass(frozen=True, slots=True)


# ── InferenceMarket ─────────────────────────────────────────────────────────────────────────────
@_event
class Deposited(Event):
    account: Address
    from_: Address
    amount: Amount


@_event
class Withdrawn(Event):
    account: Address
    to: Address
    amount: Amount


@_event
class Requested(Event):
    request_id: RequestId
    model_id: int
    requester: Address
    request: Request


@_event
class Claimed(Event):
    request_id: RequestId
    operator: Address
    until: Timestamp


@_event
class ClaimForfeited(Event):
    request_id: RequestId
    operator: Address
    amount: Amount


@_event
class Delivered(Event):
    request_id: RequestId
    operator: Address
    output_root: Bytes32
    output_cid: Bytes32
    delivered_at: Timestamp


@_event
class Finalized(Event):
    request_id: RequestId
    operator: Address
    operator_fee: Amount
    owner_fee: Amount
    data_fee: Amount
    protocol_fee: Amount


@_event
class CallbackCompleted(Event):
    request_id: RequestId
    consumer: Address
    success: bool


@_event
class Cancelled(Event):
    request_id: RequestId
    requester: Address
    refund: Amount


@_event
class Annulled(Event):
    request_id: RequestId
    operator: Address
    refund: Amount


@_event
class OutputDemanded(Event):
    request_id: RequestId
    challenger: Address
    deadline: Timestamp
    bond: Wei


@_event
class OutputPosted(Event):
    request_id: RequestId
    operator: Address
    output: bytes


@_event
class DisputeOpened(Event):
    request_id: RequestId
    module: Address
    open: int


@_event
class DisputeClosed(Event):
    request_id: RequestId
    module: Address
    open: int


@_event
class Convicted(Event):
    request_id: RequestId
    operator: Address
    verdict: Verdict
    refund: Amount
    compensation: Amount
    bounty: Amount
    burned: Amount


@_event
class BountyPaid(Event):
    request_id: RequestId
    account: Address
    amount: Amount


@_event
class ModelEarningsCollected(Event):
    model_id: int
    to: Address
    owner_fee: Amount
    data_fee: Amount


@_event
class ProtocolEarningsCollected(Event):
    to: Address
    amount: Amount


@_event
class BondWithdrawn(Event):
    account: Address
    amount: Wei


# ── ModelRegistry ───────────────────────────────────────────────────────────────────────────────
@_event
class ModelRegistered(Event):
    model_id: int
    owner: Address
    name: str
    update_interval: int  # seconds


@_event
class VersionPublished(Event):
    record: VersionRecord


@_event
class TermsSet(Event):
    model_id: int
    version: int
    terms: Terms


@_event
class VersionRetired(Event):
    model_id: int
    version: int


@_event
class ModelTransferred(Event):
    """ERC-721 `Transfer`."""

    from_: Address
    to: Address
    token_id: int


@_event
class ModelApproval(Event):
    """ERC-721 `Approval`."""

    owner: Address
    approved: Address
    token_id: int


@_event
class ApprovalForAll(Event):
    owner: Address
    operator: Address
    approved: bool


# ── ModelAccess ─────────────────────────────────────────────────────────────────────────────────
@_event
class AdminSet(Event):
    model_id: int
    admin: Address
    enabled: bool


@_event
class PolicySet(Event):
    model_id: int
    policy: Policy
    max_per_window: int
    window: int  # seconds


@_event
class BoundsSet(Event):
    model_id: int
    minimum: Bytes32
    maximum: Bytes32


@_event
class ApplicationSubmitted(Event):
    model_id: int
    requester: Address
    note: str


@_event
class AccessGranted(Event):
    model_id: int
    requester: Address
    admin: Address
    expiry: Timestamp
    max_per_window: int
    window: int  # seconds


@_event
class AccessDenied(Event):
    model_id: int
    requester: Address
    admin: Address


@_event
class AccessRevoked(Event):
    model_id: int
    requester: Address
    admin: Address


# ── OperatorRegistry ────────────────────────────────────────────────────────────────────────────
@_event
class OperatorRegistered(Event):
    operator: Address
    encryption_key: Bytes32
    endpoint: str


@_event
class ProfileUpdated(Event):
    operator: Address
    encryption_key: Bytes32
    endpoint: str


@_event
class Staked(Event):
    operator: Address
    from_: Address
    amount: Amount


@_event
class UnstakeStarted(Event):
    operator: Address
    amount: Amount
    release_at: Timestamp


@_event
class UnstakeFinished(Event):
    operator: Address
    amount: Amount


@_event
class OperatorAuthorized(Event):
    model_id: int
    operator: Address
    authorized: bool


@_event
class StakeSlashed(Event):
    operator: Address
    amount: Amount
    burned: Amount


# ── ProgramRegistry ─────────────────────────────────────────────────────────────────────────────
@_event
class ProgramRegistered(Event):
    model_root: Bytes32
    registrant: Address
    operators: int
    inputs: int


# ── DisputeGame ─────────────────────────────────────────────────────────────────────────────────
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


# ── Committee ───────────────────────────────────────────────────────────────────────────────────
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
    fault: Fault
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


# ── Token ───────────────────────────────────────────────────────────────────────────────────────
@_event
class Transfer(Event):
    """ERC-20 `Transfer`."""

    from_: Address
    to: Address
    value: Amount


@_event
class Approval(Event):
    """ERC-20 `Approval`."""

    owner: Address
    spender: Address
    value: Amount


@_event
class AuthorizationUsed(Event):
    """EIP-3009."""

    authorizer: Address
    nonce: Bytes32


@_event
class AuthorizationCanceled(Event):
    """EIP-3009."""

    authorizer: Address
    nonce: Bytes32


@_event
class EIP712DomainChanged(Event):
    """ERC-5267; none of our contracts ever changes its domain."""
