"""What convicts: the fourteen rules of docs/valuation.md, section 4, over whoever shows entries.

Each rule asks a `ShownRows` for indices and entries in the order in which a proof holds its pieces.
The judge's opens them from a proof; the fault search's takes them from the tables and so writes the
proof: what is asked for, in which order, is said here alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oracle.valuation.faults import Code
from oracle.valuation.reference import DUPLICATE, LEAKED, weight
from oracle.valuation.rounds import SealedRound
from oracle.valuation.tables import NOWHERE


@dataclass(frozen=True, slots=True)
class RankedRow:
    """An entry of `order`."""

    row: int
    distance: int
    s: int


@dataclass(frozen=True, slots=True)
class Summed:
    """An entry of `sums`."""

    position: int
    zero: int
    running: int


@dataclass(frozen=True, slots=True)
class Flagged:
    """An entry of `rows`."""

    flag: int
    witness: int
    flagged: int
    prefix: int


@dataclass(frozen=True, slots=True)
class Point:
    """A row of data."""

    features: NDArray[np.int64]
    label: int

    def distance(self, other: "Point") -> int:
        """Return the squared distance."""
        return int(np.square(self.features - other.features).sum())

    def repeats(self, other: "Point", tolerance: int) -> bool:
        """Tell whether two rows are one to whoever values them: near, and of the same label."""
        return self.distance(other) <= tolerance and self.label == other.label


class ShownRows(Protocol):
    """Indices and entries, each asked for when a rule needs it; FaultInvalid where one is out."""

    round: SealedRound
    n: int
    by_row: bool  # 10 and 11: the witness is a row, not a test point

    def index(self, name: str, below: int) -> int:
        """Return an index, which must be below a bound."""

    def order(self, t: int, p: int) -> RankedRow:
        """Return an entry."""

    def sums(self, i: int, t: int) -> Summed:
        """Return an entry."""

    def rows(self, i: int) -> Flagged:
        """Return an entry."""

    def value(self, c: int) -> int:
        """Return the value of a contribution."""

    def owner(self, i: int, name: str) -> int:
        """Return the contribution that owns a row; index `name` of the proof says it."""

    def data(self, i: int, name: str) -> Point:
        """Return a row of the contribution that index `name` says."""

    def test(self, t: int) -> Point:
        """Return a test point."""


def convicts(code: Code, shown: ShownRows) -> bool:
    """Return whether what is shown is the fault that `code` names."""
    return _RULES[code](shown)


# ── order ─────────────────────────────────────────────────────────────────────────────────────────


def _entry(shown: ShownRows) -> tuple[int, int, RankedRow]:
    t = shown.index("t", shown.round.test_rows)
    p = shown.index("p", shown.n)
    return t, p, shown.order(t, p)


def _distance(shown: ShownRows) -> bool:
    t, _, entry = _entry(shown)
    return entry.distance != shown.data(entry.row, "a").distance(shown.test(t))


def _order(shown: ShownRows) -> bool:
    t = shown.index("t", shown.round.test_rows)
    p = shown.index("p", shown.n - 1)
    one, other = shown.order(t, p), shown.order(t, p + 1)
    return (one.distance, one.row) >= (other.distance, other.row)


def _range(shown: ShownRows) -> bool:
    return _entry(shown)[2].row >= shown.round.rows


def _flagged_ranked(shown: ShownRows) -> bool:
    return shown.rows(_entry(shown)[2].row).flag != 0


def _recurrence(shown: ShownRows) -> bool:
    t, p, entry = _entry(shown)
    after = shown.order(t, p + 1) if p + 1 < shown.n else None
    label = shown.data(entry.row, "a").label
    next_label = None if after is None else shown.data(after.row, "b").label
    wanted = shown.test(t).label
    step = (label == wanted) - (next_label == wanted)  # no label after the last: 0
    s = step * weight(p, shown.round.params.k) + (0 if after is None else after.s)
    return entry.s != s


# ── sums ──────────────────────────────────────────────────────────────────────────────────────────


def _rank(shown: ShownRows) -> bool:
    t, p, entry = _entry(shown)
    return shown.sums(entry.row, t).position != p


def _running_sum(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    t = shown.index("t", shown.round.test_rows)
    entry = shown.sums(i, t)
    before = shown.sums(i, t - 1).running if t else 0
    if entry.position >= shown.n:
        return False
    ranked = shown.order(t, entry.position)
    return ranked.row != i or entry.running != before + ranked.s


def _flagged_sum(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    t = shown.index("t", shown.round.test_rows)
    flagged, entry = shown.rows(i), shown.sums(i, t)
    if flagged.flag:
        return entry != Summed(NOWHERE, 0, 0)
    return entry.position >= shown.n or entry.zero != 0


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────


def _false_flag(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    entry = shown.rows(i)
    if entry.flag == DUPLICATE and entry.witness < i:
        point = shown.data(i, "a")
        earlier = shown.data(entry.witness, "b")
        repeated = point.repeats(earlier, shown.round.params.tau_row)
        return shown.rows(entry.witness).flag != 0 or not repeated
    if entry.flag == LEAKED and entry.witness < shown.round.test_rows:
        apart = shown.data(i, "a").distance(shown.test(entry.witness))
        return apart > shown.round.params.tau_test
    return entry.flag != 0 or entry.witness != 0


def _missing_flag(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    entry, witness = shown.rows(i), _witness(shown, i)
    return entry.flag == 0 and witness is not None


def _later_witness(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    entry = shown.rows(i)
    witness = _witness(shown, i)
    if witness is None or entry.flag not in (DUPLICATE, LEAKED):
        return False
    if shown.by_row:
        return entry.flag == DUPLICATE and witness < entry.witness
    return entry.flag == DUPLICATE or witness < entry.witness


def _witness(shown: ShownRows, i: int) -> int | None:
    """Return the row or test point that is shown, if it is a reason to flag row i."""
    point = shown.data(i, "a")
    if shown.by_row:
        j = shown.index("j", i)
        near = point.repeats(shown.data(j, "b"), shown.round.params.tau_row)
        return j if shown.rows(j).flag == 0 and near else None
    t = shown.index("t", shown.round.test_rows)
    return t if point.distance(shown.test(t)) <= shown.round.params.tau_test else None


def _flag_count(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    entry = shown.rows(i)
    before = shown.rows(i - 1).flagged if i else 0
    last = i == shown.round.rows - 1
    wrong_n = last and shown.n != shown.round.rows - entry.flagged
    return entry.flagged != before + (entry.flag != 0) or wrong_n


def _prefix(shown: ShownRows) -> bool:
    i = shown.index("i", shown.round.rows)
    first = i == shown.round.starts[shown.owner(i, "a")]
    entry = shown.rows(i)
    before = 0 if first else shown.rows(i - 1).prefix
    return entry.prefix != before + shown.sums(i, shown.round.test_rows - 1).running


def _value(shown: ShownRows) -> bool:
    c = shown.index("a", len(shown.round.counts))
    last = shown.round.starts[c] + shown.round.counts[c] - 1
    return shown.value(c) != max(0, shown.rows(last).prefix)


_RULES: dict[Code, Callable[[ShownRows], bool]] = {
    Code.DISTANCE: _distance,
    Code.ORDER: _order,
    Code.RANGE: _range,
    Code.FLAGGED_RANKED: _flagged_ranked,
    Code.RECURRENCE: _recurrence,
    Code.RANK: _rank,
    Code.RUNNING_SUM: _running_sum,
    Code.FLAGGED_SUM: _flagged_sum,
    Code.FALSE_FLAG: _false_flag,
    Code.MISSING_FLAG: _missing_flag,
    Code.LATER_WITNESS: _later_witness,
    Code.FLAG_COUNT: _flag_count,
    Code.PREFIX: _prefix,
    Code.VALUE: _value,
}
