"""A request's life as steps that a person follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Claimed,
    Convicted,
    Delivered,
    DisputeOpened,
    Finalized,
    OutputDemanded,
    OutputPosted,
    Requested,
)
from oracle.gateway.worker_progress import FAILED, Heard
from oracle.services import request_timeline
from oracle.services.event_history import Happened

_NAMES: dict[type[Any], str] = {
    Claimed: "claimed",
    Delivered: "delivered",
    DisputeOpened: "disputed",
    OutputDemanded: "demanded",
    OutputPosted: "posted",
    Finalized: "settled",
    Cancelled: "cancelled",
    Convicted: "convicted",
    Annulled: "annulled",
}
SAID = ("fetched", "running", FAILED)  # of what workers say, what a person follows
_LAST = (Finalized, Cancelled, Convicted, Annulled)


@dataclass(frozen=True, slots=True)
class ProgressStep:
    """One step, and whether none can follow."""

    name: str
    facts: dict[str, Any]
    last: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What tells this step from others of the same request."""
        return self.name, str(self.facts.get("transaction", ""))


def steps(life: Sequence[Happened], heard: Sequence[Heard] = ()) -> list[ProgressStep]:
    """Return the steps of a life whose logs are final; a delivery opens the window.

    What workers said stands between request and delivery.
    """
    found: list[ProgressStep] = []
    window = 0
    for one in life:
        facts = {
            "block": one.block,
            "transaction": "0x" + one.tx_hash.hex(),
            "detail": request_timeline.detail(one.event),
        }
        if isinstance(one.event, Requested):
            window = one.event.request.terms.challenge_window
            found += [
                ProgressStep("requested", facts),
                ProgressStep("finalized", {"block": one.block}),
            ]
            until = one.event.request.expires_at
            found += [ProgressStep(h.step, _said(h, until)) for h in heard if h.step in SAID]
        elif (name := _NAMES.get(type(one.event))) is not None:
            found.append(ProgressStep(name, facts, isinstance(one.event, _LAST)))
            if isinstance(one.event, Delivered):
                found.append(ProgressStep("window", {"until": one.event.stamp.time + window}))
    return found


def _said(heard: Heard, refund_after: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"operator": heard.operator}
    if heard.step == FAILED:
        facts |= {"reason": heard.reason, "at": heard.at, "refund_after": refund_after}
    return facts
