"""The judge: decides a fault from its proof alone, as TrainingGame.sol does, part for part.

docs/training-rounds.md, section 4. A proof that does not fit is refused (TrainingFaultInvalid),
one that fits and shows nothing wrong convicts nobody.
"""

from dataclasses import dataclass

import numpy as np

from oracle.merkle import climb
from oracle.training.aggregation import Aggregation, AggregationRule, rounded
from oracle.training.errors import TrainingFaultInvalid
from oracle.training.faults import (
    ClipFault,
    ShownFault,
    StateFault,
    SumFault,
    SumOpening,
)
from oracle.training.vectors import LEAF, STATE, SUMS, Opening, VectorForm, leaf_hash
from oracle.types import Bytes32


@dataclass(frozen=True, slots=True)
class PublishedAggregate:
    """What the chain knows of a round: its terms and roots.

    Attributes:
        aggregation: the terms, and the weights of revealed updates: 0 of one that does not count.
        update_roots: in the order of reveals.
        sums_root: zero where the rule shows all updates.
    """

    aggregation: Aggregation
    base_root: Bytes32
    update_roots: tuple[Bytes32, ...]
    sums_root: Bytes32
    next_root: Bytes32


def judge(
    round_: PublishedAggregate, fault: SumFault | StateFault | ShownFault | ClipFault
) -> bool:
    """Return whether a proof convicts: the aggregator, or of a ClipFault the participant.

    Raises:
        TrainingFaultInvalid: a part of the proof does not fit the round or its own shape.
    """
    if isinstance(fault, SumFault):
        return _wrong_sum(round_, fault)
    if isinstance(fault, StateFault):
        return _wrong_state(round_, fault)
    if isinstance(fault, ShownFault):
        return _wrong_shown(round_, fault)
    _require(1 <= fault.number <= len(round_.update_roots), "number")
    value = _update(round_, fault.number, fault.coordinate, fault.update)
    return value != _clipped(round_, value)


def _wrong_sum(round_: PublishedAggregate, fault: SumFault) -> bool:
    terms, number = round_.aggregation, fault.number
    _require(1 <= number <= len(round_.update_roots), "number")
    _require(terms.rule == AggregationRule.MEAN, "rule")
    _require(0 <= fault.coordinate < terms.parameters, "coordinate")
    addend = 0
    if terms.weights[number - 1]:  # else it was excluded: nobody may have it
        value = _update(round_, number, fault.coordinate, fault.update)
        addend = terms.weights[number - 1] * _clipped(round_, value)
    clients = len(round_.update_roots)
    entry = fault.coordinate * clients + number - 1
    shown = _Sums(round_.sums_root, terms.parameters * clients)
    before, after = shown.pair(fault.sum, entry, first=number == 1)
    return after != before + addend


def _wrong_state(round_: PublishedAggregate, fault: StateFault) -> bool:
    terms, clients = round_.aggregation, len(round_.update_roots)
    _require(terms.rule == AggregationRule.MEAN, "rule")
    _require(0 <= fault.coordinate < terms.parameters, "coordinate")
    length = terms.parameters * clients
    entry = fault.coordinate * clients + clients - 1
    total = _shown(SUMS, fault.sum, round_.sums_root, length, entry, "sums")
    step = int(rounded(total, terms.total_weight))  # type: ignore[arg-type]  # exact: Python's
    return _other(round_, fault, step)


def _wrong_shown(round_: PublishedAggregate, fault: ShownFault) -> bool:
    terms = round_.aggregation
    _require(terms.rule != AggregationRule.MEAN, "rule")
    _require(len(fault.updates) == len(terms.counted), "updates")
    values = np.zeros((len(terms.weights), 1), np.int64)
    for client, opening in zip(terms.counted, fault.updates, strict=True):
        values[client] = _update(round_, client + 1, fault.coordinate, opening)
    return _other(round_, fault, int(terms.step(values)[0]))


def _other(round_: PublishedAggregate, fault: StateFault | ShownFault, step: int) -> bool:
    """Return whether the next state is not the base moved by this step."""
    at, length = fault.coordinate, round_.aggregation.parameters
    base = _shown(STATE, fault.base, round_.base_root, length, at, "base")
    following = _shown(STATE, fault.next, round_.next_root, length, at, "next")
    return following != max(-(2**31), min(2**31 - 1, base + step))


def _update(round_: PublishedAggregate, number: int, coordinate: int, opening: Opening) -> int:
    length = round_.aggregation.parameters
    _require(0 <= coordinate < length, "coordinate")
    root = round_.update_roots[number - 1]
    return _shown(STATE, opening, root, length, coordinate, "update")


def _clipped(round_: PublishedAggregate, value: int) -> int:
    clip = round_.aggregation.clip
    return max(-clip, min(clip, value))


@dataclass(frozen=True, slots=True)
class _Sums:
    """The running sums under a root."""

    root: Bytes32
    length: int

    def pair(self, shown: SumOpening, entry: int, *, first: bool) -> tuple[int, int]:
        """Return the running sum before an entry, which for the first client is 0, and its own."""
        opening = Opening(shown.data, shown.path)
        after = _shown(SUMS, opening, self.root, self.length, entry, "sums")
        leaf, place = divmod(entry, SUMS.per_leaf)
        if first or place:
            _require(not shown.left and not shown.left_path, "sums")
            return (0 if first else int(SUMS.decode(shown.data)[place - 1])), after
        height = (leaf & -leaf).bit_length() - 1
        fits = len(shown.left) == LEAF and len(shown.left_path) == height
        _require(fits, "sums")
        node = climb(leaf_hash(shown.left), leaf - 1, shown.left_path)
        _require(node == shown.path[height], "sums")
        return int(SUMS.decode(shown.left)[-1]), after


def _shown(  # noqa: PLR0917 -- one opening, and where it must lie
    form: VectorForm, opening: Opening, root: bytes, length: int, entry: int, part: str
) -> int:
    leaf, place = divmod(entry, form.per_leaf)
    logical = form.size * min(form.per_leaf, length - leaf * form.per_leaf)
    fits = len(opening.data) == logical and len(opening.path) == form.depth(length)
    _require(fits and opening.root(leaf) == root, part)
    return int(form.decode(opening.data)[place])


def _require(holds: bool, part: str) -> None:
    if not holds:
        raise TrainingFaultInvalid(part)
