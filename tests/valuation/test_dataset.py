"""Data sets have one root whatever the order; bad rows are refused with a typed error."""

import numpy as np
import pytest

from oracle.merkle import climb, keccak, tree_root
from oracle.valuation.dataset import MAX_ROWS, DataSet, read_row, row_leaf
from oracle.valuation.errors import DataEmpty, DataOversized, RowRepeated, SchemaMismatch

ROWS = np.array([[3, -1], [-128, 127], [3, -1], [0, 0], [127, -128]])
LABELS = np.array([2, 65_535, 1, 256, 255])


def test_of__no_rows__data_empty() -> None:
    with pytest.raises(DataEmpty):
        DataSet.of(np.zeros((0, 4), np.int8), np.zeros(0, np.uint16))


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.zeros((2, 2)), np.zeros(2, int)),
        (np.zeros((2, 2), int), np.zeros(2)),
        (np.zeros((2, 0), int), np.zeros(2, int)),
        (np.zeros((2, 2), int), np.zeros(3, int)),
        (np.zeros(2, int), np.zeros(2, int)),
        (np.array([[128], [0]]), np.zeros(2, int)),
        (np.array([[-129], [0]]), np.zeros(2, int)),
        (np.array([[1], [0]]), np.array([0, 65_536])),
        (np.array([[1], [0]]), np.array([0, -1])),
    ],
)
def test_of__not_rows_of_integers__schema_mismatch(
    features: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(SchemaMismatch):
        DataSet.of(features, labels)


def test_of__too_many_rows_or_features__data_oversized() -> None:
    with pytest.raises(DataOversized, match="rows"):
        DataSet.of(np.zeros((MAX_ROWS + 1, 1), np.int8), np.zeros(MAX_ROWS + 1, np.uint16))
    with pytest.raises(DataOversized, match="features"):
        DataSet.of(np.zeros((1, 257), np.int8), np.zeros(1, np.uint16))


def test_of__a_row_twice__row_repeated_names_both() -> None:
    with pytest.raises(RowRepeated, match="rows 0 and 2"):
        DataSet.of(ROWS, np.array([7, 0, 7, 0, 0]))


def test_of__a_row_twice_and_repeats_dropped__one_is_kept() -> None:
    held = DataSet.of(ROWS, np.array([7, 0, 7, 0, 0]), drop_repeats=True)
    assert held.root == DataSet.of(ROWS[[0, 1, 3, 4]], np.array([7, 0, 0, 0])).root
    assert held.rows == 4


def test_of__rows_in_any_order__bytes_ascend_and_the_root_is_one() -> None:
    held = DataSet.of(ROWS, LABELS)
    shuffled = DataSet.of(ROWS[::-1], LABELS[::-1])
    rows = [held.row(i) for i in range(5)]
    assert rows == sorted(rows)
    assert held.root == shuffled.root


def test_row__every_value__features_offset_binary_then_label() -> None:
    held = DataSet.of(ROWS, LABELS)
    assert held.row(0) == b"\x00\xff\xff\xff"
    assert held.row(1) == b"\x80\x80\x01\x00"
    features, label = read_row(held.row(2))
    assert (features.tolist(), label) == ([131, 127], 1)


def test_root__five_rows__is_the_tree_over_their_leaves() -> None:
    held = DataSet.of(ROWS, LABELS)
    leaves = [keccak(b"\x10" + held.row(i)) for i in range(5)]
    assert held.root == tree_root(leaves, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9])
def test_path__every_row__leads_to_the_root(count: int) -> None:
    held = DataSet.of(np.arange(count)[:, None], np.zeros(count, int))
    for i in range(count):
        assert climb(row_leaf(held.row(i)), i, held.path(i)) == held.root
        assert len(held.path(i)) == (count - 1).bit_length()
