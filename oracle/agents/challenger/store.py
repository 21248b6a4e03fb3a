"""What a challenger remembers over a crash: deliveries it owes a look, and what it committed to.

One SQLite file. Everything else is on the chain and is read again. Losing the file loses at most
the bonds of challenges that hide a fault: the salt that opens them follows from the secret in it.
```
 meta        secret, owner
 blocks      hashes of finalized blocks up to which deliveries were read: a reorg is seen
 cases       deliveries by (request, output root) with their state
 plans       the fault that an attempt commits to, before it is sent
 receipts    what operators signed, with the trace's leaves;  tensors: bytes that they served
```
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oracle.agents.challenger.moves import Plan
from oracle.chain.dispute_game import Receipt
from oracle.errors import ConfigInvalid
from oracle.merkle import keccak
from oracle.services.exact_faults import Fault
from oracle.services.served_traces import SignedReceipt
from oracle.types import ZERO32, Address, BlockRef, Bytes32, RequestId, Timestamp

_KEPT_BLOCKS = 512
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cases (
    request_id BLOB, output_root BLOB, state TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (request_id, output_root));
CREATE TABLE IF NOT EXISTS plans (
    request_id BLOB, output_root BLOB, attempt INTEGER, salt BLOB NOT NULL,
    op INTEGER, row INTEGER, col INTEGER, PRIMARY KEY (request_id, output_root, attempt));
CREATE TABLE IF NOT EXISTS receipts (
    request_id BLOB, output_root BLOB, trace_root BLOB, signature BLOB, leaves BLOB,
    PRIMARY KEY (request_id, output_root, trace_root));
CREATE TABLE IF NOT EXISTS tensors (
    request_id BLOB, op INTEGER, leaf BLOB, record BLOB NOT NULL,
    PRIMARY KEY (request_id, op, leaf));
"""


class CaseState(StrEnum):
    """What we know of a delivery that was picked."""

    DUE = "due"  # not looked at yet, or could not be
    RIGHT = "right"
    WRONG = "wrong"  # to be disputed, or in dispute
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Case:
    """One delivery that was picked."""

    request_id: RequestId
    output_root: Bytes32
    state: CaseState
    note: str = ""


class Memory:
    """One challenger's file. Every method is one committed transaction."""

    def __init__(self, path: Path | str, owner: Address) -> None:
        """Open or create the file.

        Raises:
            ConfigInvalid: it belongs to another account, or is no database.
        """
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ConfigInvalid(f"{path} cannot be used: {error}") from error
        with self._write():
            self._default("secret", secrets.token_bytes(32))
            self._default("owner", owner.encode())
        found = self._meta("owner").decode()
        if found != owner:
            raise ConfigInvalid(
                f"{path} belongs to {found}, not to {owner}",
                hint="bonds are the account's that sent them: run with its key",
            )
        self._secret = self._meta("secret")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ── Chance ──────────────────────────────────────────────────────────────────────────────────

    def picks(self, request_id: RequestId, fraction: float) -> bool:
        """Return whether a request is among those looked at: nobody outside can tell."""
        drawn = int.from_bytes(keccak(self._secret + b"pick" + request_id)[:8])
        return drawn < fraction * 2**64

    def salt(self, request_id: RequestId, output_root: Bytes32, attempt: int) -> Bytes32:
        """Return the salt of an attempt."""
        return keccak(self._secret + b"salt" + request_id + output_root + attempt.to_bytes(4))

    # ── Following ───────────────────────────────────────────────────────────────────────────────

    def blocks(self) -> list[BlockRef]:
        """Return the known finalized blocks, newest first."""
        rows = self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC")
        return [BlockRef(n, Bytes32(h), ZERO32, Timestamp(0)) for n, h in rows]

    def forget_above(self, number: int) -> None:
        """Forget blocks above this one: the chain has. What was over may be open again."""
        with self._write():
            self._db.execute("UPDATE cases SET state = 'due' WHERE state = 'over'")
            self._db.execute("DELETE FROM blocks WHERE number > ?", (number,))

    def advance(self, block: BlockRef, due: Iterable[tuple[RequestId, Bytes32]]) -> None:
        """Note that deliveries up to a block were read, and which of them are to be looked at."""
        with self._write():
            for request_id, output_root in due:
                self._add(request_id, output_root)
            self._db.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?)", (block.number, block.hash)
            )
            self._db.execute("DELETE FROM blocks WHERE number < ?", (block.number - _KEPT_BLOCKS,))

    # ── Cases ───────────────────────────────────────────────────────────────────────────────────

    def add(
        self,
        request_id: RequestId,
        output_root: Bytes32,
        state: CaseState = CaseState.DUE,
    ) -> None:
        """Note a delivery, unless it is known."""
        with self._write():
            self._add(request_id, output_root, state)

    def put(self, case: Case) -> None:
        """Replace what is known of a delivery."""
        with self._write():
            self._db.execute(
                "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?)",
                (case.request_id, case.output_root, case.state.value, case.note),
            )

    def cases(self, *states: CaseState) -> list[Case]:
        """Return the deliveries in these states, oldest first; all without states."""
        wanted = [state.value for state in states or tuple(CaseState)]
        marks = ", ".join("?" * len(wanted))
        rows = self._db.execute(
            f"SELECT * FROM cases WHERE state IN ({marks}) ORDER BY rowid",  # noqa: S608
            wanted,
        )
        return [Case(RequestId(r), Bytes32(o), CaseState(s), n) for r, o, s, n in rows]

    def case(self, request_id: RequestId, output_root: Bytes32) -> Case | None:
        """Return one delivery."""
        mine = (c for c in self.cases() if c.request_id == request_id)
        return next((c for c in mine if c.output_root == output_root), None)

    # ── Games ───────────────────────────────────────────────────────────────────────────────────

    def plan(self, request_id: RequestId, output_root: Bytes32, attempt: int) -> Plan | None:
        """Return what an attempt to dispute this answer committed to."""
        row = self._db.execute(
            "SELECT salt, op, row, col FROM plans "
            "WHERE request_id = ? AND output_root = ? AND attempt = ?",
            (request_id, output_root, attempt),
        ).fetchone()
        if row is None:
            return None
        fault = None if row[1] is None else (row[1], row[2], row[3])
        return Plan(attempt, Bytes32(row[0]), fault)

    def keep_plan(
        self, request_id: RequestId, output_root: Bytes32, attempt: int, fault: Fault | None
    ) -> Plan:
        """Fix what an attempt commits to; the first plan of an attempt stands and is returned."""
        salt = self.salt(request_id, output_root, attempt)
        with self._write():
            self._db.execute(
                "INSERT OR IGNORE INTO plans VALUES (?, ?, ?, ?, ?, ?, ?)",
                (request_id, output_root, attempt, salt, *(fault or (None, None, None))),
            )
        plan = self.plan(request_id, output_root, attempt)
        assert plan is not None
        return plan

    def keep_receipt(self, request_id: RequestId, signed: SignedReceipt) -> None:
        """Keep what an operator signed; nothing signed is ever dropped."""
        receipt = signed.receipt
        key = (request_id, receipt.output_root, receipt.trace_root)
        with self._write():
            self._db.execute(
                "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?, ?)",
                (*key, receipt.signature, b""),
            )
            if signed.leaves:
                self._db.execute(
                    "UPDATE receipts SET leaves = ? WHERE request_id = ? AND output_root = ? "
                    "AND trace_root = ?",
                    (b"".join(signed.leaves), *key),
                )

    def receipts(self, request_id: RequestId) -> list[SignedReceipt]:
        """Return everything that was signed for a request."""
        rows = self._db.execute(
            "SELECT output_root, trace_root, signature, leaves FROM receipts "
            "WHERE request_id = ? ORDER BY rowid",
            (request_id,),
        )
        return [
            SignedReceipt(Receipt(Bytes32(o), Bytes32(t), s), split(leaves))
            for o, t, s, leaves in rows
        ]

    def keep_tensor(self, request_id: RequestId, op: int, leaf: Bytes32, record: bytes) -> None:
        """Keep bytes that an operator served."""
        with self._write():
            self._db.execute(
                "INSERT OR IGNORE INTO tensors VALUES (?, ?, ?, ?)", (request_id, op, leaf, record)
            )

    def tensor(self, request_id: RequestId, op: int, leaf: Bytes32) -> bytes | None:
        """Return the record behind a tensor leaf."""
        row = self._db.execute(
            "SELECT record FROM tensors WHERE request_id = ? AND op = ? AND leaf = ?",
            (request_id, op, leaf),
        ).fetchone()
        return None if row is None else bytes(row[0])

    # ── SQL ─────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _add(
        self, request_id: RequestId, output_root: Bytes32, state: CaseState = CaseState.DUE
    ) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO cases VALUES (?, ?, ?, '')",
            (request_id, output_root, state.value),
        )

    def _default(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))

    def _meta(self, name: str) -> bytes:
        row: Sequence[bytes] = self._db.execute(
            "SELECT value FROM meta WHERE name = ?", (name,)
        ).fetchone()
        return bytes(row[0])


def split(leaves: bytes) -> tuple[Bytes32, ...]:
    """Return 32-byte words."""
    return tuple(Bytes32(leaves[at : at + 32]) for at in range(0, len(leaves), 32))
