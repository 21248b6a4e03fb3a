"""What a line of a request's timeline says beside the event's name, in the visitor's language."""

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
from oracle.services.amounts import format_amount, format_ether, format_time
from oracle.types import Amount
from oracle.web.locale import Translations


def detail(event: Event, t: Translations) -> str:  # noqa: PLR0911 -- one line per kind
    """Return the facts of an event as a sentence; "" for one that has none."""
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
            return t("detail.Delivered", who=event.operator, root="0x" + event.output_root.hex())
        case Finalized():
            return t(
                "detail.Finalized",
                operator=format_amount(event.operator_fee),
                owner=format_amount(event.owner_fee),
                data=format_amount(event.data_fee),
                protocol=format_amount(event.protocol_fee),
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
