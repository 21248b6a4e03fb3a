"""What the registries log: models, access to them, operators, programs."""

from dataclasses import dataclass

from oracle.chain.events.event import Event
from oracle.types import Address, Amount, Bytes32, Policy, Terms, Timestamp, VersionRecord

_event = dataclass(frozen=True, slots=True)


# ── ModelRegistry ─────────────────────────────────────────────────────────────────────────────────
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


# ── ModelAccess ───────────────────────────────────────────────────────────────────────────────────
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


# ── OperatorRegistry ──────────────────────────────────────────────────────────────────────────────
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


# ── ProgramRegistry ───────────────────────────────────────────────────────────────────────────────
@_event
class ProgramRegistered(Event):
    model_root: Bytes32
    registrant: Address
    operators: int
    inputs: int
