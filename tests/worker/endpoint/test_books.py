"""Both kinds of books: what one endpoint wrote another one does not write over."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from oracle.errors import ConfigInvalid, Unavailable
from oracle.types import Bytes32, Timestamp
from tests.support.waiting import wait_until
from tests.worker.endpoint.test_ledger import (
    CHANNEL,
    FEE,
    OFFER,
    PAYER,
    SIGNER,
    digest,
    keep,
    receipt,
    voucher,
)
from worker.endpoint.books import KeptAnswer, ReceiptBooks
from worker.endpoint.file_books import FileBooks
from worker.endpoint.ledger import Account
from worker.endpoint.shared_books import SharedBooks

pytestmark = pytest.mark.real


@pytest.fixture(params=["file", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReceiptBooks]:
    """Give empty books of each kind."""
    if request.param == "file":
        opened: ReceiptBooks = FileBooks(tmp_path / "endpoint.db")
    else:
        opened = SharedBooks(request.getfixturevalue("books_url"))
    yield opened
    opened.close()


def loaded(books: ReceiptBooks) -> Account:
    account = Account(CHANNEL, SIGNER, FEE)
    books.load(account)
    return account


def answered(books: ReceiptBooks, account: Account, question: bytes = b"") -> bool:
    """Book and keep one answer more; whether it is kept."""
    question = question or uuid4().bytes
    account.admit(voucher(account.answered + 1), question)
    account.book(digest(account.answered + 1), question)
    made = receipt(account.answered)
    kept = KeptAnswer(Timestamp(9), b"in", b"out", question)
    return keep(books, account, [(account.tree.root, made, kept)])


# ── Compare and set ─────────────────────────────────────────────────────────────────────────────
def test_keep__row_moved_on__nothing_is_kept_and_the_other_channel_is(books: ReceiptBooks) -> None:
    first, late = loaded(books), loaded(books)
    assert answered(books, first, b"mine")
    assert not answered(books, late, b"theirs")
    assert books.given(CHANNEL, 0, b"theirs") is None
    assert books.given(CHANNEL, 0, b"mine") == (receipt(1), b"out")
    assert [one.index for one in books.receipts(CHANNEL, 0)] == [1]
    late.renew(loaded(books))
    assert answered(books, late)
    assert [one.index for one in books.receipts(CHANNEL, 0)] == [1, 2]


def test_agree__answered_meanwhile__refused_then_no_answer_is_kept(
    books: ReceiptBooks,
) -> None:
    first, late = loaded(books), loaded(books)
    assert answered(books, first)
    until = Timestamp(500)
    assert not books.agree(late, PAYER, OFFER, until)
    late.renew(loaded(books))
    assert books.agree(late, PAYER, OFFER, until)
    assert not answered(books, first)
    first.renew(loaded(books))
    assert (first.agreed_until, first.answered) == (until, 1)


def test_agree__no_answer_yet__the_first_one_elsewhere_is_not_kept(
    books: ReceiptBooks,
) -> None:
    first, late = loaded(books), loaded(books)
    assert books.agree(late, PAYER, OFFER, Timestamp(500))
    assert not answered(books, first)
    assert books.vouchers(OFFER) == []
    assert loaded(books).voucher is None


# ── PostgreSQL ──────────────────────────────────────────────────────────────────────────────────
def test_count_question__two_endpoints__one_window(books_url: str) -> None:
    with closing(SharedBooks(books_url)) as one, closing(SharedBooks(books_url)) as other:
        assert one.count_question(1, PAYER, 100, 60) == (100, 1)
        assert other.count_question(1, PAYER, 159, 60) == (100, 2)
        assert other.count_question(2, PAYER, 159, 60) == (159, 1)
        assert one.count_question(1, PAYER, 160, 60) == (160, 1)


def test_leads__leader_goes_or_its_connection_breaks__another_one_does(books_url: str) -> None:
    one, other = SharedBooks(books_url), SharedBooks(books_url)
    assert (one.leads(), other.leads(), one.leads()) == (True, False, True)
    with psycopg.connect(books_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        )
    with pytest.raises(Unavailable):
        one.leads()
    wait_until(other.leads, "the end of the other's session")
    assert not one.leads()  # over a new connection
    other.close()
    wait_until(one.leads, "the end of the other's session")
    one.close()


def test_open__no_database_or_another_version__refused(books_url: str) -> None:
    with pytest.raises(ConfigInvalid, match="no PostgreSQL"):
        SharedBooks("sqlite:///books.db")
    with pytest.raises(Unavailable, match="books"):
        SharedBooks("postgresql://nobody@127.0.0.1:1/none")
    SharedBooks(books_url).close()
    with psycopg.connect(books_url) as admin:
        admin.execute("UPDATE endpoint.version SET number = 9")
    with pytest.raises(ConfigInvalid, match="of version 9"):
        SharedBooks(books_url)


def test_take_over__file_of_one_endpoint__moved_once(books_url: str, tmp_path: Path) -> None:
    path = tmp_path / "endpoint.db"
    file = FileBooks(path)
    account = loaded(file)
    for question in (b"1", b"2"):
        assert answered(file, account, question)
    books = SharedBooks(books_url)
    with pytest.raises(ConfigInvalid, match="belongs to another process"):
        books.take_over(path)
    file.close()
    assert books.take_over(path)
    assert not books.take_over(path)
    found = loaded(books)
    assert (found.voucher, found.tree.root) == (account.voucher, account.tree.root)
    assert (found.roots, found.questions) == (account.roots, account.questions)
    assert books.given(CHANNEL, 0, b"2") == (receipt(2), b"out")
    assert answered(books, found)
    books.close()


# ── SQLite ──────────────────────────────────────────────────────────────────────────────────────
def test_open__file_of_version_1__kept_with_its_agreement(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.db"
    books = FileBooks(path)
    account = loaded(books)
    answered(books, account)
    books.close()
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            "ALTER TABLE channel DROP COLUMN agreed_until; ALTER TABLE answer DROP COLUMN question;"
            "CREATE TABLE agreed (channel BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;"
            f"INSERT INTO agreed VALUES (x'{CHANNEL.hex()}', 77); PRAGMA user_version = 1;"
        )
    books = FileBooks(path)
    account.renew(loaded(books))
    assert account.agreed_until == 77
    account.agreed_until = Timestamp(77)
    assert answered(books, account)
    assert books.answer(CHANNEL, 1) == KeptAnswer(Timestamp(9), b"in", b"out")
    books.close()


def test_forget__kept_bytes__gone_and_their_receipt_stays(books: ReceiptBooks) -> None:
    account = loaded(books)
    assert answered(books, account, b"q")
    books.forget(Timestamp(10))
    assert books.answer(CHANNEL, 1) is None
    assert books.given(CHANNEL, 0, b"q") is None
    assert Bytes32(books.receipts(CHANNEL, 0)[0].output_root) == digest(1)
