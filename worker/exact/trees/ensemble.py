"""Decision trees of any library as arrays, and the rules that hold for all of them.

Every library's trees become `x < threshold` on numbers of one precision. A reader makes an
`Ensemble` of what a stranger wrote, so `check` holds it before anything walks along its nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from oracle.exact.quantisation import Link
from oracle.exact.ranks import MAX_FEATURES, Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array

MAX_NODES = 2**24  # of all trees: 256 MiB of records
MAX_OUTPUTS = 1024


@dataclass(frozen=True, slots=True)
class DecisionTree:
    """One tree as arrays by node, the root first: left where x[feature] < threshold.

    A leaf has `left` −1. `output` is the score that the tree adds to. A node in `between` splits on
    categories: left where its feature is in one of the ranges there (see `categories.ranges`).
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    output: int = 0
    between: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees whose values add up to `outputs` margins, to which `base` is added.

    margin = (base + Σ values) · factor; the library's answer is link(slope · margin), of this
    meaning; `link` None: it answers a class alone. `cut`: of one margin, above which the second
    class is chosen; `cut_in`: on it, too.
    """

    trees: tuple[DecisionTree, ...]
    base: tuple[float, ...]
    features: int
    precision: Literal["float32", "float64"]
    missing: tuple[Missing, ...]
    factor: float = 1.0
    classes: tuple[str, ...] = ()
    meaning: Literal["value", "probabilities", "scores"] = "value"
    link: Link | None = "identity"
    slope: float = 1.0
    cut: float = 0.0
    cut_in: bool = False
    missing_value: float | None = None
    zero: float = 0.0  # features that are so near to zero are zero
    names: tuple[str, ...] = ()  # of the features

    @property
    def binary(self) -> bool:
        """Whether one margin decides between two classes."""
        return bool(self.classes) and len(self.base) == 1

    @property
    def nodes(self) -> int:
        """Nodes of all trees; a split on categories has one for each bound."""
        own = sum(len(tree.left) for tree in self.trees)
        return own + sum(len(bounds) for tree in self.trees for bounds in tree.between.values())


def check(ensemble: Ensemble) -> Ensemble:
    """Return the ensemble if every tree is one, and every number is finite.

    Raises:
        WeightsInvalid: arrays that do not fit, a node that two lead to, NaN, no such feature.
        ModelUnsupported: more features, outputs or nodes than a program takes.
    """
    outputs = len(ensemble.base)
    for what, count, most in (
        ("features", ensemble.features, MAX_FEATURES), ("outputs", outputs, MAX_OUTPUTS),
        ("nodes", ensemble.nodes, MAX_NODES),
    ):  # fmt: skip
        if count > most:
            raise ModelUnsupported(
                f"{count} {what}, a program has at most {most}",
                hint="drop the features that no tree splits on, or train fewer or smaller trees",
            )
    if ensemble.features < 1 or outputs < 1 or not np.isfinite(ensemble.base).all():
        raise WeightsInvalid(f"{ensemble.features} features, base {ensemble.base[:4]}")
    for number, tree in enumerate(ensemble.trees):
        for problem in _problems(tree, ensemble):
            raise WeightsInvalid(f"tree {number} is damaged: {problem}")
    return ensemble


def _problems(tree: DecisionTree, ensemble: Ensemble) -> Iterator[str]:
    """Yield what is wrong with a tree; what comes after the first one may not be looked at."""
    size = len(tree.left)
    arrays = (tree.feature, tree.threshold, tree.right, tree.missing_left, tree.value)
    if not size or any(array.shape != (size,) for array in (tree.left, *arrays)):
        yield "its arrays do not fit each other"
    if not 0 <= tree.output < len(ensemble.base):
        yield f"it adds to output {tree.output}"
    inner = np.flatnonzero(tree.left >= 0)
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    if children.size and not (children.min() > 0 and children.max() < size):
        yield "a child that does not exist"
    if np.bincount(children, minlength=1).max() > 1:
        yield "two nodes lead to one"
    feature = tree.feature[inner]
    if inner.size and not (feature.min() >= 0 and feature.max() < ensemble.features):
        yield "a split on a feature that does not exist"
    for node, bounds in tree.between.items():
        pairs = bounds.size > 0 and bounds.size % 2 == 0 and np.isfinite(bounds).all()
        if not (
            0 <= node < size and tree.left[node] >= 0 and pairs and (np.diff(bounds) > 0).all()
        ):
            yield "a split on categories that is none"
    if np.isnan(tree.threshold[inner]).any() or not np.isfinite(tree.value[tree.left < 0]).all():
        yield "a number that is not finite"


def below(thresholds: Array) -> Array:
    """Return t' in float32 such that x ≤ t is x < t' for every float32 x."""
    limits = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        nearest = limits.astype(np.float32)
        down = np.where(nearest > limits, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        return np.nextafter(down.astype(np.float32), np.float32(np.inf)).astype(np.float64)


def classes_of(ensemble: Ensemble, margins: Array) -> Array:
    """Return the class of each row of margins, as the libraries choose it: ties to the first."""
    if ensemble.binary:
        one = margins[..., 0]
        return (one >= ensemble.cut if ensemble.cut_in else one > ensemble.cut).astype(np.int64)
    return np.asarray(margins.argmax(-1), np.int64)


def on_thresholds(
    limits: Array, count: int, kind: np.dtype[Any], dice: np.random.Generator
) -> Array:
    """Draw numbers of a feature that lie on its finite thresholds and beside them; else zeros."""
    picked = limits[np.isfinite(limits)]
    if not picked.size:
        return np.zeros(count, kind)
    on = dice.choice(picked, count).astype(kind)
    side = dice.choice([-np.inf, np.inf], count).astype(kind)
    return np.where(dice.random(count) < 0.5, on, np.nextafter(on, side))
