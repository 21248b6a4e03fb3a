"""What an intent needs next, from what is kept and what the chain says. Pure.

The rules, and nothing else ends a signed intent:

1. A form (one signed transaction) is never forgotten; any of them may be mined.
2. A form in a finalized block ends it.
3. A nonce is lost only when a finalized block shows a transaction under it that is no form.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from oracle.chain.outbox import OutboxEntry
from oracle.chain.transactions import Receipt
from oracle.types import Bytes32

AT_ONCE = 64  # intents that are signed together


class Action(StrEnum):
    """What to do about a signed intent."""

    WAIT = "wait"
    SETTLE = "settle"  # a finalized block has a form of it
    RELEASE = "release"  # its nonce is lost: no form of it can be mined any more
    BROADCAST = "broadcast"  # the node does not have the newest form
    OUTBID = "outbid"  # it has waited too long: sign a dearer form


@dataclass(frozen=True, slots=True)
class Seen:
    """What the chain says about one signed intent."""

    receipt: Receipt | None = None  # of a form, in a finalized block
    used: bool = False  # the finalized chain has used its nonce, without such a receipt
    user: Bytes32 | None = None  # hash of the transaction that did; None = cannot be told now
    mined: bool = False  # a block has a form of it, finalized or not
    known: bool = False  # the node has the newest form
    age: float = 0.0  # seconds since the last signature


def decide(entry: OutboxEntry, seen: Seen, stuck_after: float) -> Action:
    """Return what to do about a signed intent; one without a block for so long is outbid."""
    if seen.receipt is not None:
        return Action.SETTLE
    if entry.nonce is None:  # its forms are dead: it is signed again like a new intent
        return Action.WAIT
    if seen.used:
        lost = seen.user is not None and seen.user not in entry.hashes
        return Action.RELEASE if lost else Action.WAIT
    if seen.mined:
        return Action.WAIT
    if seen.age >= stuck_after:
        return Action.OUTBID
    return Action.WAIT if seen.known else Action.BROADCAST


def independent(entries: Sequence[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
    """Split intents into runs that may be estimated on one state, in order.

    Those are calls of one function about different requests. Anything else may need what stands
    before it: a delivery its claim, a deposit its approval.
    """
    group: list[OutboxEntry] = []
    for entry in entries:
        served = {request for e in group for request in e.request_ids}
        alike = group and (group[0].to, group[0].data[:4]) == (entry.to, entry.data[:4])
        apart = entry.request_ids and served and served.isdisjoint(entry.request_ids)
        if group and not (alike and apart and len(group) < AT_ONCE):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group
