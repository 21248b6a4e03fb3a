"""A data set: sorted, unique rows of integers with labels, under one root (docs/valuation.md, §1).

One set of rows has one root, whatever the file's format and the order in it.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle.exact.dtypes import Array, Bytes
from oracle.merkle import HashTree, hash_all, keccak
from oracle.types import Bytes32
from oracle.valuation.errors import DataEmpty, DataOversized, RowRepeated, SchemaMismatch

MAX_ROWS = 1 << 20
MAX_FEATURES = 256
ROW = b"\x10"
Features = NDArray[np.int8]
Labels = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Rows in the order of their bytes.

    Args:
        features: i8, rows × D.
        labels: u16, rows.
    """

    features: Features
    labels: Labels

    @classmethod
    def of(
        cls, features: Array, labels: Array, *, where: str = "data", drop_repeats: bool = False
    ) -> "DataSet":
        """Return the data set of rows in any order.

        Raises:
            DataEmpty, DataOversized, SchemaMismatch: not 1 … 2²⁰ rows of 1 … 256 i8 and a label.
            RowRepeated: two rows are the same, unless repeats are to be dropped.
        """
        _check(features, labels, where)
        stored = _stored(features.astype(np.int8), labels.astype(np.uint16))
        keys = np.ascontiguousarray(stored).view(np.dtype((np.void, stored.shape[1])))[:, 0]
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero((stored[order[1:]] == stored[order[:-1]]).all(1))
        if same.size and not drop_repeats:
            first, second = int(order[same[0]]), int(order[same[0] + 1])
            raise RowRepeated(where, first, second, same.size)
        order = np.delete(order, same + 1)
        return cls(features[order].astype(np.int8), labels[order].astype(np.uint16))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.labels)

    @property
    def width(self) -> int:
        """How many features a row has: D."""
        return int(self.features.shape[1])

    @property
    def root(self) -> Bytes32:
        """What the contributor commits to."""
        return self.tree.root

    def row(self, row: int) -> bytes:
        """Return the bytes of a row: D features in stored form, then the label."""
        return bytes(self.stored[row])

    def path(self, row: int) -> tuple[Bytes32, ...]:
        """Return the siblings from a row up to the root."""
        return self.tree.leaf_path(row)

    @functools.cached_property
    def stored(self) -> Bytes:
        """The bytes of all rows: uint8, rows × (D + 2)."""
        return _stored(self.features, self.labels)

    @functools.cached_property
    def tree(self) -> HashTree:
        """The tree over the rows."""
        return HashTree(hash_all(self.stored, ROW).reshape(-1, 1, 32))


def row_leaf(row: bytes) -> Bytes32:
    """Return the hash of the bytes of a row."""
    return keccak(ROW + row)


def read_row(row: bytes) -> tuple[NDArray[np.int64], int]:
    """Return features (stored form: differences alone matter) and label of the bytes of a row."""
    return np.frombuffer(row[:-2], np.uint8).astype(np.int64), int.from_bytes(row[-2:])


def _stored(features: Features, labels: Labels) -> Bytes:
    stored = np.empty((len(labels), features.shape[1] + 2), np.uint8)
    stored[:, :-2] = features.view(np.uint8) ^ 0x80  # offset binary: 0 is 0x80
    stored[:, -2:] = labels.astype(">u2").reshape(-1, 1).view(np.uint8)
    return stored


def _check(features: Array, labels: Array, where: str) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise SchemaMismatch(f"{where}: features {features.shape} and labels {labels.shape}")
    if features.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise SchemaMismatch(
            f"{where}: features are {features.dtype} and labels {labels.dtype}, not integers",
            hint="quantise them with the round's schema first",
        )
    if not features.shape[1]:
        raise SchemaMismatch(f"{where} has no feature")
    if not len(labels):
        raise DataEmpty(where)
    for count, what, limit in (
        (len(labels), "rows", MAX_ROWS),
        (features.shape[1], "features", MAX_FEATURES),
    ):
        if count > limit:
            raise DataOversized(where, what, limit)
    if features.min() < -128 or features.max() > 127:
        raise SchemaMismatch(f"{where}: features are not −128 … 127")
    if labels.min() < 0 or labels.max() > 0xFFFF:
        raise SchemaMismatch(f"{where}: labels are not 0 … 65,535")
