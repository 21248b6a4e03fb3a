"""One request's life, folded from its events. Pure: who reads the events is in `requests.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from oracle.chain.events import (
    Annulled,
    CallbackCompleted,
    Cancelled,
    Claimed,
    ClaimForfeited,
    Convicted,
    Delivered,
    DisputeClosed,
    DisputeOpened,
    Event,
    Finalized,
    OutputDemanded,
    OutputPosted,
    Requested,
)
from oracle.protocol.cid import raw_cid
from oracle.services.amounts import format_amount, format_ether, format_time
from oracle.types import (
    Address,
    Amount,
    Bytes32,
    Cid,
    Claim,
    Delivery,
    Request,
    RequestId,
    Timestamp,
)

LIFE = (
    Requested, Claimed, ClaimForfeited, Delivered, Finalized, CallbackCompleted, Cancelled,
    Annulled, OutputDemanded, OutputPosted, DisputeOpened, DisputeClosed, Convicted,
)  # fmt: skip


class RequestState(Enum):
    """Where a request stands."""

    REQUESTED = "waits for an operator"
    CLAIMED = "an operator works on it"
    DELIVERED = "answered, may be challenged"
    SETTLED = "answered and paid"
    CANCELLED = "expired and refunded"
    CONVICTED = "the operator was convicted, the requester compensated"
    ANNULLED = "ended without a verdict, refunded"


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a request's history."""

    time: Timestamp
    block: int
    transaction: Bytes32
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A request and everything that happened to it."""

    request_id: RequestId
    state: RequestState
    model_id: int
    version: int
    requester: Address
    operator: Address  # preferred
    fee: Amount
    priority_until: Timestamp
    expires_at: Timestamp
    expired: bool  # without an answer: anyone may cancel it
    answered_by: Address | None
    output_root: Bytes32 | None
    output_cid: Cid | None
    final_at: Timestamp | None  # when the challenge window has passed
    disputes: int  # open
    request: Request
    claim: Claim | None
    delivery: Delivery | None
    timeline: tuple[Moment, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it holds money that somebody can still move."""
        return self.state in (RequestState.REQUESTED, RequestState.CLAIMED, RequestState.DELIVERED)


def fold(events: Sequence[Event], now: Timestamp, timeline: tuple[Moment, ...] = ()) -> RequestInfo:
    """Return what the events of one request, oldest first, amount to. Pure.

    Args:
        events: the first is `Requested`.
        now: of the latest block, in unix seconds.
    """
    first = events[0]
    assert isinstance(first, Requested)
    request, state = first.request, RequestState.REQUESTED
    claim: Claim | None = None
    delivered: Delivered | None = None
    disputes = 0
    for event in events:
        match event:
            case Claimed():
                state, claim = RequestState.CLAIMED, Claim(event.operator, event.until)
            case Delivered():
                state, delivered = RequestState.DELIVERED, event
            case Finalized():
                state = RequestState.SETTLED
            case Cancelled():
                state = RequestState.CANCELLED
            case Convicted():
                state = RequestState.CONVICTED
            case Annulled():
                state = RequestState.ANNULLED
            case DisputeOpened() | DisputeClosed():
                disputes = event.open
    final_at = delivery = output_cid = None
    if delivered is not None:
        delivery = Delivery(delivered.operator, delivered.delivered_at, delivered.output_root)
        final_at = Timestamp(delivered.delivered_at + request.terms.challenge_window)
        digest = delivered.output_cid if any(delivered.output_cid) else delivered.output_root
        output_cid = raw_cid(digest)
    return RequestInfo(
        request_id=first.request_id,
        state=state,
        model_id=request.model_id,
        version=request.version,
        requester=request.requester,
        operator=request.operator,
        fee=request.terms.fee,
        priority_until=request.priority_until,
        expires_at=request.expires_at,
        expired=state in (RequestState.REQUESTED, RequestState.CLAIMED)
        and now >= request.expires_at,
        answered_by=delivered.operator if delivered else None,
        output_root=delivered.output_root if delivered else None,
        output_cid=output_cid,
        final_at=final_at,
        disputes=disputes,
        request=request,
        claim=claim,
        delivery=delivery,
        timeline=timeline,
    )


def detail(event: Event) -> str:
    """Return what a line of the timeline says beside the event's name."""
    text = ""
    match event:
        case Requested():
            fee = format_amount(event.request.terms.fee)
            text = f"model {event.model_id} version {event.request.version}, {fee} in escrow"
        case Claimed():
            text = f"by {event.operator} until {format_time(event.until)}"
        case ClaimForfeited():
            text = f"{event.operator} pays {format_amount(event.amount)} to the requester"
        case Delivered():
            text = f"by {event.operator}: 0x{event.output_root.hex()}"
        case Finalized():
            shares = (event.operator_fee, event.owner_fee, event.data_fee, event.protocol_fee)
            names = ("operator", "owner", "data", "protocol")
            text = ", ".join(f"{n} {format_amount(s)}" for n, s in zip(names, shares, strict=True))
        case Cancelled() | Annulled():
            text = f"{format_amount(event.refund)} back to the requester"
        case Convicted():
            paid = Amount(event.refund + event.compensation)
            text = f"{event.operator}: {event.verdict.name.lower()}, {format_amount(paid)} paid"
        case OutputDemanded():
            until, bond = format_time(event.deadline), format_ether(event.bond)
            text = f"by {event.challenger} until {until}, bond {bond}"
        case OutputPosted():
            text = f"{len(event.output)} bytes by {event.operator}"
        case DisputeOpened() | DisputeClosed():
            text = f"{event.open} open"
        case CallbackCompleted():
            text = f"{event.consumer}: {'done' if event.success else 'failed'}"
    return text
