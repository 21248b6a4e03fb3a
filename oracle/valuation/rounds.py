"""A round: what the chain knows of it, and the rows behind it (docs/valuation.md, §1 and §3)."""

import functools
from dataclasses import dataclass

import numpy as np

from oracle.errors import InputInvalid
from oracle.merkle import keccak
from oracle.types import Bytes32
from oracle.valuation.dataset import MAX_ROWS, DataSet, Features, Labels
from oracle.valuation.errors import DataOversized, SchemaMismatch

MAX_TEST_ROWS = 1 << 12
ONE = 1 << 40


@dataclass(frozen=True)
class Params:
    """What a round fixes before anybody submits. Distances are squared."""

    k: int  # neighbours
    tau_row: int
    tau_test: int


@dataclass(frozen=True)
class SealedRound:
    """What the chain holds: enough to judge a fault."""

    params: Params
    width: int  # D
    test_root: Bytes32
    test_rows: int  # T
    roots: tuple[Bytes32, ...]  # of the contributions
    counts: tuple[int, ...]

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row number of each contribution."""
        return tuple(sum(self.counts[:c]) for c in range(len(self.counts)))

    @property
    def rows(self) -> int:
        """N."""
        return sum(self.counts)


@dataclass(frozen=True)
class Valuation:
    """What a valuator commits to."""

    N: int
    n: int
    T: int
    order: Bytes32
    sums: Bytes32
    rows: Bytes32
    values: Bytes32

    @property
    def root(self) -> Bytes32:
        """`valuationRoot`."""
        counts = self.N.to_bytes(4) + self.n.to_bytes(4) + self.T.to_bytes(4)
        return keccak(b"\x13" + counts + self.order + self.sums + self.rows + self.values)


@dataclass(frozen=True, eq=False)
class RoundData:
    """The rows of a round, contributions in the order of their commitments.

    Raises:
        SchemaMismatch: data sets of different widths.
        DataOversized: more rows or test rows than a round takes.
    """

    params: Params
    sets: tuple[DataSet, ...]
    test: DataSet

    def __post_init__(self) -> None:
        if not self.sets or self.params.k < 1:
            raise InputInvalid("a round needs a contribution and at least one neighbour")
        if {held.width for held in self.sets} != {self.test.width}:
            widths = [held.width for held in self.sets]
            raise SchemaMismatch(
                f"data sets have {widths} features, the test set {self.test.width}"
            )
        if len(self.labels) > MAX_ROWS:
            raise DataOversized("the round", "rows", MAX_ROWS)
        if self.test.rows > MAX_TEST_ROWS:
            raise DataOversized("the test set", "rows", MAX_TEST_ROWS)

    @functools.cached_property
    def round(self) -> SealedRound:
        """What the chain holds of it."""
        return SealedRound(
            self.params,
            self.test.width,
            self.test.root,
            self.test.rows,
            tuple(held.root for held in self.sets),
            tuple(held.rows for held in self.sets),
        )

    @functools.cached_property
    def features(self) -> Features:
        """i8, N × D."""
        return np.concatenate([held.features for held in self.sets])

    @functools.cached_property
    def labels(self) -> Labels:
        """u16, N."""
        return np.concatenate([held.labels for held in self.sets])

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row number of each contribution, and N."""
        return (0, *np.cumsum([held.rows for held in self.sets]).tolist())

    def owner(self, row: int) -> int:
        """Return the contribution that owns a row."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1
