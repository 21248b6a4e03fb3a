"""The outbox of `oracle.chain.sender` in the operator's store: one commit per change.

That a request is served by one live transaction of a kind, and that live transactions have
different nonces, is held by unique indexes, not by the code that asks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from oracle.chain.contract import Call
from oracle.chain.outbox import AlreadyPending, EntryState, OutboxEntry
from oracle.store.repository import portions
from oracle.store.store import Store, Transaction
from oracle.store.tables import OutboxItemRow, OutboxRawRow, OutboxRow
from oracle.types import Address, RequestId, Wei

# Built once: each step of a sender runs some of them
_rows, _items, _raws = (
    cast(Table, kind.__table__) for kind in (OutboxRow, OutboxItemRow, OutboxRawRow)
)
_ADD = insert(_rows).returning(_rows.c.id)
_ADD_ITEMS = insert(_items)
_REPLACE = update(_rows).where(_rows.c.id == bindparam("of"))
_MARK = update(_items).where(_items.c.outbox_id == bindparam("of"))
_CUT = delete(_raws).where(
    _raws.c.outbox_id == bindparam("of"), _raws.c.position >= bindparam("kept")
)
_PENDING = (
    select(_items.c.outbox_id)
    .where(
        OutboxItemRow.live,
        _items.c.kind == bindparam("kind"),
        _items.c.request_id.in_(bindparam("request_ids", expanding=True)),
    )
    .order_by(_items.c.outbox_id)
)
_ITEMS_OF, _RAWS_OF = (
    select(table.c.outbox_id, value)
    .where(table.c.outbox_id.in_(bindparam("ids", expanding=True)))
    .order_by(table.c.position)
    for table, value in ((_items, _items.c.request_id), (_raws, _raws.c.raw))
)


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
                _replace(tx, entries)
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


def _replace(tx: Transaction, entries: Sequence[OutboxEntry]) -> None:
    connection = tx.session.connection()
    connection.execute(_REPLACE, [{"of": entry.id, **_row_of(entry)} for entry in entries])
    connection.execute(_MARK, [{"of": entry.id, "live": entry.live} for entry in entries])
    connection.execute(_CUT, [{"of": entry.id, "kept": len(entry.raws)} for entry in entries])
    raws = [
        {"outbox_id": entry.id, "position": position, "raw": raw}
        for entry in entries
        for position, raw in enumerate(entry.raws)
    ]
    tx.upsert(OutboxRawRow, raws)


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
    connection = tx.session.connection()
    entry_id = connection.execute(_ADD, _row_of(entry)).scalar_one()
    entry = replace(entry, id=entry_id)
    if request_ids:
        connection.execute(_ADD_ITEMS, _items_of(entry))
    return entry


def join_in(
    tx: Transaction, entries: Sequence[OutboxEntry], call: Call, *, gas: int
) -> OutboxEntry:
    """Make one intent of several that nothing was signed for; it serves all their requests.

    Args:
        gas: limit for all of them.
    """
    first, others = entries[0], [entry.id for entry in entries[1:]]
    joined = replace(
        first, data=call.data, label=call.label, gas=gas,
        sent_at=min(entry.sent_at for entry in entries),
        request_ids=tuple(name for entry in entries for name in entry.request_ids),
    )  # fmt: skip
    connection = tx.session.connection()
    ids = [first.id, *others]
    connection.execute(delete(_items).where(_items.c.outbox_id.in_(ids)))
    connection.execute(delete(_rows).where(_rows.c.id.in_(others)))
    _replace(tx, [joined])
    connection.execute(_ADD_ITEMS, _items_of(joined))
    return joined


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
    given = {"kind": kind, "request_ids": list(request_ids)}
    found = tx.session.connection().execute(_PENDING, given).scalar()
    return None if found is None else _entries(tx, OutboxRow.id == found)[0]


def _entries(tx: Transaction, which: ColumnElement[bool] | Any) -> list[OutboxEntry]:
    connection = tx.session.connection()
    rows = connection.execute(select(_rows).where(which).order_by(_rows.c.id)).all()
    requests: dict[int, list[RequestId]] = {}
    raws: dict[int, list[bytes]] = {}
    for ids in portions(row.id for row in rows):
        for outbox_id, request_id in connection.execute(_ITEMS_OF, {"ids": ids}):
            requests.setdefault(outbox_id, []).append(RequestId(request_id))
        for outbox_id, raw in connection.execute(_RAWS_OF, {"ids": ids}):
            raws.setdefault(outbox_id, []).append(raw)
    return [_entry_of(row, requests.get(row.id, []), raws.get(row.id, [])) for row in rows]


def _items_of(entry: OutboxEntry) -> list[dict[str, object]]:
    return [
        {
            "outbox_id": entry.id,
            "position": position,
            "request_id": request_id,
            "kind": entry.kind,
            "live": True,
        }
        for position, request_id in enumerate(entry.request_ids)
    ]


def _entry_of(row: Any, request_ids: list[RequestId], raws: list[bytes]) -> OutboxEntry:
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
