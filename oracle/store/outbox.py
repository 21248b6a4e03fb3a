"""The outbox of `oracle.chain.sender` in the operator's store: one commit per change.

That a request is served by one live transaction of a kind, and that live transactions have
different nonces, is held by unique indexes, not by the code that asks.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from oracle.chain.contract import Call
from oracle.chain.outbox import AlreadyPending, EntryState, OutboxEntry
from oracle.store.store import Store, Transaction
from oracle.store.tables import OutboxItemRow, OutboxRawRow, OutboxRow
from oracle.types import Address, RequestId, Wei


class SqlOutbox:
    """An `oracle.chain.outbox.OutboxStore` that outlives its process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, kind: str, request_ids: Sequence[RequestId], call: Call) -> OutboxEntry:
        """Keep a new intent.

        Raises:
            AlreadyPending: a live entry of this kind serves one of these requests.
        """
        with self._store.begin() as tx:
            return add_in(tx, kind, request_ids, call)

    def live(self) -> list[OutboxEntry]:
        """Return the live entries by id."""
        with self._store.read() as tx:
            return _entries(tx, OutboxRow.live)

    def put(self, entry: OutboxEntry) -> None:
        """Replace the entry of this id.

        Raises:
            ValueError: another live entry has this nonce, or one of its requests.
        """
        self.put_all([entry])

    def put_all(self, entries: Sequence[OutboxEntry]) -> None:
        """Replace several entries in one commit.

        Raises:
            ValueError: as `put`; none was replaced.
        """
        try:
            with self._store.begin() as tx:
                for entry in entries:
                    _replace(tx, entry)
        except IntegrityError as error:
            named = ", ".join(f"{entry.id} (nonce {entry.nonce})" for entry in entries)
            raise ValueError(f"transaction {named} collides with a live one") from error

    def next_nonce(self) -> int:
        """Return the nonce after the highest that is live or in a block; 0 when there is none."""
        taken = OutboxRow.live | OutboxRow.block_number.is_not(None)
        highest = select(OutboxRow.nonce).where(OutboxRow.nonce.is_not(None), taken)
        with self._store.read() as tx:
            found = tx.session.scalar(highest.order_by(OutboxRow.nonce.desc()).limit(1))
        return 0 if found is None else found + 1

    def mined_under(self, nonce: int) -> OutboxEntry | None:
        """Return the last entry that ended in a block under a nonce."""
        which = (OutboxRow.nonce == nonce) & OutboxRow.block_number.is_not(None)
        with self._store.read() as tx:
            found = _entries(tx, which)
        return found[-1] if found else None

    def of(self, request_id: RequestId) -> list[OutboxEntry]:
        """Return every entry that served a request, by id; for a person who asks what happened."""
        ids = select(OutboxItemRow.outbox_id).where(OutboxItemRow.request_id == request_id)
        with self._store.read() as tx:
            return _entries(tx, OutboxRow.id.in_(ids))


def _replace(tx: Transaction, entry: OutboxEntry) -> None:
    tx.session.execute(update(OutboxRow).where(OutboxRow.id == entry.id).values(_row_of(entry)))
    tx.session.execute(
        update(OutboxItemRow).where(OutboxItemRow.outbox_id == entry.id).values(live=entry.live)
    )
    tx.session.execute(delete(OutboxRawRow).where(OutboxRawRow.outbox_id == entry.id))
    raws = [
        {"outbox_id": entry.id, "position": position, "raw": raw}
        for position, raw in enumerate(entry.raws)
    ]
    if raws:
        tx.session.execute(insert(OutboxRawRow), raws)


def add_in(
    tx: Transaction,
    kind: str,
    request_ids: Sequence[RequestId],
    call: Call,
    *,
    gas: int = 0,
    estimated_at: float = 0.0,
) -> OutboxEntry:
    """Keep a new intent in a transaction that does more than that (see `SqlOutbox.add`).

    Args:
        gas: limit that was estimated; 0 = not yet.
        estimated_at: when, in unix seconds; an old estimate is made again.
    """
    entry = OutboxEntry(
        id=0,
        kind=kind,
        request_ids=tuple(request_ids),
        to=call.to,
        data=call.data,
        value=call.value,
        label=call.label,
        gas=gas,
        sent_at=estimated_at,
    )
    if pending := _pending(tx, kind, request_ids):
        raise AlreadyPending(pending)
    statement = insert(OutboxRow).values(_row_of(entry)).returning(OutboxRow.id)
    entry_id = tx.session.scalars(statement).one()
    items = [
        {
            "outbox_id": entry_id,
            "position": position,
            "request_id": request_id,
            "kind": kind,
            "live": True,
        }
        for position, request_id in enumerate(request_ids)
    ]
    if items:
        tx.session.execute(insert(OutboxItemRow), items)
    return _entries(tx, OutboxRow.id == entry_id)[0]


def mined_above(
    tx: Transaction, block: int, kind: str, request_ids: Sequence[RequestId]
) -> set[RequestId]:
    """Return which requests a mined transaction of a kind serves, in a block above this one."""
    found = tx.session.scalars(
        select(OutboxItemRow.request_id)
        .join(OutboxRow, OutboxRow.id == OutboxItemRow.outbox_id)
        .where(
            OutboxItemRow.kind == kind,
            OutboxItemRow.request_id.in_(request_ids),
            OutboxRow.state == EntryState.MINED,
            OutboxRow.block_number > block,
        )
    )
    return {RequestId(request_id) for request_id in found}


def _pending(tx: Transaction, kind: str, request_ids: Sequence[RequestId]) -> OutboxEntry | None:
    ids = select(OutboxItemRow.outbox_id).where(
        OutboxItemRow.live, OutboxItemRow.kind == kind, OutboxItemRow.request_id.in_(request_ids)
    )
    found = _entries(tx, OutboxRow.id.in_(ids))
    return found[0] if found else None


def _entries(tx: Transaction, which: ColumnElement[bool] | Any) -> list[OutboxEntry]:
    ids = select(OutboxRow.id).where(which)
    requests: dict[int, list[RequestId]] = {}
    for outbox_id, request_id in tx.session.execute(
        select(OutboxItemRow.outbox_id, OutboxItemRow.request_id)
        .where(OutboxItemRow.outbox_id.in_(ids))
        .order_by(OutboxItemRow.position)
    ):
        requests.setdefault(outbox_id, []).append(RequestId(request_id))
    raws: dict[int, list[bytes]] = {}
    for outbox_id, raw in tx.session.execute(
        select(OutboxRawRow.outbox_id, OutboxRawRow.raw)
        .where(OutboxRawRow.outbox_id.in_(ids))
        .order_by(OutboxRawRow.position)
    ):
        raws.setdefault(outbox_id, []).append(raw)
    rows = tx.session.scalars(
        select(OutboxRow).where(which).order_by(OutboxRow.id),
        execution_options={"populate_existing": True},
    )
    return [_entry_of(row, requests.get(row.id, []), raws.get(row.id, [])) for row in rows]


def _entry_of(row: OutboxRow, request_ids: list[RequestId], raws: list[bytes]) -> OutboxEntry:
    return OutboxEntry(
        id=row.id,
        kind=row.kind,
        request_ids=tuple(request_ids),
        to=Address(row.to),
        data=row.data,
        value=Wei(row.value),
        label=row.label,
        state=EntryState(row.state),
        nonce=row.nonce,
        gas=row.gas,
        max_fee=row.max_fee,
        priority_fee=row.priority_fee,
        raws=tuple(raws),
        sent_at=row.sent_at,
        error=row.error,
        permanent=row.permanent,
        block_number=row.block_number,
    )


def _row_of(entry: OutboxEntry) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "to": entry.to,
        "data": entry.data,
        "value": entry.value,
        "label": entry.label,
        "state": entry.state.value,
        "live": entry.live,
        "nonce": entry.nonce,
        "gas": entry.gas,
        "max_fee": entry.max_fee,
        "priority_fee": entry.priority_fee,
        "sent_at": entry.sent_at,
        "error": entry.error,
        "permanent": entry.permanent,
        "block_number": entry.block_number,
    }
