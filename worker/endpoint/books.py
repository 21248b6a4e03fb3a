"""Vouchers, receipts and the bytes behind them: what every kind of books keeps, and how it is read.

```
 FileBooks     one endpoint; SQLite in its folder                        (file_books.py)
 SharedBooks   several endpoints of one operator; PostgreSQL             (shared_books.py)
```
All answers that wait are durable in one commit before any of them leaves. A channel's row changes
only from the state that the writer saw to the next one (compare and set): of two endpoints that
give the same index one is refused, and its receipt never leaves. Sums are text, since they may have
more than 63 bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Address, Amount, Bytes32, Timestamp
from worker.endpoint.ledger import ROOTS, Account

# {bytes}, {number}: the database's words
SCHEMA = (
    """CREATE TABLE channel (
      id {bytes} PRIMARY KEY, offer {bytes} NOT NULL, payer TEXT NOT NULL, signer TEXT NOT NULL,
      cumulative TEXT NOT NULL, answers {number} NOT NULL, receipts_root {bytes} NOT NULL,
      signature {bytes} NOT NULL,   -- of the highest voucher; empty: there is none yet
      covered {number} NOT NULL,    -- receipts below its root
      answered {number} NOT NULL, peaks {bytes} NOT NULL, -- ReceiptTree
      agreed_until {number} NOT NULL DEFAULT 0 -- it may close at once, and takes no voucher
    )""",
    """CREATE TABLE receipt (
      channel {bytes} NOT NULL, number {number} NOT NULL,
      root {bytes} NOT NULL,  -- of the tree that ends with it
      answered_at {number} NOT NULL, input_root {bytes} NOT NULL, input_cid {bytes} NOT NULL,
      params {bytes} NOT NULL, output_root {bytes} NOT NULL, trace_root {bytes} NOT NULL,
      signature {bytes} NOT NULL, PRIMARY KEY (channel, number)
    )""",
    """CREATE TABLE answer (
      channel {bytes} NOT NULL, number {number} NOT NULL, until {number} NOT NULL,
      question {bytes} NOT NULL, -- with its voucher: who asks so again gets the same
      input {bytes} NOT NULL, output {bytes} NOT NULL,
      PRIMARY KEY (channel, number)
    )""",
    "CREATE INDEX answer_until ON answer (until)",
)
_SET = """
INSERT INTO channel VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET
  cumulative = excluded.cumulative, answers = excluded.answers,
  receipts_root = excluded.receipts_root, signature = excluded.signature,
  covered = excluded.covered, answered = excluded.answered, peaks = excluded.peaks,
  agreed_until = excluded.agreed_until
WHERE channel.answered = ? AND channel.agreed_until = ?"""
_VOUCHER = "payer, offer, cumulative, answers, receipts_root, signature"
_PAGE = 500  # receipts
_FORGOTTEN = 1000  # answers at once


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The bytes behind a receipt, for as long as somebody may doubt it.

    Attributes:
        until: when the answer can be summoned no more, in unix seconds.
        input, output: canonical.
        question: voucher and question in a few bytes.
    """

    until: Timestamp
    input: bytes
    output: bytes
    question: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """A channel before and after the answers of one commit."""

    channel: Bytes32
    was: tuple[int, Timestamp]  # answered, agreed_until
    row: tuple[Any, ...]  # `row_of`
    receipts: Sequence[tuple[Bytes32, AnswerReceipt, KeptAnswer]]  # with the root it ends


class ReceiptBooks(ABC):
    """Belongs to one thread at a time."""

    shared = False
    """Whether other endpoints write them too; then they tell what a broken commit left."""

    # ── The database ────────────────────────────────────────────────────────────────────────────
    @abstractmethod
    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Do one statement, in a commit of its own outside a transaction; return its rows."""

    @abstractmethod
    def _each(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Do a statement with each row; say of each whether it changed something."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[object]:
        """Commit what is done inside, or nothing of it."""

    @abstractmethod
    def close(self) -> None:
        """Let the database go."""

    def leads(self) -> bool:
        """Whether this endpoint sends what one alone must send: claims, and what is demanded."""
        return True

    def count_question(
        self, model_id: int, payer: Address, now: int, length: int
    ) -> tuple[int, int]:
        """Count a question of a payer in, for all endpoints together.

        Args:
            length: of the owner's window, in seconds; the first question after it begins another.

        Returns when the window began, and the number of questions in it.
        """
        raise NotImplementedError("one endpoint counts in its memory")

    # ── Writing ─────────────────────────────────────────────────────────────────────────────────
    def keep(self, changes: Sequence[Change]) -> set[Bytes32]:
        """Make channels, receipts and what is behind them durable in one commit.

        Returns the channels that another endpoint changed meanwhile: nothing of those is kept.

        Raises:
            sqlite3.Error, Unavailable: nobody knows what is kept; only reading again tells.
        """
        changes = sorted(changes, key=lambda change: change.channel)  # nobody waits in a circle
        with self._transaction():
            done = self._each(_SET, [(*one.row, *one.was) for one in changes])
            kept = [one for one, set_ in zip(changes, done, strict=True) if set_]
            rows = [(one.channel, *made) for one in kept for made in one.receipts]
            self._each(
                "INSERT INTO receipt VALUES (?,?,?,?,?,?,?,?,?,?)",
                [(channel, r.index, root, r.answered_at, r.input_root, r.input_cid, r.params,
                  r.output_root, r.trace_root, r.signature) for channel, root, r, _ in rows],
            )  # fmt: skip
            self._each(
                "INSERT INTO answer (channel, number, until, question, input, output) "
                "VALUES (?,?,?,?,?,?)",
                [(channel, receipt.index, answer.until, answer.question, answer.input,
                  answer.output) for channel, _, receipt, answer in rows],
            )  # fmt: skip
        return {one.channel for one in changes} - {one.channel for one in kept}

    def agree(self, account: Account, payer: Address, offer: Bytes32, until: Timestamp) -> bool:
        """Make durable that a channel may close, and takes no voucher until then.

        Returns whether no other endpoint changed the channel meanwhile.
        """
        nothing = (offer, payer, account.signer, "0", 0, ZERO32, b"", 0, 0, b"", until)
        (done,) = self._each(
            "INSERT INTO channel VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET "
            "agreed_until = excluded.agreed_until WHERE channel.answered = ?",
            [(account.channel, *nothing, account.answered)],
        )
        return done

    def forget(self, before: int, summoned: Collection[tuple[Bytes32, int]] = ()) -> None:
        """Drop bytes that nobody can doubt any more, some at a time.

        Args:
            before: when an answer could be summoned at the latest.
            summoned: channels and indices of answers that can be doubted for longer.
        """
        late = self._rows(
            "SELECT channel, number FROM answer WHERE until < ? LIMIT ?",
            before, _FORGOTTEN + len(summoned),
        )  # fmt: skip
        old = [(channel, number) for channel, number in late if (channel, number) not in summoned]
        with self._transaction():
            self._each("DELETE FROM answer WHERE channel = ? AND number = ?", old)

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────
    def load(self, account: Account) -> None:
        """Bring back what was kept of a channel."""
        found = self._rows(
            "SELECT payer, offer, cumulative, answers, receipts_root, signature, agreed_until, "
            "covered, answered, peaks FROM channel WHERE id = ?",
            account.channel,
        )
        if not found:
            return
        *row, agreed, account.covered, account.tree.count, peaks = found[0]
        account.kept, account.agreed_until = account.answered, Timestamp(agreed)
        account.voucher = _voucher(row) if row[5] else None
        account.tree.peaks = [Bytes32(peaks[at : at + 32]) for at in range(0, len(peaks), 32)]
        first = max(account.covered, account.answered - ROOTS + 1)
        roots = self._rows(
            "SELECT r.number, root, question FROM receipt AS r LEFT JOIN answer AS a "
            "ON a.channel = r.channel AND a.number = r.number "
            "WHERE r.channel = ? AND r.number BETWEEN ? AND ? ORDER BY r.number",
            account.channel, first, account.answered,
        )  # fmt: skip
        account.roots = {} if first else {ZERO32: 0}
        account.roots.update((Bytes32(root), number) for number, root, _ in roots)
        account.questions = {asked: number for number, _, asked in roots if asked is not None}

    def receipts(self, channel: Bytes32, after: int) -> list[AnswerReceipt]:
        """Return the receipts of a channel behind that index, a page of them."""
        rows = self._rows(
            "SELECT number, answered_at, input_root, input_cid, params, output_root, trace_root, "
            "signature FROM receipt WHERE channel = ? AND number > ? ORDER BY number LIMIT ?",
            channel, after, _PAGE,
        )  # fmt: skip
        return [AnswerReceipt(*row) for row in rows]

    def answer(self, channel: Bytes32, index: int) -> KeptAnswer | None:
        """Return the bytes behind a receipt, if they are still kept."""
        rows = self._rows(
            "SELECT until, input, output, question FROM answer WHERE channel = ? AND number = ?",
            channel, index,
        )  # fmt: skip
        return KeptAnswer(*rows[0]) if rows else None

    def given(
        self, channel: Bytes32, after: int, question: bytes
    ) -> tuple[AnswerReceipt, bytes] | None:
        """Return receipt and answer of a voucher and question, if its index is above `after`."""
        rows = self._rows(
            "SELECT r.number, answered_at, input_root, input_cid, params, output_root, trace_root, "
            "signature, output FROM answer AS a JOIN receipt AS r "
            "ON r.channel = a.channel AND r.number = a.number "
            "WHERE a.channel = ? AND a.number > ? AND question = ? LIMIT 1",
            channel, after, question,
        )  # fmt: skip
        return (AnswerReceipt(*rows[0][:-1]), rows[0][-1]) if rows else None

    def answered_since(
        self, payer: Address, offers: Sequence[Bytes32], since: int
    ) -> tuple[int, int]:
        """Return when the first answer after `since` to a payer was given, and how many were."""
        rows = self._rows(
            "SELECT offer, min(answered_at), count(*) FROM receipt JOIN channel ON channel = id "
            "WHERE payer = ? AND answered_at > ? GROUP BY offer",
            payer, since,
        )  # fmt: skip
        of = [(first, count) for offer, first, count in rows if offer in offers]
        return min((first for first, _ in of), default=0), sum(count for _, count in of)

    def offers(self) -> list[Bytes32]:
        """Return every offer that answers were given of."""
        rows = self._rows("SELECT DISTINCT offer FROM channel WHERE answers > 0")
        return [Bytes32(offer) for (offer,) in rows]

    def vouchers(self, offer: Bytes32) -> list[tuple[Address, Voucher]]:
        """Return the highest voucher of each channel of an offer, with its signer."""
        rows = self._rows(
            "SELECT payer, offer, cumulative, answers, receipts_root, signature, signer "
            "FROM channel WHERE offer = ? AND answers > 0 ORDER BY id",
            offer,
        )
        return [(Address(row[6]), _voucher(row)) for row in rows]


def row_of(account: Account) -> tuple[Any, ...]:
    """Return what is kept of a channel: a snapshot, for another thread."""
    voucher = account.voucher
    assert voucher is not None, "nothing is kept that no voucher pays"
    return (
        account.channel, voucher.offer_id, voucher.payer, account.signer, str(voucher.cumulative),
        voucher.answers, voucher.receipts_root, voucher.signature, account.covered,
        account.answered, b"".join(account.tree.peaks), account.agreed_until,
    )  # fmt: skip


def _voucher(row: Sequence[Any]) -> Voucher:
    payer, offer, cumulative, answers, root, signature = row[:6]
    return Voucher(
        Address(payer), Bytes32(offer), Amount(int(cumulative)), answers, Bytes32(root), signature
    )
