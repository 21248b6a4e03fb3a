"""Ensembles of decision trees as programs: TREE, then sums by class.

Every library's trees become `x < threshold` on numbers of one precision. So a feature matters only
through its rank among the model's thresholds (docs/exact.md, TREE). The class is the library's own
on every input, but for sums that differ by less than the library's own rounding.
```
 ranks 1 × F ──TREE──▶ 1 × T leaf values ──VIEW──▶ C × T/C ──SUM──▶ 1 × C scores ──ARGMAX──▶ class
```
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import NODE, DType
from oracle.exact.quantisation import Missing, OutputCode, Ranks
from worker.errors import ModelUnsupported
from worker.exact.compiler import Compiled
from worker.exact.graph import Array

MAX_DEPTH = 64
MAX_FEATURES = 4096  # a row that TREE reads whole has at most 8,192 bytes
MAX_SUMMED = 2048  # the same for SUM
MAX_THRESHOLDS = 65_534
_LEAF = 0x7FFF
_MISSING_LEFT = 0x8000


@dataclass(frozen=True, slots=True)
class DecisionTree:
    """One tree as arrays by node, the root first: left where x[feature] < threshold.

    A leaf has `left` −1. `output` is the score that the tree adds to.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    output: int = 0


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees whose values add up to `outputs` scores, to which `base` is added.

    score = (base + Σ values) · factor. `binary`: one score; the second class when it is above zero.
    """

    trees: tuple[DecisionTree, ...]
    base: tuple[float, ...]
    features: int
    precision: Literal["float32", "float64"]
    missing: tuple[Missing, ...]
    factor: float = 1.0
    classes: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether one score decides between two classes."""
        return bool(self.classes) and len(self.base) == 1


def below(thresholds: Array) -> Array:
    """Return t' in float32 such that x ≤ t is x < t' for every float32 x."""
    limits = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        nearest = limits.astype(np.float32)
    down = np.where(nearest > limits, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.nextafter(down.astype(np.float32), np.float32(np.inf)).astype(np.float64)


def compile_trees(
    ensemble: Ensemble, *, answer: Literal["scores", "class"] = "scores", name: str = "features"
) -> Compiled:
    """Compile an ensemble.

    Args:
        ensemble: from one of the readers.
        answer: the scores, or the place of the greatest one (the class).
        name: of the input.

    Raises:
        ModelUnsupported: too many features, thresholds or levels; no classes to choose from.
    """
    if answer == "class" and not ensemble.classes:
        raise ModelUnsupported("a regression has no classes", hint='ask for answer="scores"')
    trees = _with_base(ensemble)
    thresholds = _thresholds(ensemble.features, trees)
    scale = _scale(trees)
    builder = ProgramBuilder()
    code = Ranks(name, thresholds, ensemble.missing, ensemble.precision)
    scores = _scores(builder, builder.input(code.spec), trees, thresholds, scale)
    shape: tuple[int, ...] = (1, len(ensemble.base))
    if answer == "class":
        if ensemble.binary:
            zero = builder.constant(np.zeros((1, 1), np.int32), DType.I32)
            scores = builder.concat(zero, scores)
        builder.argmax(scores)
        shape = (1,)
    program, constants = builder.build()
    output = OutputCode(
        "class" if answer == "class" else "scores", DType.I32, shape,
        1.0 if answer == "class" else scale * ensemble.factor,
        meaning="class" if answer == "class" else "scores" if ensemble.classes else "value",
        labels=ensemble.classes,
    )  # fmt: skip
    return Compiled(program, constants, (code,), output)


def classes_of(ensemble: Ensemble, scores: Array) -> Array:
    """Return the class of each row of scores, as the libraries choose it: ties to the first."""
    if ensemble.binary:
        return (scores[..., 0] > 0).astype(np.int64)
    return np.asarray(scores.argmax(-1), np.int64)


def _with_base(ensemble: Ensemble) -> list[list[DecisionTree]]:
    """Return the trees of each output, equally many, the base in the leaves of the first."""
    groups = []
    for output, base in enumerate(ensemble.base):
        mine = [_collapsed(tree) for tree in ensemble.trees if tree.output == output]
        mine = mine or [_leaf(0.0)]
        groups.append([replace(mine[0], value=mine[0].value + base), *mine[1:]])
    most = max(len(group) for group in groups)
    return [group + [_leaf(0.0)] * (most - len(group)) for group in groups]


def _leaf(value: float) -> DecisionTree:
    none = np.array([-1])
    return DecisionTree(
        np.array([0]), np.zeros(1), none, none, np.zeros(1, bool), np.array([value])
    )


def _collapsed(tree: DecisionTree) -> DecisionTree:
    """Replace subtrees whose leaves are all alike by one leaf, and leave unreachable nodes out."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if tree.left[node] >= 0:
            stack += [int(tree.right[node]), int(tree.left[node])]
    left, value = tree.left.copy(), tree.value.astype(np.float64)
    for node in reversed(order):  # children first
        if left[node] < 0:
            continue
        below_left, below_right = left[node], tree.right[node]
        leaves = left[below_left] < 0 and left[below_right] < 0
        if leaves and value[below_left] == value[below_right]:
            left[node], value[node] = -1, value[below_left]
    kept, stack = [], [0]
    while stack:
        node = stack.pop()
        kept.append(node)
        if left[node] >= 0:
            stack += [int(tree.right[node]), int(left[node])]
    new = np.full(len(left), -1)
    new[kept] = np.arange(len(kept))
    leaf = left[kept] < 0
    return replace(
        tree,
        feature=tree.feature[kept], threshold=tree.threshold[kept].astype(np.float64),
        left=np.where(leaf, -1, new[left[kept]]), right=np.where(leaf, -1, new[tree.right[kept]]),
        missing_left=tree.missing_left[kept], value=value[kept],
    )  # fmt: skip


def _thresholds(
    features: int, groups: Sequence[Sequence[DecisionTree]]
) -> tuple[tuple[float, ...], ...]:
    if features > MAX_FEATURES:
        raise ModelUnsupported(
            f"{features} features, a program reads at most {MAX_FEATURES}",
            hint="drop the features that no tree splits on before training",
        )
    found: list[set[float]] = [set() for _ in range(features)]
    for group in groups:
        for tree in group:
            for node in np.flatnonzero(tree.left >= 0):
                found[int(tree.feature[node])].add(float(tree.threshold[node]))
    most = max(len(limits) for limits in found)
    if most > MAX_THRESHOLDS:
        raise ModelUnsupported(
            f"{most} thresholds of one feature, {MAX_THRESHOLDS} have a rank",
            hint="train with max_bin=255, or fewer trees",
        )
    return tuple(tuple(sorted(limits)) for limits in found)


def _scale(groups: Sequence[Sequence[DecisionTree]]) -> float:
    """Return the power of two that leaves are counted in: no sum of leaves leaves i32."""
    largest = max(
        sum(float(np.abs(tree.value[tree.left < 0]).max()) for tree in group) for group in groups
    )
    room = 2**31 - 1 - max(len(group) for group in groups)
    return 2.0 ** -math.floor(math.log2(room / (largest or 1.0)))


def _scores(
    builder: ProgramBuilder, ranks: Ref, groups: Sequence[Sequence[DecisionTree]],
    thresholds: tuple[tuple[float, ...], ...], scale: float,
) -> Ref:  # fmt: skip
    trees = [tree for group in groups for tree in group]
    nodes, depth = _nodes(trees, thresholds, scale)
    table = builder.constant(nodes.reshape(1, -1), DType.NODE)
    values = builder.tree(ranks, table, trees=len(trees), depth=depth)
    outputs, each = len(groups), len(groups[0])
    while each > 1:
        width = next(w for w in range(min(each, MAX_SUMMED), 0, -1) if each % w == 0)
        if width == 1:  # a prime above the limit
            raise ModelUnsupported(
                f"{each} trees a class cannot be summed in rows of {MAX_SUMMED}",
                hint="train another number of trees",
            )
        rows = outputs * each // width
        if rows > 1:
            values = builder.view(values, rows, width, sizes=[rows * width], strides=[1])
        each //= width
        values = builder.sum(values, cols=outputs * each)
    return values


def _nodes(
    trees: Sequence[DecisionTree], thresholds: tuple[tuple[float, ...], ...], scale: float
) -> tuple[Array, int]:
    """Return node records, the roots first, and the greatest number of steps."""
    size = sum(len(tree.left) for tree in trees)
    nodes = np.zeros(size, NODE)
    free, deepest = len(trees), 0
    ranks = [{limit: k + 1 for k, limit in enumerate(limits)} for limits in thresholds]
    for root, tree in enumerate(trees):
        count = len(tree.left)
        place = np.concatenate([[root], np.arange(free, free + count - 1)])
        free += count - 1
        leaf = tree.left < 0
        record = nodes[place]
        record["feature"] = np.where(
            leaf, _LEAF, tree.feature | np.where(tree.missing_left, _MISSING_LEFT, 0)
        )
        record["threshold"] = [
            0 if end else ranks[int(f)][float(t)]
            for end, f, t in zip(leaf, tree.feature, tree.threshold, strict=True)
        ]
        record["left"] = np.where(leaf, 0, place[tree.left])
        record["right"] = np.where(leaf, 0, place[tree.right])
        record["value"] = np.where(leaf, np.rint(tree.value / scale), 0)
        nodes[place] = record
        deepest = max(deepest, _depth(tree))
    if deepest > MAX_DEPTH:
        raise ModelUnsupported(
            f"a tree of {deepest} levels, {MAX_DEPTH} are walked", hint="train with max_depth=16"
        )
    return nodes, deepest


def _depth(tree: DecisionTree) -> int:
    depth, level = 0, [0]
    while level := [
        int(child)
        for node in level
        if tree.left[node] >= 0
        for child in (tree.left[node], tree.right[node])
    ]:
        depth += 1
    return depth
