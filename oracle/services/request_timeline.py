"""One request's life as people read it. Pure: who reads the events is in `requests.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from oracle.chain.bindings.inference_market import (
    Annulled,
    CallbackCompleted,
    Cancelled,
    Claimed,
    ClaimForfeited,
    Convicted,
    Delivered,
    DisputeClosed,
    DisputeOpened,
    Finalized,
    OutputDemanded,
    OutputPosted,
    Requested,
)
from oracle.chain.event import Event
from oracle.operator import request_life
from oracle.protocol.cid import raw_cid
from oracle.services.amounts import format_amount, format_ether, format_time
from oracle.services.event_history import Moment
from oracle.services.metering import Bill, bill
from oracle.store.job import RequestLife, SlotPhase
from oracle.types import (
    NO_CLAIM,
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

Words = Callable[..., str]  # (key, **facts) to a sentence of one language
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


_STATES = {
    SlotPhase.REQUESTED: RequestState.REQUESTED,
    SlotPhase.CLAIMED: RequestState.CLAIMED,
    SlotPhase.DELIVERED: RequestState.DELIVERED,
    SlotPhase.FINALIZED: RequestState.SETTLED,
    SlotPhase.CANCELLED: RequestState.CANCELLED,
    SlotPhase.CONVICTED: RequestState.CONVICTED,
    SlotPhase.ANNULLED: RequestState.ANNULLED,
}


_PAID = (RequestState.DELIVERED, RequestState.SETTLED)


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
    bill: Bill | None  # of an answer that is paid, or will be
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
    request = first.request
    life = request_life.fold(RequestLife(first.request_id, request), events)
    state, delivery = _STATES[life.phase], life.delivery
    final_at = output_cid = None
    if delivery is not None:
        final_at = life.final_at
        output_cid = raw_cid(life.output_cid if any(life.output_cid) else delivery.output_root)
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
        answered_by=delivery.operator if delivery else None,
        output_root=delivery.output_root if delivery else None,
        output_cid=output_cid,
        bill=bill(request.terms, delivery) if delivery and state in _PAID else None,
        final_at=final_at,
        disputes=life.disputes,
        request=request,
        claim=None if life.claim == NO_CLAIM else life.claim,
        delivery=delivery,
        timeline=timeline,
    )


SENTENCES = {
    "detail.Requested": "model {model} version {version}, {fee} in escrow",
    "detail.Claimed": "by {who} until {until}",
    "detail.ClaimForfeited": "{who} pays {fee} to the treasury",
    "detail.Delivered": "by {who}: {root}",
    "detail.Delivered.units": "by {who}: {root}, {units} units",
    "detail.Finalized": "operator {operator}, owner {owner}, data {data}, protocol {protocol}",
    "detail.Finalized.refund": "operator {operator}, owner {owner}, data {data}, "
    "protocol {protocol}; {fee} back to the requester",
    "detail.refund": "{fee} back to the requester",
    "detail.Convicted": "{who}: {why}; {paid} paid to the requester",
    "detail.OutputDemanded": "by {who} until {until}, bond {bond}",
    "detail.OutputPosted": "{count} bytes by {who}",
    "detail.disputes": "open disputes: {count}",
    "detail.callback.done": "{who} was told",
    "detail.callback.failed": "{who} refused the call",
    "verdict.WRONG_OUTPUT": "a wrong answer",
    "verdict.WITHHELD": "an answer whose bytes were kept back",
    "verdict.EQUIVOCATION": "two answers signed for one question",
}


def english(key: str, **values: object) -> str:
    """Return a sentence of `SENTENCES` with its `{placeholders}` filled."""
    return SENTENCES[key].format_map(values)


def detail(event: Event, t: Words = english) -> str:  # noqa: PLR0911 -- one line per kind
    """Return what an event adds to its name, as a sentence; "" for one that adds nothing."""
    match event:
        case Requested():
            fee = format_amount(event.request.terms.fee)
            return t(
                "detail.Requested", model=event.model_id, version=event.request.version, fee=fee
            )
        case Claimed():
            return t("detail.Claimed", who=event.operator, until=format_time(event.until))
        case ClaimForfeited():
            return t("detail.ClaimForfeited", who=event.operator, fee=format_amount(event.amount))
        case Delivered():
            key = "detail.Delivered.units" if event.stamp.units else "detail.Delivered"
            root = "0x" + event.output_root.hex()
            return t(key, who=event.operator, root=root, units=event.stamp.units)
        case Finalized():
            return t(
                "detail.Finalized.refund" if event.refund else "detail.Finalized",
                operator=format_amount(event.operator_fee),
                owner=format_amount(event.owner_fee),
                data=format_amount(event.data_fee),
                protocol=format_amount(event.protocol_fee),
                fee=format_amount(event.refund),
            )
        case Cancelled() | Annulled():
            return t("detail.refund", fee=format_amount(event.refund))
        case Convicted():
            paid = Amount(event.refund + event.compensation)
            why = t("verdict." + event.verdict.name)
            return t("detail.Convicted", who=event.operator, why=why, paid=format_amount(paid))
        case OutputDemanded():
            return t(
                "detail.OutputDemanded",
                who=event.challenger,
                until=format_time(event.deadline),
                bond=format_ether(event.bond),
            )
        case OutputPosted():
            return t("detail.OutputPosted", who=event.operator, count=len(event.output))
        case DisputeOpened() | DisputeClosed():
            return t("detail.disputes", count=event.open)
        case CallbackCompleted():
            key = "detail.callback.done" if event.success else "detail.callback.failed"
            return t(key, who=event.consumer)
    return ""
