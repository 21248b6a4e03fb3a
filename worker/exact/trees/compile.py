"""Ensembles of decision trees as programs: TREE, then sums by output.

A feature matters only through its rank among the model's thresholds (docs/exact.md, TREE). The
class is the library's own on every input, but for sums that differ by less than its own rounding.
```
 ranks 1 × F ──TREE──▶ 1 × T leaf values ──VIEW──▶ C × T/C ──SUM──▶ 1 × C margins ──ARGMAX──▶ class
```
All trees are handled as one array of nodes: a forest of 500 trees has a million of them.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import NODE, DType
from oracle.exact.quantisation import OutputCode
from oracle.exact.ranks import MISSING_RANK, Ranks, Thresholds
from worker.errors import ModelUnsupported
from worker.exact.compiler import Compiled
from worker.exact.graph import Array
from worker.exact.trees.categories import with_thresholds
from worker.exact.trees.ensemble import Ensemble

Answer = Literal["prediction", "margin", "class"]
FILE = "thresholds.safetensors"
MAX_DEPTH = 64
MAX_SUMMED = 2048  # a row of i32 that SUM reads whole has at most 8,192 bytes
MAX_THRESHOLDS = MISSING_RANK - 1
_LEAF = 0x7FFF
_MISSING_LEFT = 0x8000


def compile_trees(
    ensemble: Ensemble, *, answer: Answer = "prediction", name: str = "features"
) -> Compiled:
    """Compile an ensemble that was checked.

    Args:
        ensemble: from one of the readers.
        answer: what the library predicts (probabilities, values), the margins before the link, or
            the place of the class.
        name: of the input.

    Raises:
        ModelUnsupported: too many thresholds, trees or levels; no classes to choose from.
    """
    if answer == "class" and not ensemble.classes:
        raise ModelUnsupported("a regression has no classes", hint="ask for its prediction")
    trees = tuple(with_thresholds(tree, chain=False) for tree in ensemble.trees)
    ensemble = replace(ensemble, trees=trees)
    groups = _Groups.of(ensemble)
    nodes = _merged(_joined(ensemble, groups))
    thresholds, ranks = _ranked(nodes, ensemble)
    scale = _scale(nodes, groups)
    table, depth = _table(nodes, ranks, scale)
    builder = ProgramBuilder()
    code = Ranks(
        name,
        ensemble.features,
        ensemble.precision,
        FILE,
        ensemble.missing_value,
        ensemble.zero,
        thresholds,
    )
    record = builder.constant(table.reshape(1, -1), DType.NODE)
    values = builder.tree(builder.input(code.spec), record, trees=groups.trees, depth=depth)
    margins = _sums(builder, values, groups)
    output = output_code(ensemble, answer, scale)
    if output.meaning == "class":
        if ensemble.binary:
            cut = round(ensemble.cut / ensemble.factor / scale) - int(ensemble.cut_in)
            floor = builder.constant(np.full((1, 1), cut, np.int32), DType.I32)
            margins = builder.concat(floor, margins)
        builder.argmax(margins)
    program, constants = builder.build()
    return Compiled(program, constants, (code,), (output,))


def output_code(ensemble: Ensemble, answer: Answer, scale: float) -> OutputCode:
    """Return what the integers stand for, when one of them is `scale` before the mean is taken."""
    labels, meaning = ensemble.classes, ensemble.meaning
    if answer == "class" or (answer == "prediction" and ensemble.link is None):
        return OutputCode("class", DType.I32, (1,), 1.0, meaning="class", labels=labels)
    shape, unit = (1, len(ensemble.base)), scale * ensemble.factor
    if answer == "margin" or meaning == "scores":
        return OutputCode("margin", DType.I32, shape, unit, meaning="scores", labels=labels)
    assert ensemble.link is not None
    return OutputCode(
        meaning, DType.I32, shape, unit, meaning=meaning, labels=labels, link=ensemble.link,
        slope=ensemble.slope,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Groups:
    """How trees lie in the row that TREE gives: output after output, equally many of each.

    `widths` are the lengths of the rows that are summed, one step after the other.
    """

    outputs: int
    each: int
    widths: tuple[int, ...]

    @property
    def trees(self) -> int:
        return self.outputs * self.each

    @classmethod
    def of(cls, ensemble: Ensemble) -> "_Groups":
        counts = np.bincount([tree.output for tree in ensemble.trees], minlength=len(ensemble.base))
        most, widths, above = max(1, int(counts.max())), list[int](), 1
        while most > above * MAX_SUMMED:  # filled up with empty trees, so that rows are equal
            widths.append(MAX_SUMMED)
            above *= MAX_SUMMED
        widths.append(-(-most // above))
        return cls(len(ensemble.base), above * widths[-1], tuple(widths))


@dataclass(frozen=True, slots=True)
class _Nodes:
    """All trees' nodes; roots first, in the order of `_Groups`. A leaf has left −1."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    roots: int


def _joined(ensemble: Ensemble, groups: _Groups) -> _Nodes:
    """Return all trees in one array, the base in the leaves of each output's first tree."""
    by_output: list[list[int]] = [[] for _ in range(groups.outputs)]
    for number, tree in enumerate(ensemble.trees):
        by_output[tree.output].append(number)
    size = groups.trees + sum(len(tree.left) - 1 for tree in ensemble.trees)
    feature, left, right = np.zeros(size, np.int64), np.full(size, -1), np.full(size, -1)
    threshold, value, missing = np.zeros(size), np.zeros(size), np.zeros(size, bool)
    free = groups.trees
    for output, members in enumerate(by_output):
        first = output * groups.each
        value[first] = ensemble.base[output]  # an output without trees is its base
        for place, number in enumerate(members):
            tree, count = ensemble.trees[number], len(ensemble.trees[number].left)
            at = np.concatenate([[first + place], np.arange(free, free + count - 1)])
            free += count - 1
            leaf = tree.left < 0
            feature[at], threshold[at], missing[at] = (
                tree.feature,
                tree.threshold,
                tree.missing_left,
            )
            left[at] = np.where(leaf, -1, at[tree.left])
            right[at] = np.where(leaf, -1, at[tree.right])
            value[at] = np.where(leaf, tree.value + (0.0 if place else ensemble.base[output]), 0.0)
    return _Nodes(feature, threshold, left, right, missing, value, groups.trees)


def _merged(nodes: _Nodes) -> _Nodes:
    """Replace subtrees whose leaves are all alike by one leaf; leave unreachable nodes out.

    What is kept stands level by level, children side by side.
    """
    left, right, value = nodes.left.copy(), nodes.right, nodes.value.copy()
    open_ = np.flatnonzero(left >= 0)
    while open_.size:
        one, other = left[open_], right[open_]
        alike = (left[one] < 0) & (left[other] < 0) & (value[one] == value[other])
        if not alike.any():
            break
        value[open_[alike]] = value[one[alike]]
        left[open_[alike]] = -1
        open_ = open_[~alike]
    level, levels = np.arange(nodes.roots), []
    while level.size:
        levels.append(level)
        inner = level[left[level] >= 0]
        level = _once(np.stack([left[inner], right[inner]], 1).ravel())
    kept = _once(np.concatenate(levels)[::-1])[::-1]  # where it comes last: below all its parents
    new = np.full(len(left), -1)
    new[kept] = np.arange(len(kept))
    leaf = left[kept] < 0
    return _Nodes(
        nodes.feature[kept], nodes.threshold[kept],
        np.where(leaf, -1, new[left[kept]]), np.where(leaf, -1, new[right[kept]]),
        nodes.missing_left[kept], value[kept], nodes.roots,
    )  # fmt: skip


def _once(nodes: Array) -> Array:
    """Return nodes in their order, each where it comes first: children of categories come again."""
    _, first = np.unique(nodes, return_index=True)
    found: Array = nodes[np.sort(first)]
    return found


def _ranked(nodes: _Nodes, ensemble: Ensemble) -> tuple[Thresholds, Array]:
    """Return the thresholds of each feature, and each node's rank: its place among them, from 1."""
    inner = np.flatnonzero(nodes.left >= 0)
    feature, threshold = nodes.feature[inner], nodes.threshold[inner]
    order = np.lexsort((threshold, feature))
    feature, threshold = feature[order], threshold[order]
    starts = np.r_[True, feature[1:] != feature[:-1]][: len(feature)]
    fresh = starts | np.r_[True, threshold[1:] != threshold[:-1]][: len(feature)]
    counts = np.bincount(feature[fresh], minlength=ensemble.features)
    if (most := int(counts.max())) > MAX_THRESHOLDS:
        raise ModelUnsupported(
            f"{most} thresholds of one feature, {MAX_THRESHOLDS} have a rank",
            hint="train with max_bin=255, or fewer trees",
        )
    before = np.r_[0, np.cumsum(counts)[:-1]]  # thresholds of the features before
    ranks = np.zeros(len(nodes.left), np.int64)
    ranks[inner[order]] = np.cumsum(fresh) - before[feature]
    limits = np.split(threshold[fresh], np.cumsum(counts)[:-1])
    return Thresholds(tuple(limits), ensemble.missing), ranks


def _scale(nodes: _Nodes, groups: _Groups) -> float:
    """Return the power of two that leaves are counted in: no sum of leaves leaves i32."""
    tree = np.arange(len(nodes.left))
    inner = np.flatnonzero(nodes.left >= 0)  # level by level: parents come first
    for level in _levels(nodes, inner):
        tree[nodes.left[level]] = tree[nodes.right[level]] = tree[level]
    largest = np.zeros(groups.trees)
    leaf = nodes.left < 0
    np.maximum.at(largest, tree[leaf], np.abs(nodes.value[leaf]))
    most = float(largest.reshape(groups.outputs, groups.each).sum(1).max())
    room = 2**31 - 1 - groups.each
    return 2.0 ** -math.floor(math.log2(room / (most or 1.0)))


def _levels(nodes: _Nodes, inner: Array) -> list[Array]:
    """Return the inner nodes of each level."""
    levels, level = [], inner[inner < nodes.roots]
    while level.size:
        levels.append(level)
        below = _once(np.concatenate([nodes.left[level], nodes.right[level]]))
        level = below[nodes.left[below] >= 0]
    return levels


def _table(nodes: _Nodes, ranks: Array, scale: float) -> tuple[Array, int]:
    """Return node records, and the greatest number of steps from a root to a leaf."""
    leaf = nodes.left < 0
    table = np.zeros(len(leaf), NODE)
    table["feature"] = np.where(
        leaf, _LEAF, nodes.feature | np.where(nodes.missing_left, _MISSING_LEFT, 0)
    )
    table["threshold"] = np.where(leaf, 0, ranks)
    table["left"] = np.where(leaf, 0, nodes.left)
    table["right"] = np.where(leaf, 0, nodes.right)
    table["value"] = np.where(leaf, np.rint(nodes.value / scale), 0)
    depth = len(_levels(nodes, np.flatnonzero(~leaf)))
    if depth > MAX_DEPTH:
        raise ModelUnsupported(
            f"a tree of {depth} levels, {MAX_DEPTH} are walked", hint="train with max_depth=16"
        )
    return table, depth


def _sums(builder: ProgramBuilder, values: Ref, groups: _Groups) -> Ref:
    each = groups.each
    for width in groups.widths:
        each //= width
        rows = groups.outputs * each
        if width > 1:
            if rows > 1:
                values = builder.view(values, rows, width, sizes=[rows * width], strides=[1])
            values = builder.sum(values, cols=rows)
    return values
