"""The part of a transaction that knows the chain: cursor, blocks, logs, who is authorised.

All of it can be thrown away above a block and told again (`rewind`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, delete, insert, select

from oracle.errors import ConfigInvalid, PermanentError
from oracle.store.repository import Repository, portions
from oracle.store.tables import AuthorizationRow, BlockRow, LogRow, MetaRow
from oracle.types import Address, BlockRef, Bytes32, Log, RequestId, Timestamp


class RewindNeeded(PermanentError):
    """A log stands where another block's log is stored: the chain changed, rewind first."""


class StoredLog(NamedTuple):  # there are many: a tuple is made in a third of a dataclass's time
    """One raw log and what it is about; both ids come from `oracle.chain.logs.keys`."""

    log: Log
    request_id: RequestId | None = None
    model_id: int | None = None


# Built once: every cycle of a follower runs them
_BLOCKS = select(BlockRow.number, BlockRow.hash, BlockRow.parent_hash, BlockRow.timestamp).order_by(
    BlockRow.number.desc()
)
_NEWEST = _BLOCKS.where(BlockRow.number <= bindparam("up_to")).limit(1)
_PRUNE = delete(BlockRow).where(
    BlockRow.number
    <= select(BlockRow.number)
    .order_by(BlockRow.number.desc())
    .limit(1)
    .offset(bindparam("keep"))
    .scalar_subquery()
)
_META = select(MetaRow.value).where(MetaRow.key == bindparam("of"))
_CURSOR = "cursor"
_IDENTITY = "identity"
_LEASE = "lease"
_LOG_COLUMNS = tuple(LogRow.__table__.columns.keys())


class ChainRepository(Repository):
    """Facts of the chain, as far as the cursor."""

    def bind(self, identity: str) -> None:
        """Tie the store to one deployment for ever, e.g. "<chain id>:<market>:<genesis hash>".

        Raises:
            ConfigInvalid: it is tied to another one.
        """
        known = self._meta(_IDENTITY)
        if known is None:
            self._set_meta(_IDENTITY, identity)
        elif known != identity:
            raise ConfigInvalid(
                f"this store belongs to {known}, not to {identity}",
                hint="every network needs a store of its own: set TALLYSTICK_STORE_URL, or move "
                "the old file away",
            )

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease unless another holder's still runs; return whether it was taken.

        Args:
            name: of what only one may do at a time.
            seconds: until it ends by itself, by the clocks of the machines that share the store.
        """
        held_by, _, until = (self._meta(f"{_LEASE}:{name}") or "").partition(" ")
        now = self._now()
        # an end that is far away was set by a clock that was wrong
        if held_by and held_by != holder and now < float(until) <= now + 2 * seconds:
            return False
        self._set_meta(f"{_LEASE}:{name}", f"{holder} {now + seconds}")
        return True

    def release(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens when another has taken it."""
        if (self._meta(f"{_LEASE}:{name}") or "").partition(" ")[0] == holder:
            self.session.execute(delete(MetaRow).where(MetaRow.key == f"{_LEASE}:{name}"))

    def cursor(self) -> int | None:
        """Return the number of the last applied block; None before the first."""
        value = self._meta(_CURSOR)
        return None if value is None else int(value)

    def set_cursor(self, number: int) -> None:
        """Say that everything up to this block is in the store."""
        self._set_meta(_CURSOR, str(number))

    def newest_block(self, up_to: int = 2**62) -> BlockRef | None:
        """Return the newest remembered block (up to a number): cheap enough for every look."""
        return next(iter(self._blocks(_NEWEST, {"up_to": up_to})), None)

    def blocks(self) -> list[BlockRef]:
        """Return the remembered blocks, newest first."""
        return self._blocks(_BLOCKS)

    def _blocks(self, query: Any, given: Mapping[str, int] | None = None) -> list[BlockRef]:
        rows = self.session.connection().execute(query, given)
        return [
            BlockRef(number, Bytes32(hash_), Bytes32(parent), Timestamp(at))
            for number, hash_, parent, at in rows
        ]

    def add_blocks(self, blocks: Iterable[BlockRef]) -> None:
        """Remember blocks; one whose number is known already takes its place."""
        rows = {
            block.number: {
                "number": block.number,
                "hash": block.hash,
                "parent_hash": block.parent_hash,
                "timestamp": block.timestamp,
            }
            for block in blocks
        }
        self.upsert(BlockRow, list(rows.values()))

    def prune_blocks(self, keep: int) -> None:
        """Forget all but the newest `keep` blocks: deeper reorgs are not looked for."""
        self.session.connection().execute(_PRUNE, {"keep": keep})

    def add_logs(self, logs: Sequence[StoredLog]) -> list[StoredLog]:
        """Append logs and return those that were not known, in their order.

        Raises:
            RewindNeeded: a log's place in its block number is taken by another block's log.
        """
        if not logs:
            return []
        known = self._places(logs)
        fresh: list[StoredLog] = []
        for stored in logs:
            log = stored.log
            place = (log.block_number, log.log_index)
            before = known.get(place)
            if before is None:
                known[place] = log.block_hash
                fresh.append(stored)
            elif before != log.block_hash:
                raise RewindNeeded(
                    f"block {log.block_number} was 0x{before.hex()}, is now "
                    f"0x{log.block_hash.hex()}",
                    hint="rewind below this block before adding its logs",
                )
        if fresh:
            self._insert_logs(fresh)
        return fresh

    def logs_of_all(self, request_ids: Collection[RequestId]) -> dict[RequestId, list[Log]]:
        """Return the logs of many requests, each one's oldest first."""
        found: dict[RequestId, list[Log]] = {request_id: [] for request_id in request_ids}
        for portion in portions(request_ids):
            for about, log in self._rows(LogRow.request_id.in_(portion)):
                found[RequestId(about or b"")].append(log)
        return found

    def logs_of_model(self, model_id: int, topic0: bytes | None = None) -> list[Log]:
        """Return the logs that name a model, oldest first; of one event when `topic0` is given."""
        logs = self._logs(LogRow.model_id == model_id)
        return [log for log in logs if topic0 is None or log.topics[0] == topic0]

    def logs_above(self, number: int) -> list[Log]:
        """Return every log above a block, oldest first; -1 for all."""
        return self._logs(LogRow.block_number > number)

    def requests_of(self, model_id: int) -> list[RequestId]:
        """Return the ids of a model's requests, oldest first."""
        rows = self.session.scalars(
            select(LogRow.request_id)
            .where(LogRow.model_id == model_id, LogRow.request_id.is_not(None))
            .order_by(LogRow.block_number, LogRow.log_index)
        )
        return list(dict.fromkeys(RequestId(row) for row in rows if row is not None))

    def set_authorized(
        self, model_id: int, operator: Address, authorized: bool, block_number: int, log_index: int
    ) -> None:
        """Record that a log authorised an operator for a model, or no longer."""
        row = {
            "model_id": model_id,
            "operator": operator,
            "block_number": block_number,
            "log_index": log_index,
            "authorized": authorized,
        }
        self.upsert(AuthorizationRow, [row])

    def is_authorized(self, model_id: int, operator: Address) -> bool:
        """Say whether an operator is authorised for a model, by the latest log."""
        latest = self.session.scalar(
            select(AuthorizationRow.authorized)
            .where(
                and_(AuthorizationRow.model_id == model_id, AuthorizationRow.operator == operator)
            )
            .order_by(AuthorizationRow.block_number.desc(), AuthorizationRow.log_index.desc())
            .limit(1)
        )
        return bool(latest)

    def rewind(self, number: int) -> set[RequestId]:
        """Forget all that came from blocks above `number`, and set the cursor there.

        Jobs stay as they are: fold the logs that are left again for each request returned, and
        delete the job when no `Requested` is among them. Answers, failures and the outbox are the
        operator's own and stay in any case.

        Returns:
            The requests that lost a log.
        """
        gone = LogRow.block_number > number
        touched = self.session.scalars(
            select(LogRow.request_id).where(gone, LogRow.request_id.is_not(None)).distinct()
        )
        requests = {RequestId(row) for row in touched if row is not None}
        self.session.execute(delete(LogRow).where(gone))
        self.session.execute(delete(BlockRow).where(BlockRow.number > number))
        self.session.execute(delete(AuthorizationRow).where(AuthorizationRow.block_number > number))
        cursor = self.cursor()
        if cursor is not None and cursor > number:
            self.set_cursor(number)
        return requests

    def _insert_logs(self, logs: Sequence[StoredLog]) -> None:
        # The driver takes bytes as they are; SQLAlchemy's per-value handling would double the time.
        connection = self.session.connection()
        statement = str(insert(LogRow).compile(dialect=connection.dialect))
        rows = [_row_of(stored) for stored in logs]
        if connection.dialect.positional:
            connection.exec_driver_sql(statement, rows)
        else:
            connection.exec_driver_sql(
                statement, [dict(zip(_LOG_COLUMNS, row, strict=True)) for row in rows]
            )

    def _places(self, logs: Sequence[StoredLog]) -> dict[tuple[int, int], bytes]:
        numbers = [stored.log.block_number for stored in logs]
        rows = self.session.execute(
            select(LogRow.block_number, LogRow.log_index, LogRow.block_hash).where(
                LogRow.block_number.between(min(numbers), max(numbers))
            )
        )
        return {(number, index): hash_ for number, index, hash_ in rows}

    def _logs(self, which: ColumnElement[bool]) -> list[Log]:
        return [log for _, log in self._rows(which)]

    def _rows(self, which: ColumnElement[bool]) -> Iterator[tuple[bytes | None, Log]]:
        """Yield (request id, log), oldest first."""
        rows = self.session.execute(
            select(
                LogRow.address,
                LogRow.topics,
                LogRow.data,
                LogRow.block_number,
                LogRow.block_hash,
                LogRow.tx_hash,
                LogRow.log_index,
                LogRow.request_id,
            )
            .where(which)
            .order_by(LogRow.block_number, LogRow.log_index)
        )
        for address, topics, data, number, block_hash, tx_hash, index, about in rows:
            words = tuple([topics[at : at + 32] for at in range(0, len(topics), 32)])
            yield (
                about,
                Log(
                    Address(address),
                    words,
                    data,
                    number,
                    Bytes32(block_hash),
                    Bytes32(tx_hash),
                    index,
                ),
            )

    def _meta(self, key: str) -> str | None:
        found: str | None = self.session.connection().execute(_META, {"of": key}).scalar()
        return found

    def _set_meta(self, key: str, value: str) -> None:
        self.upsert(MetaRow, [{"key": key, "value": value}])


def _row_of(stored: StoredLog) -> tuple[object, ...]:
    """Give the values in the order of `_LOG_COLUMNS`.

    sqlite3 looks for an adapter of every `bytes` (and finds none), of a `bytearray` it does not:
    that halves the time to insert a log.
    """
    log, request_id, model_id = stored
    return (
        log.block_number,
        log.log_index,
        bytearray(log.block_hash),
        bytearray(log.tx_hash),
        log.address,
        bytearray().join(log.topics),
        bytearray(log.data),
        None if request_id is None else bytearray(request_id),
        model_id,
    )
