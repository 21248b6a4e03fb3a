"""Transactions that an account means to send, as kept values: the port of sender.py to a store.

```
            ┌─nonce lost to a stranger─┐      ┌─in a finalized block─▶ mined, or failed (reverted)
            ▼                          │      │
 add ─▶ intent ──nonce, signature──▶ sent ────┤
            │                          └─refused for good─▶ cancelling ─▶ as sent, or
            │                                                   └ its empty form, or a stranger's
            └─would be refused─────────────────────────────────────────────────────▶ failed
```
Every arrow is one commit, made before anybody else sees what it says.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from oracle.chain.contract import Call
from oracle.chain.transactions import Receipt, hash_of
from oracle.errors import PermanentError, TallystickError
from oracle.types import Address, Bytes32, RequestId, Wei


class EntryState(StrEnum):
    """Where a transaction stands."""

    INTENT = "intent"  # nothing of it is under way
    SENT = "sent"  # a form of it may be mined at any time
    CANCELLING = "cancelling"  # as SENT, but an empty transaction is to take its nonce
    MINED = "mined"
    FAILED = "failed"  # it did not happen, and will not


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One transaction, from intent to end."""

    id: int
    kind: str  # claim, deliver, finalize, …
    request_ids: tuple[RequestId, ...]  # that it serves
    to: Address | None  # None creates a contract
    data: bytes
    value: Wei
    label: str = ""
    state: EntryState = EntryState.INTENT
    nonce: int | None = None
    gas: int = 0  # limit
    max_fee: int = 0  # wei per gas
    priority_fee: int = 0  # wei per gas
    raws: tuple[bytes, ...] = ()  # its forms, the newest last; any of them may be mined
    sent_at: float = 0.0  # unix seconds of the last signature; before it, of the estimate
    error: str = ""  # why it failed; while it is live, what a node said last
    permanent: bool = False  # a failure that the same call would meet again
    block_number: int | None = None  # where it was mined
    # Known to the process that saw it end, and not kept:
    receipt: Receipt | None = field(default=None, compare=False)
    cause: TallystickError | None = field(default=None, compare=False)

    @property
    def live(self) -> bool:
        """Whether something is still to be done about it."""
        return self.state not in (EntryState.MINED, EntryState.FAILED)

    @property
    def hashes(self) -> tuple[Bytes32, ...]:
        """The hashes of its forms."""
        return tuple(hash_of(raw) for raw in self.raws)

    @property
    def call(self) -> Call:
        """What it executes."""
        return Call(self.to, self.data, self.value, self.label)


class AlreadyPending(PermanentError):
    """A live transaction of this kind serves this request already."""

    def __init__(self, entry: OutboxEntry) -> None:
        super().__init__(
            f"transaction {entry.id} ({entry.kind}) is under way for this request",
            hint="wait for its end; it is not to be sent twice",
        )
        self.entry = entry


class OutboxStore(Protocol):
    """Where entries are kept. Every method is one committed transaction."""

    def add(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Keep a new intent.

        Raises:
            AlreadyPending: a live entry of this kind serves one of these requests.
        """

    def live(self) -> list[OutboxEntry]:
        """Return the live entries by id."""

    def put(self, entry: OutboxEntry) -> None:
        """Replace the entry of this id. Live entries have different nonces."""

    def put_all(self, entries: Sequence[OutboxEntry]) -> None:
        """Replace several entries, all or none."""

    def next_nonce(self) -> int:
        """Return the nonce after the highest that is live or in a block; 0 when there is none."""

    def mined_under(self, nonce: int) -> OutboxEntry | None:
        """Return the last entry that ended in a block under a nonce."""


class MemoryOutbox:
    """An outbox that a restart loses: for tests and for scripts that need no more."""

    def __init__(self) -> None:
        self.entries: dict[int, OutboxEntry] = {}
        self._ids = itertools.count(1)

    def add(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Keep a new intent."""
        for entry in self.live():
            if entry.kind == kind and not set(request_ids).isdisjoint(entry.request_ids):
                raise AlreadyPending(entry)
        entry = OutboxEntry(
            id=next(self._ids),
            kind=kind,
            request_ids=tuple(request_ids),
            to=call.to,
            data=call.data,
            value=call.value,
            label=call.label,
        )
        self.entries[entry.id] = entry
        return entry

    def live(self) -> list[OutboxEntry]:
        """Return the live entries by id."""
        return [entry for entry in self.entries.values() if entry.live]

    def put(self, entry: OutboxEntry) -> None:
        """Replace the entry of this id."""
        if entry.live and entry.nonce is not None:
            taken = {e.nonce for e in self.live() if e.id != entry.id}
            if entry.nonce in taken:
                raise ValueError(f"two live transactions with nonce {entry.nonce}")
        self.entries[entry.id] = replace(entry)

    def put_all(self, entries: Sequence[OutboxEntry]) -> None:
        """Replace several entries."""
        for entry in entries:
            self.put(entry)

    def next_nonce(self) -> int:
        """Return the nonce after the highest that is live or in a block."""
        taken = [e.nonce for e in self.entries.values() if e.live or e.block_number is not None]
        return max((nonce + 1 for nonce in taken if nonce is not None), default=0)

    def mined_under(self, nonce: int) -> OutboxEntry | None:
        """Return the last entry that ended in a block under a nonce."""
        ended = (e for e in self.entries.values() if e.block_number is not None)
        return max((e for e in ended if e.nonce == nonce), key=lambda e: e.id, default=None)
