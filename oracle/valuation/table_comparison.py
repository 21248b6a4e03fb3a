"""The finder: holds a valuation's tables against the right ones and proves what is wrong.

Tables are gone through in the order in which they rest on each other: flags, their count, the order
of rows, scores, sums, prefixes, values. So whatever a proof relies on beside the fault is right,
and a table that differs anywhere has a fault that can be shown.
"""

from typing import Any

import numpy as np

from oracle.valuation.dataset import read_row
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import INDICES, PARTS, Code, Fault, Piece
from oracle.valuation.judge import read_entry
from oracle.valuation.reference import DUPLICATE, LEAKED
from oracle.valuation.rounds import RoundData
from oracle.valuation.rules import Flagged, Point, RankedRow, ShownRows, Summed, convicts
from oracle.valuation.tables import NOWHERE, PER_LEAF, Entries, Table, Tables

BLOCK = 16  # rows of a large table that are compared at once


def find(data: RoundData, given: Tables, right: Tables) -> Fault | None:
    """Return a fault of the given tables, or none when they are the right ones."""
    return (
        _in_flags(data, given, right)
        or _in_order(data, given, right)
        or _in_sums(data, given, right)
        or _in_values(data, given, right)
    )


def show(data: RoundData, given: Tables, code: Code, **indices: int) -> Fault:
    """Return the proof of one fault at known indices; `a` and `b` need not be named.

    Raises:
        FaultInvalid: an index is outside, or nothing is wrong there.
    """
    writer = _Writer(data, given, code, indices)
    if not convicts(code, writer):
        raise FaultInvalid("code")
    return writer.fault


# ── The search, table by table ────────────────────────────────────────────────────────────────────


def _in_flags(data: RoundData, given: Tables, right: Tables) -> Fault | None:
    """Return a fault of flags, witnesses, their count or n."""
    got, want = given.rows.entries[0], right.rows.entries[0]
    wrong = np.flatnonzero(got["head"] != want["head"])
    if wrong.size:
        i = int(wrong[0])
        return _flag(data, given, i, int(got["head"][i]), int(want["head"][i]))
    wrong = np.flatnonzero(got["flagged"] != want["flagged"])
    if wrong.size:
        return show(data, given, Code.FLAG_COUNT, i=int(wrong[0]))
    if given.order.entries.shape != right.order.entries.shape:
        return show(data, given, Code.FLAG_COUNT, i=len(got) - 1)
    return None


def _flag(data: RoundData, given: Tables, i: int, got: int, want: int) -> Fault:
    """Return the fault of row i; all rows before it are flagged rightly."""
    flag, witness = want >> 24, want & 0xFFFFFF
    code = Code.MISSING_FLAG if got >> 24 == 0 else Code.LATER_WITNESS
    if flag and got >> 24 <= LEAKED and (got >> 24 or not got):
        by = {"j": witness} if flag == DUPLICATE else {"t": witness}
        try:
            return show(data, given, code, i=i, **by)
        except FaultInvalid:  # what it claims is not later, but untrue
            pass
    return show(data, given, Code.FALSE_FLAG, i=i)


def _in_order(data: RoundData, given: Tables, right: Tables) -> Fault | None:
    """Return a fault of rows, distances or scores."""
    for t in _rows_that_differ(given.order, right.order):
        got, want = given.order.entries[t], right.order.entries[t]
        if (got["row"] != want["row"]).any() or (got["distance"] != want["distance"]).any():
            return _rank_fault(data, given, t, got, right)
        p = int(np.flatnonzero(got["s"] != want["s"])[-1])  # those after it are right
        return show(data, given, Code.RECURRENCE, t=t, p=p)
    return None


def _rank_fault(data: RoundData, given: Tables, t: int, got: Entries, right: Tables) -> Fault:
    """Return a fault among the rows and distances of a test point; there must be one (§4)."""
    rows, distances = got["row"].astype(np.int64), got["distance"].astype(np.int64)
    outside = rows >= len(data.labels)
    if outside.any():
        return show(data, given, Code.RANGE, t=t, p=int(outside.argmax()))
    flagged = right.rows.entries[0]["head"][rows] >> 24 != 0
    if flagged.any():
        return show(data, given, Code.FLAGGED_RANKED, t=t, p=int(flagged.argmax()))
    apart = data.features[rows].astype(np.int64) - data.test.features[t]
    false = np.square(apart).sum(1) != distances
    if false.any():
        return show(data, given, Code.DISTANCE, t=t, p=int(false.argmax()))
    keys = distances << 32 | rows
    return show(data, given, Code.ORDER, t=t, p=int((keys[:-1] >= keys[1:]).argmax()))


def _in_sums(data: RoundData, given: Tables, right: Tables) -> Fault | None:
    """Return a fault of positions or running sums."""
    for i in _rows_that_differ(given.sums, right.sums):
        got, want = given.sums.entries[i], right.sums.entries[i]
        t = int((got != want).argmax())  # those before it are right
        position, wanted = int(got["position"][t]), int(want["position"][t])
        n = given.order.entries.shape[1]
        if wanted == NOWHERE or position >= n or got["zero"][t]:
            return show(data, given, Code.FLAGGED_SUM, i=i, t=t)
        if position != wanted:
            return show(data, given, Code.RANK, t=t, p=wanted)
        return show(data, given, Code.RUNNING_SUM, i=i, t=t)
    return None


def _in_values(data: RoundData, given: Tables, right: Tables) -> Fault | None:
    """Return a fault of prefixes or values."""
    got, want = given.rows.entries[0]["prefix"], right.rows.entries[0]["prefix"]
    wrong = np.flatnonzero(got != want)
    if wrong.size:
        return show(data, given, Code.PREFIX, i=int(wrong[0]))
    for c, (value, wanted) in enumerate(zip(given.values, right.values, strict=True)):
        if value != wanted:
            return show(data, given, Code.VALUE, a=c)
    return None


def _rows_that_differ(given: Table, right: Table) -> list[int]:
    """Return the first row that differs, if there is one."""
    for start in range(0, len(given.entries), BLOCK):
        got, want = (table.entries[start : start + BLOCK] for table in (given, right))
        wrong = np.flatnonzero((got != want).any(1))
        if wrong.size:
            return [start + int(wrong[0])]
    return []


# ── The writer ────────────────────────────────────────────────────────────────────────────────────


class _Writer(ShownRows):
    """Shows what a rule asks for from the tables and the data, and keeps it as the proof."""

    def __init__(self, data: RoundData, given: Tables, code: Code, indices: dict[str, int]) -> None:
        self.round = data.round
        self.n = given.order.entries.shape[1]
        self.by_row = "j" in indices
        self._data = data
        self._tables = given
        self._code = code
        self._indices = dict(indices)
        self._pieces: dict[str, list[Piece]] = {part: [] for part in PARTS}
        self._open: dict[str, tuple[int, int]] = {}

    @property
    def fault(self) -> Fault:
        """The proof of what was asked for."""
        named: dict[str, Any] = {name: self._indices.get(name, 0) for name in INDICES}
        named |= {part: tuple(self._pieces[part]) for part in PARTS}
        return Fault(self._code, **named)

    def index(self, name: str, below: int) -> int:
        """Return an index, which must be below a bound."""
        value = self._indices.get(name, -1)
        if not 0 <= value < below:
            raise FaultInvalid("indices")
        return value

    def order(self, t: int, p: int) -> RankedRow:
        """Return an entry."""
        return RankedRow(*self._entry("order", self._tables.order, t, p))

    def sums(self, i: int, t: int) -> Summed:
        """Return an entry."""
        return Summed(*self._entry("sums", self._tables.sums, i, t))

    def rows(self, i: int) -> Flagged:
        """Return an entry."""
        head, flagged, prefix = self._entry("rows", self._tables.rows, 0, i)
        return Flagged(head >> 24, head & 0xFFFFFF, flagged, prefix)

    def value(self, c: int) -> int:
        """Return the value of a contribution."""
        path = self._tables.values_tree.leaf_path(c)
        self._pieces["values"].append(Piece(self._tables.value(c), path))
        return self._tables.values[c]

    def owner(self, i: int, name: str) -> int:
        """Return the contribution that owns a row."""
        if i >= self.round.rows:
            raise FaultInvalid(name)
        self._indices[name] = self._data.owner(i)
        return self._indices[name]

    def data(self, i: int, name: str) -> Point:
        """Return a row."""
        owner = self.owner(i, name)
        held, row = self._data.sets[owner], i - self._data.starts[owner]
        self._pieces["data"].append(Piece(held.row(row), held.path(row)))
        return Point(*read_row(held.row(row)))

    def test(self, t: int) -> Point:
        """Return a test point."""
        held = self._data.test
        self._pieces["test"].append(Piece(held.row(t), held.path(t)))
        return Point(*read_row(held.row(t)))

    def _entry(self, part: str, table: Table, row: int, col: int) -> tuple[int, int, int]:
        """Return the three numbers of an entry; its leaf is shown unless it was the last one."""
        rows, cols = table.entries.shape
        if row >= rows or col >= cols:
            raise FaultInvalid(part)
        leaf = col // PER_LEAF
        if self._open.get(part) != (row, leaf):
            self._open[part] = (row, leaf)
            self._pieces[part].append(Piece(table.leaf(row, leaf), table.path(row, leaf)))
        return read_entry(table.entries[row, col].tobytes())
