"""DataRounds.reveal: a commitment is opened; the first committed has a data set."""

import pytest

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CID,
    COMMITTED,
    DISPLACED,
    ONE,
    REVEALED,
    ZERO32,
    refuses,
    words,
)

ROOT, OTHER = b"\1" * 32, b"\2" * 32


@pytest.fixture
def committed(data):
    """Alice and Bob committed to the same data set, Carol to another; submissions are closed."""
    data.open()
    data.submit(ALICE, ROOT)
    data.submit(BOB, ROOT)
    data.submit(CAROL, OTHER)
    data.pass_to("submit")
    return data


def status(data, index):
    return data.see("contributionOf", data.round_id, index)[5]


def test_reveal__before_the_close__reverts(data):
    data.open()
    data.submit(ALICE, ROOT)
    with refuses("PhaseNotOpen"):
        data.reveal(0, ROOT)


def test_reveal__too_late__reverts(committed):
    committed.pass_to("reveal")
    with refuses("PhaseOver"):
        committed.reveal(0, ROOT)


def test_reveal__nothing_was_committed__reverts(committed):
    with refuses("StatusInvalid"):
        committed.reveal(3, ROOT)


def test_reveal__twice__reverts(committed):
    committed.reveal(0, ROOT)
    with refuses("StatusInvalid"):
        committed.reveal(0, ROOT)


@pytest.mark.parametrize(
    ("root", "rows", "salt"),
    [(OTHER, 10, b"\x5a" * 32), (ROOT, 11, b"\x5a" * 32), (ROOT, 10, ROOT)],
)
def test_reveal__something_else__reverts(committed, root, rows, salt):
    with refuses("SubmissionMismatch"):
        committed.reveal(0, root, rows, salt)


def test_reveal__a_commitment_copied_from_another__cannot_be_opened(data):
    data.open()
    data.submit(ALICE, ROOT)
    data.do(BOB, "submit", 1, data.commitment(ALICE, ROOT), 0)
    data.pass_to("submit")
    with refuses("SubmissionMismatch"):
        data.reveal(1, ROOT)


@pytest.mark.parametrize("rows", [0, 1_001])
def test_reveal__empty_or_oversized__reverts(data, rows):
    data.open()
    data.submit(ALICE, ROOT, rows)
    data.pass_to("submit")
    with refuses("RowsInvalid"):
        data.reveal(0, ROOT, rows)


def test_reveal__root_zero__reverts(data):
    data.open()
    data.submit(ALICE, ZERO32)
    data.pass_to("submit")
    with refuses("DataRootZero"):
        data.reveal(0, ZERO32)


def test_reveal__data_set_committed_earlier__reverts(committed):
    committed.reveal(0, ROOT)
    with refuses("DataSetKnown"):
        committed.reveal(1, ROOT)


def test_reveal__data_set_of_an_earlier_round__reverts(data):
    data.play([ALICE], [ONE])
    known = keccak(b"data 1 0")
    data.open()
    data.submit(BOB, known)
    data.pass_to("submit")
    with refuses("DataSetKnown"):
        data.reveal(0, known)


def test_reveal__first_committed_comes_second__displaces_the_other(committed):
    committed.reveal(1, ROOT)
    committed.reveal(0, ROOT)
    assert [status(committed, index) for index in range(3)] == [REVEALED, DISPLACED, COMMITTED]
    assert committed.round()[7] == 1


def test_reveal__data_set_of_a_void_round__may_come_again(committed):
    committed.reveal(0, ROOT)
    committed.pass_to("test")
    committed.do(BOB, "voidRound", 1)
    committed.open()
    committed.submit(ALICE, ROOT)
    committed.pass_to("submit")
    committed.reveal(0, ROOT)
    assert status(committed, 0) == REVEALED


def test_reveal__by_anyone__stores_the_data_set_and_extends_the_chain(committed):
    head = committed.see("headOf", 1)
    committed.reveal(2, OTHER)
    digest, owner, *rest = committed.see("contributionOf", 1, 2)
    assert (digest, owner, rest[2], rest[3]) == (OTHER, CAROL.lower(), 10, REVEALED)
    fields = (head, 1, 2, CAROL, OTHER, 10, CID, ZERO32, committed.world.time)
    assert committed.see("headOf", 1) == keccak(words(*fields))
