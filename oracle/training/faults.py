"""What is wrong with an aggregate or an update, and the proof of it.

docs/training-rounds.md, section 4.

Whoever looks for a fault holds the base, all updates, and what the aggregator published. It makes
the true aggregate and compares: the first entry that differs is a fault, because all before it are
right. Only that entry's leaves are opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums, stacked
from oracle.training.vectors import SUMS, Integers, Opening, Vector, VectorTree
from oracle.types import Bytes32

COMPARED = 2**16  # coordinates at once


@dataclass(frozen=True, slots=True)
class SumOpening:
    """The leaf of a running sum, and the leaf before when the sum before lies there.

    Attributes:
        left: the logical bytes of the leaf before; none where it is not needed.
        left_path: its siblings up to the node that stands in `path`.
    """

    data: bytes
    path: tuple[Bytes32, ...]
    left: bytes = b""
    left_path: tuple[Bytes32, ...] = ()


@dataclass(frozen=True, slots=True)
class SumFault:
    """Running sum `number` (from 1) is not the one before it plus what the update adds."""

    number: int
    coordinate: int
    update: Opening
    sum: SumOpening


@dataclass(frozen=True, slots=True)
class StateFault:
    """The next state does not follow from the base and the last running sum."""

    coordinate: int
    base: Opening
    sum: Opening
    next: Opening


@dataclass(frozen=True, slots=True)
class ShownFault:
    """The next state does not follow from the base and all updates that count."""

    coordinate: int
    base: Opening
    next: Opening
    updates: tuple[Opening, ...]


@dataclass(frozen=True, slots=True)
class ClipFault:
    """A coordinate of update `number` (from 1) is out of bounds."""

    number: int
    coordinate: int
    update: Opening


AggregateFault = SumFault | StateFault | ShownFault


@dataclass(frozen=True, slots=True)
class Evidence:
    """All vectors of a round with their trees.

    Attributes:
        updates: of every client, in the order of reveals; any vector for one that does not count.
        sums, state: as the aggregator published them. Rules that show all updates have no sums.
    """

    base: VectorTree
    updates: Sequence[VectorTree]
    sums: VectorTree | None
    state: VectorTree


def find_fault(aggregation: Aggregation, evidence: Evidence) -> AggregateFault | None:
    """Return the first fault of an aggregate; None when it is the true one."""
    vectors = [tree.vector for tree in evidence.updates]
    if evidence.sums is not None:
        wrong = first_difference(evidence.sums.vector, RunningSums(aggregation, vectors))
        if wrong is not None:
            coordinate, client = divmod(wrong, len(vectors))
            return sum_fault(evidence.sums, evidence.updates[client], client + 1, coordinate)
    for start in range(0, aggregation.parameters, COMPARED):
        stop = min(start + COMPARED, aggregation.parameters)
        shown = stacked(vectors, start, stop)
        true = aggregation.next_state(evidence.base.vector[start:stop], shown)
        at = _first(np.asarray(evidence.state.vector[start:stop]) != true)
        if at is not None:
            return state_fault(aggregation, evidence, start + at)
    return None


def sum_fault(sums: VectorTree, update: VectorTree, number: int, coordinate: int) -> SumFault:
    """Return what shows one step of the running sums.

    Args:
        sums: P · n running sums.
        update: that of client `number`, from 1.
    """
    clients = len(sums.vector) // len(update.vector)
    entry = coordinate * clients + number - 1
    opening = sums.open(entry)
    leaf, place = divmod(entry, SUMS.per_leaf)
    if number == 1 or place:
        shown = SumOpening(opening.data, opening.path)
    else:
        # The two ways to the root meet above as many levels as the leaf's number ends in zeros.
        height = (leaf & -leaf).bit_length() - 1
        below = sums.path(sums.depth, leaf - 1)[:height]
        shown = SumOpening(opening.data, opening.path, sums.leaf(leaf - 1), below)
    return SumFault(number, coordinate, update.open(coordinate), shown)


def state_fault(
    aggregation: Aggregation, evidence: Evidence, coordinate: int
) -> StateFault | ShownFault:
    """Return what shows one coordinate of the next state."""
    base, following = evidence.base.open(coordinate), evidence.state.open(coordinate)
    if aggregation.rule != AggregationRule.MEAN:
        shown = [evidence.updates[client].open(coordinate) for client in aggregation.counted]
        return ShownFault(coordinate, base, following, tuple(shown))
    if evidence.sums is None:
        raise ValueError("a mean has running sums")
    clients = len(evidence.updates)
    last = evidence.sums.open(coordinate * clients + clients - 1)
    return StateFault(coordinate, base, last, following)


def find_unclipped(aggregation: Aggregation, update: VectorTree, number: int) -> ClipFault | None:
    """Return the first coordinate of an update that is out of bounds; None: all keep to them."""
    for start in range(0, aggregation.parameters, COMPARED):
        part = update.vector[start : min(start + COMPARED, aggregation.parameters)]
        at = _first(aggregation.clipped(part) != part)
        if at is not None:
            return ClipFault(number, start + at, update.open(start + at))
    return None


def first_difference(one: Vector, other: Vector) -> int | None:
    """Return the first entry in which two vectors of one length differ."""
    for start in range(0, len(one), COMPARED):
        stop = min(start + COMPARED, len(one))
        at = _first(np.asarray(one[start:stop]) != np.asarray(other[start:stop]))
        if at is not None:
            return start + at
    return None


def _first(wrong: Integers) -> int | None:
    return int(wrong.argmax()) if wrong.any() else None
