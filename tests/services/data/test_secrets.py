"""The owner's book of secrets: private, whole, and found again. Opens no sockets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, NotFound
from oracle.services.data import secrets
from oracle.services.data.credits import ROW, format_credits, parse_credits
from oracle.services.data.secrets import Secret, SecretBook
from oracle.types import Address, Bytes32
from tests.services.data.people import data_set

ALICE = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
DATA = data_set()
SECRET = Secret(Bytes32(b"\1" * 32), ALICE, 3, Bytes32(b"\2" * 32), DATA.root, DATA.rows)


@pytest.fixture
def book(tmp_path: Path) -> SecretBook:
    found = SecretBook(tmp_path / "data")
    found.keep(SECRET, DATA)
    return found


def test_find__never_kept__is_none(book: SecretBook, tmp_path: Path) -> None:
    assert book.find(Bytes32(b"\3" * 32)) is None
    assert SecretBook(tmp_path / "none").of_account(ALICE, 3) == ()


def test_keep__then_find__is_the_same_and_private(book: SecretBook) -> None:
    assert book.find(SECRET.commitment) == SECRET
    assert book.of_account(ALICE, 3) == (SECRET,)
    assert book.of_account(ALICE, 4) == ()
    assert book.data(SECRET).root == DATA.root
    assert book.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in book.folder.iterdir()} == {0o600}
    assert {path.suffix for path in book.folder.iterdir()} == {".json", ".rows"}


def test_keep__folder_cannot_be_written__says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigInvalid, match="cannot keep a secret"):
        SecretBook(tmp_path / "data").keep(SECRET, DATA)


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"salt": "zz"}'])
def test_find__damaged__says_which_file(book: SecretBook, damage: str) -> None:
    path = book.folder / f"{SECRET.commitment.hex()}.json"
    text = damage
    if damage.startswith('{"'):
        text = json.dumps(json.loads(path.read_text()) | json.loads(damage))
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match="is damaged"):
        book.find(SECRET.commitment)


def test_data__rows_gone_or_cut__says_so(book: SecretBook) -> None:
    path = book.folder / f"{DATA.root.hex()}.rows"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DigestMismatch):
        book.data(SECRET)
    with pytest.raises(NotFound, match="are gone"):
        book.data(replace(SECRET, root=Bytes32(b"\4" * 32)))


def test_salt__is_never_the_same() -> None:
    assert len({secrets.salt() for _ in range(64)}) == 64


@pytest.mark.parametrize("text", ["", "-1", "0", "0.0000000000001", "1e3", "x", "99999999", "٣"])
def test_parse_credits__no_number_of_credits__is_refused(text: str) -> None:
    with pytest.raises(InputInvalid, match="no number of credits"):
        parse_credits(text)


@pytest.mark.parametrize(
    ("text", "credits"),
    [("1", ROW), ("0.5", ROW // 2), (".25", ROW // 4), ("12.", 12 * ROW)],
)
def test_parse_credits__points__exactly(text: str, credits: int) -> None:
    assert parse_credits(text) == credits
    assert float(format_credits(credits)) == float(text)
