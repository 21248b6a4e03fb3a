"""Vouchers, answers, and crashes between any two steps: what was promised and signed is kept."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oracle.errors import ConfigInvalid
from oracle.protocol.canonical import keccak
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Address, Amount, Bytes32, Timestamp
from tests.support.effort import MACHINES, machine
from worker.endpoint.books import Change, KeptAnswer, ReceiptBooks, row_of
from worker.endpoint.file_books import FileBooks
from worker.endpoint.ledger import ROOTS, Account
from worker.endpoint.refusals import (
    ReceiptsRootUnknown,
    VoucherEqual,
    VoucherLower,
    VoucherMiscounted,
    VoucherRefused,
)

Made = tuple[Bytes32, AnswerReceipt, KeptAnswer]
FEE = Amount(100)
CHANNEL, OFFER = Bytes32(b"\1" * 32), Bytes32(b"\2" * 32)
PAYER, SIGNER = Address("0x" + "11" * 20), Address("0x" + "22" * 20)


def voucher(answers: int, root: Bytes32 = ZERO32) -> Voucher:
    return Voucher(PAYER, OFFER, Amount(answers * FEE), answers, root, bytes(65))


def digest(number: int) -> Bytes32:
    return keccak(number.to_bytes(8))


def receipt(index: int) -> AnswerReceipt:
    word = digest(index)
    return AnswerReceipt(index, Timestamp(index), word, ZERO32, ZERO32, word, ZERO32, bytes(65))


BYTES = KeptAnswer(Timestamp(0), b"", b"")


def keep(books: ReceiptBooks, account: Account, made: list[Made]) -> bool:
    """Keep what was booked, as the recorder does; whether nobody else was faster."""
    assert account.kept is not None
    change = Change(account.channel, (account.kept, account.agreed_until), row_of(account), made)
    if books.keep([change]):
        return False
    account.kept = account.answered
    return True


@pytest.fixture
def account() -> Account:
    return Account(CHANNEL, SIGNER, FEE)


# ── One account ─────────────────────────────────────────────────────────────────────────────────
FIRST = ReceiptTree([digest(1)]).root


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (voucher(2, FIRST), VoucherLower),
        (voucher(3, FIRST), VoucherEqual),
        (replace(voucher(9, FIRST), cumulative=Amount(9 * FEE - 1)), VoucherMiscounted),
        (voucher(9, digest(7)), ReceiptsRootUnknown),
        (voucher(9), ReceiptsRootUnknown),  # the last one had a later root
    ],
)
def test_admit__voucher_that_does_not_pay__refused_and_nothing_changed(
    account: Account, given: Voucher, error: type[VoucherRefused]
) -> None:
    account.admit(voucher(1), uuid4().bytes)
    account.book(digest(1), uuid4().bytes)
    for _ in range(2):
        account.admit(voucher(3, FIRST), uuid4().bytes)
    before = row_of(account), account.in_flight, dict(account.roots)
    with pytest.raises(error):
        account.admit(given, uuid4().bytes)
    assert (row_of(account), account.in_flight, account.roots) == before
    account.admit(voucher(4, FIRST), uuid4().bytes)


def test_admit__vouchers_that_overtake_each_other__all_pay(account: Account) -> None:
    for answers in (3, 1, 2):
        account.admit(voucher(answers), uuid4().bytes)
    assert (account.in_flight, account.promised) == (3, 3 * FEE)


def test_drop__failed_answer__costs_nothing_and_leaves_no_gap(account: Account) -> None:
    account.admit(voucher(1), uuid4().bytes)
    account.drop()
    account.admit(voucher(1), uuid4().bytes)
    account.book(digest(1), uuid4().bytes)
    assert (account.answered, account.in_flight) == (1, 0)


@pytest.mark.parametrize("receipts", [ROOTS - 1, ROOTS, ROOTS + 9])
def test_book__receipts_that_no_voucher_covers__the_last_roots_are_kept(
    account: Account, tmp_path: Path, receipts: int
) -> None:
    account.admit(voucher(receipts), uuid4().bytes)
    account.in_flight = receipts
    books = FileBooks(tmp_path / "endpoint.db")
    for index in range(1, receipts + 1):
        account.book(digest(index), uuid4().bytes)
        keep(books, account, [(account.tree.root, receipt(index), BYTES)])
    read = Account(CHANNEL, SIGNER, FEE)
    books.load(read)
    books.close()
    assert read.roots == account.roots
    assert len(read.roots) == min(ROOTS, receipts + 1)
    assert (ZERO32 in read.roots) == (receipts < ROOTS)
    account.admit(voucher(receipts + 1, account.tree.root), uuid4().bytes)


def test_forget__bytes_that_nobody_can_doubt_any_more__those_alone(
    account: Account, tmp_path: Path
) -> None:
    books = FileBooks(tmp_path / "endpoint.db")
    account.admit(voucher(3), uuid4().bytes)
    account.in_flight = 3
    kept = [KeptAnswer(Timestamp(until), b"in", b"out") for until in (5, 6, 5)]
    for index, answer in enumerate(kept, 1):
        account.book(digest(index), uuid4().bytes)
        keep(books, account, [(account.tree.root, receipt(index), answer)])
    books.forget(6, {(CHANNEL, 3)})  # which is summoned
    assert [books.answer(CHANNEL, index) for index in (1, 2, 3, 4)] == [None, *kept[1:], None]
    books.forget(6)
    assert books.answer(CHANNEL, 3) is None
    assert books.offers() == [voucher(1).offer_id]
    books.close()


def test_open__twice__refused(tmp_path: Path) -> None:
    books = FileBooks(tmp_path / "endpoint.db")
    with pytest.raises(ConfigInvalid, match="belongs to another process"):
        FileBooks(tmp_path / "endpoint.db")
    books.close()
    FileBooks(tmp_path / "endpoint.db").close()


# ── Crashes ─────────────────────────────────────────────────────────────────────────────────────
class Lives(RuleBasedStateMachine):
    """One channel; the process dies between any two steps, and reads its books again."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.left: dict[int, Bytes32] = {}  # digests of the replies that left, by index
        self.seen = Amount(0)  # the highest voucher when one of those was signed
        self.number = 0  # of answers, lost ones included
        self.live()

    def live(self) -> None:
        self.books = FileBooks(Path(self.folder.name) / "endpoint.db")
        self.account = Account(CHANNEL, SIGNER, FEE)
        self.books.load(self.account)
        self.waiting: list[tuple[Bytes32, AnswerReceipt, Amount]] = []  # signed, not kept
        self.kept: list[tuple[AnswerReceipt, Amount]] = []  # and may leave

    @rule(more=st.integers(0, 3), back=st.integers(0, 3))
    def ask(self, more: int, back: int) -> None:
        """A client signs for more answers, or for the same, over the receipts that it has."""
        known = ReceiptTree(self.left[i] for i in range(1, max(0, len(self.left) - back) + 1))
        given = voucher(self.account.promised // FEE + more, known.root)
        counted, covered = self.account.answered + self.account.in_flight, self.account.covered
        try:
            self.account.admit(given, uuid4().bytes)
        except ReceiptsRootUnknown:
            assert known.count < covered
        except VoucherRefused:
            assert counted >= given.answers

    @precondition(lambda self: self.account.in_flight)
    @rule()
    def fail(self) -> None:
        self.account.drop()

    @precondition(lambda self: self.account.in_flight)
    @rule()
    def sign(self) -> None:
        self.number += 1
        self.account.book(digest(self.number), uuid4().bytes)
        signed = replace(receipt(self.account.answered), output_root=digest(self.number))
        self.waiting.append((self.account.tree.root, signed, self.account.promised))

    @precondition(lambda self: self.waiting)
    @rule()
    def keep(self) -> None:
        made = [(root, one, BYTES) for root, one, _ in self.waiting]
        assert keep(self.books, self.account, made)
        self.kept += [(one, promised) for _, one, promised in self.waiting]
        self.waiting = []

    @precondition(lambda self: self.kept)
    @rule()
    def reply(self) -> None:
        one, promised = self.kept.pop(0)
        self.leave(one)
        self.seen = max(self.seen, promised)

    @rule()
    def catch_up(self) -> None:
        """The client asks for receipts whose replies were lost."""
        for one in self.books.receipts(CHANNEL, len(self.left)):
            self.leave(one)

    def leave(self, one: AnswerReceipt) -> None:
        assert self.left.setdefault(one.index, one.output_root) == one.output_root

    @rule()
    def crash(self) -> None:
        """What was not kept is gone, and so are the answers under way."""
        self.books.close()
        self.live()

    @invariant()
    def every_reply_is_paid_by_a_kept_voucher(self) -> None:
        if self.left:
            ((signer, kept),) = self.books.vouchers(OFFER)
            assert signer == SIGNER
            assert kept.cumulative >= max(self.seen, len(self.left) * FEE)

    @invariant()
    def indices_have_no_gap_and_roots_are_those_of_the_replies(self) -> None:
        assert sorted(self.left) == list(range(1, len(self.left) + 1))
        root = ReceiptTree(self.left[i] for i in sorted(self.left)).root
        if len(self.left) >= self.account.covered:
            assert self.account.roots[root] == len(self.left)

    @invariant()
    def no_more_is_given_than_was_promised(self) -> None:
        counted = self.account.answered + self.account.in_flight
        assert counted * FEE <= self.account.promised

    def teardown(self) -> None:
        self.books.close()
        self.folder.cleanup()


TestLives = Lives.TestCase
TestLives.settings = machine(MACHINES, 40)
