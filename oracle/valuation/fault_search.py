"""Finds a fault of tables that are not served, with few questions: each lie rests on another.

A wrong number is followed to what it rests on, by halving what lies between a number that is right
and one that is wrong:
```
 value ─▶ prefix ─▶ running sum ─▶ position, score ─▶ order of rows ─▶ distance, flag, witness
```
At the end of the trail two numbers contradict each other, or one contradicts the data. Whatever was
not shown yet is named by `Unknown`, demanded, and the trail is followed again: as many demands as
log2 of the leaves on the way, 13 for 40,000 rows × 300 test points.
"""

from collections.abc import Callable

import numpy as np

from oracle.valuation import table_comparison
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import Code, Fault
from oracle.valuation.reference import DUPLICATE, LEAKED
from oracle.valuation.rounds import RoundData
from oracle.valuation.shown_table import OpenedTable, Unknown
from oracle.valuation.tables import NOWHERE, Tables

__all__ = ["Unknown", "find"]


def find(data: RoundData, given: Tables, right: Tables) -> Fault:
    """Return a fault of a valuation that is not the right one.

    Args:
        given: tables, each ours when it has the same root, else an `OpenedTable`.

    Raises:
        Unknown: this node has to be demanded first.
        FaultInvalid: the valuation is the right one.
    """
    return _Trail(data, given, right).start()


class _Trail:
    """One search. Every method returns the fault behind a number that is known to be wrong."""

    def __init__(self, data: RoundData, given: Tables, right: Tables) -> None:
        self._data = data
        self._given = given
        self._right = right
        self._rows = len(data.labels)
        self._points = data.test.rows
        self._n = given.order.entries.shape[1]

    def start(self) -> Fault:
        """Take up the trail at a number that is wrong."""
        given, right = self._given, self._right
        if given.order.entries.shape != right.order.entries.shape:
            return self._count()
        for c, (value, wanted) in enumerate(zip(given.values, right.values, strict=True)):
            if value != wanted:
                return self._value(c)
        if isinstance(given.rows, OpenedTable) and given.rows.root != right.rows.root:
            _, leaf = given.rows.difference()
            return self._in_rows(leaf)
        if isinstance(given.sums, OpenedTable) and given.sums.root != right.sums.root:
            i, leaf = given.sums.difference()
            return self._sum(i, self._first(given.sums, right.sums, i, leaf))
        if isinstance(given.order, OpenedTable) and given.order.root != right.order.root:
            t, leaf = given.order.difference()
            return self._ranked(t, self._first(given.order, right.order, t, leaf))
        raise FaultInvalid("valuation")

    # ── rows and values ─────────────────────────────────────────────────────────────────────────

    def _value(self, c: int) -> Fault:
        last = self._data.starts[c + 1] - 1
        return self._try(Code.VALUE, a=c) or self._prefix(last)

    def _in_rows(self, leaf: int) -> Fault:
        i = self._first(self._given.rows, self._right.rows, 0, leaf)
        got, want = self._row(i), self._right.rows.entries[0, i]
        if got["head"] != want["head"]:
            return self._flag(i)
        return self._count() if got["flagged"] != want["flagged"] else self._prefix(i)

    def _prefix(self, i: int) -> Fault:
        """The prefix of row i is wrong: find the first of its contribution that is."""
        start = self._data.starts[self._data.owner(i)]

        def wrong(k: int) -> bool:
            return bool(self._row(k)["prefix"] != self._right.rows.entries[0, k]["prefix"])

        i = _edge(wrong, start - 1, i)
        return self._try(Code.PREFIX, i=i) or self._sum(i, self._points - 1)

    def _count(self) -> Fault:
        """A count of flagged rows, or n, is wrong."""
        last = self._rows - 1
        if fault := self._try(Code.FLAG_COUNT, i=last):
            return fault

        def wrong(k: int) -> bool:
            return bool(self._row(k)["flagged"] != self._right.rows.entries[0, k]["flagged"])

        i = _edge(wrong, -1, last)
        return self._try(Code.FLAG_COUNT, i=i) or self._flag(i)

    def _flag(self, i: int) -> Fault:
        """The flag or witness of row i is wrong, or that of a row on which its proof rests."""
        got, want = int(self._row(i)["head"]), int(self._right.rows.entries[0, i]["head"])
        if fault := self._try(Code.FALSE_FLAG, i=i):
            return fault
        flag, witness = want >> 24, want & 0xFFFFFF
        by = {LEAKED: {"t": witness}, DUPLICATE: {"j": witness}}.get(flag)
        for code in (Code.MISSING_FLAG, Code.LATER_WITNESS):
            if by is not None and (fault := self._try(code, i=i, **by)):
                return fault
        for head in (want, got):
            j = head & 0xFFFFFF
            if head >> 24 == DUPLICATE and self._flagged_wrongly(j):
                return self._flag(j)
        raise FaultInvalid("rows")

    def _flagged_wrongly(self, i: int) -> bool:
        return bool(self._row(i)["head"] != self._right.rows.entries[0, i]["head"])

    # ── sums ────────────────────────────────────────────────────────────────────────────────────

    def _sum(self, i: int, t: int) -> Fault:
        """The entry of row i at test point t is wrong."""
        right = self._right.sums.entries[i]

        def wrong(k: int) -> bool:
            return bool(self._given.sums.entries[i, k]["running"] != right[k]["running"])

        if wrong(t):
            t = _edge(wrong, -1, t)
        if self._flagged_wrongly(i):
            return self._flag(i)
        for code in (Code.FLAGGED_SUM, Code.RUNNING_SUM):
            if fault := self._try(code, i=i, t=t):
                return fault
        wanted = int(right[t]["position"])
        if fault := self._try(Code.RANK, t=t, p=wanted):
            return fault
        position = int(self._given.sums.entries[i, t]["position"])
        false = position if self._misplaced(t, position) else wanted
        return self._ranked(t, false)

    # ── order ───────────────────────────────────────────────────────────────────────────────────

    def _ranked(self, t: int, p: int) -> Fault:
        """The entry at position p of test point t is not the right one."""
        if fault := self._alone(t, p):
            return fault
        if self._rank(t, p) != p:
            return self._unordered(t, p)

        def right(k: int) -> bool:
            return not self._misplaced(t, k)

        # scores are wrong from p on, up to one whose successor is right
        last = self._n - 1
        p = _edge(right, p, last) - 1 if right(last) else last
        if fault := self._alone(t, p):
            return fault
        if self._rank(t, p) != p:
            return self._unordered(t, p)
        return table_comparison.show(self._data, self._given, Code.RECURRENCE, t=t, p=p)

    def _unordered(self, t: int, p: int) -> Fault:
        """A row stands at a position that is not its own: somewhere order breaks."""
        late = self._rank(t, p) > p

        def before(k: int) -> bool:
            """Whether a row stands where an earlier one belongs (all that follow do, in order)."""
            if self._alone(t, k):
                raise _FaultFound(k)
            return self._rank(t, k) > k if late else self._rank(t, k) >= k

        try:
            if late:
                high = _edge(lambda k: not before(k), p, self._n - 1)
            else:
                high = _edge(lambda k: not before(k), 0, p) if p else 0
        except _FaultFound as found:
            fault = self._alone(t, found.position)
            assert fault is not None
            return fault
        return table_comparison.show(self._data, self._given, Code.ORDER, t=t, p=high - 1)

    def _alone(self, t: int, p: int) -> Fault | None:
        """Return what is wrong with an entry whatever stands beside it."""
        for code in (Code.RANGE, Code.DISTANCE):
            if fault := self._try(code, t=t, p=p):
                return fault
        row = int(self._given.order.entries[t, p]["row"])
        if self._right.rows.entries[0, row]["head"] >> 24:
            return self._try(Code.FLAGGED_RANKED, t=t, p=p) or self._flag(row)
        return None

    def _rank(self, t: int, p: int) -> int:
        """Return the position at which the row at p belongs."""
        row = int(self._given.order.entries[t, p]["row"])
        position = int(self._right.sums.entries[row, t]["position"])
        assert position != NOWHERE
        return position

    def _misplaced(self, t: int, p: int) -> bool:
        return bool(self._given.order.entries[t, p] != self._right.order.entries[t, p])

    # ── Inside ──────────────────────────────────────────────────────────────────────────────────

    def _row(self, i: int) -> np.void:
        entry: np.void = self._given.rows.entries[0, i]
        return entry

    def _first(self, given: object, right: object, row: int, leaf: int) -> int:
        """Return the first entry of a leaf that differs."""
        theirs, ours = (table.leaf(row, leaf) for table in (given, right))  # type: ignore[attr-defined]
        at = next(k for k in range(0, len(ours), 16) if theirs[k : k + 16] != ours[k : k + 16])
        return leaf * 128 + at // 16

    def _try(self, code: Code, **indices: int) -> Fault | None:
        try:
            return table_comparison.show(self._data, self._given, code, **indices)
        except FaultInvalid:
            return None


class _FaultFound(Exception):
    """An entry on the way is wrong by itself."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def _edge(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return a k where it holds and does not at k − 1; it holds at `high` and not at `low`."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
