"""A request's life: its events, oldest first, folded into where it stands. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Claimed,
    Convicted,
    Delivered,
    DisputeClosed,
    DisputeOpened,
    Finalized,
    OutputDemanded,
    OutputPosted,
)
from oracle.chain.event import Event
from oracle.store.job import NO_DEMAND, RequestLife, SlotPhase
from oracle.types import Claim, Delivery

Life = TypeVar("Life", bound=RequestLife)
_ENDS: dict[type[Event], SlotPhase] = {
    Finalized: SlotPhase.FINALIZED,
    Cancelled: SlotPhase.CANCELLED,
    Convicted: SlotPhase.CONVICTED,
    Annulled: SlotPhase.ANNULLED,
}


def fold(life: Life, events: Iterable[Event]) -> Life:
    """Take the events of the request, oldest first."""
    for event in events:
        life = learn(life, event)
    return life


def learn(life: Life, event: Event) -> Life:
    """Take one event of the request. Others change nothing."""
    match event:
        case Claimed():
            claim = Claim(event.operator, event.until)
            return replace(life, phase=SlotPhase.CLAIMED, claim=claim)
        case Delivered():
            delivery = Delivery(event.operator, event.stamp, event.output_root)
            return replace(
                life, phase=SlotPhase.DELIVERED, delivery=delivery, output_cid=event.output_cid
            )
        case DisputeOpened() | DisputeClosed():
            demands = int(life.demand_until != NO_DEMAND)  # the market counts an open one as well
            return replace(life, disputes=event.open - demands)
        case OutputDemanded():
            return replace(life, demand_until=event.deadline)
        case OutputPosted():
            return replace(life, demand_until=NO_DEMAND, challenge_until=event.challenge_until)
        case _:
            phase = _ENDS.get(type(event))
            return life if phase is None else replace(life, phase=phase)
