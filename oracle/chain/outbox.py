"""Transactions that an operator means to send, as kept values: the port of sender.py to a store.

```
  add ─▶ intent ──nonce, signature──▶ sent ──receipt──▶ mined
            │  ▲                       │ └────reverted──▶ failed
            │  └──nonce used by another┘
            └──refused before it was sent──────────────▶ failed
```
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from oracle.chain.contract import Call
from oracle.errors import PermanentError
from oracle.types import Address, RequestId, Wei


class EntryState(StrEnum):
    """Where a transaction stands."""

    INTENT = "intent"
    SENT = "sent"
    MINED = "mined"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One transaction, from intent to end."""

    id: int
    kind: str  # claim, deliver, finalize, …
    request_ids: tuple[RequestId, ...]  # that it serves
    to: Address
    data: bytes
    value: Wei
    label: str = ""
    state: EntryState = EntryState.INTENT
    nonce: int | None = None
    gas: int = 0  # limit
    max_fee: int = 0  # wei per gas
    priority_fee: int = 0  # wei per gas
    raws: tuple[bytes, ...] = ()  # signed forms, the newest last; any of them may be mined
    sent_at: float = 0.0  # unix seconds of the last signature
    error: str = ""
    permanent: bool = False  # a failure that the same call would meet again
    block_number: int | None = None  # where it was mined

    @property
    def live(self) -> bool:
        """Whether something is still to be done about it."""
        return self.state in (EntryState.INTENT, EntryState.SENT)

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


class MemoryOutbox:
    """An outbox that a restart loses: for tests and for scripts that need no more."""

    def __init__(self) -> None:
        self.entries: dict[int, OutboxEntry] = {}

    def add(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Keep a new intent."""
        for entry in self.live():
            if entry.kind == kind and not set(request_ids).isdisjoint(entry.request_ids):
                raise AlreadyPending(entry)
        entry = OutboxEntry(
            id=len(self.entries) + 1,
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
