"""What the market logs."""

from dataclasses import dataclass

from oracle.chain.events.event import Event
from oracle.types import Address, Amount, Bytes32, Request, RequestId, Timestamp, Verdict, Wei

_event = dataclass(frozen=True, slots=True)


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
