"""Splits on categories: a set of codes as ranges, and as nodes that compare with one threshold.

```
 {1, 2, 5} is 1 ≤ x < 3 or 5 ≤ x < 6      x < 3 ┬ x < 1 ┬ right
                                                │       └ left        both children have several
                                                └ x < 5 ┬ right       parents then: no tree of
                                                        └ x < 6 …     nodes, but the same answers
```
Both libraries cut a feature's fraction off, so a code is a range. What was never seen is in no set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from worker.errors import WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.ensemble import DecisionTree

MAX_CODE = 2**24  # XGBoost's bound; float32 has every smaller whole number


def ranges(codes: Iterable[int], *, first: float = 0.0) -> Array:
    """Return the bounds of a set of codes: [low, high, low, high, …], each low ≤ x < high.

    Args:
        first: the lowest number that is code 0.

    Raises:
        WeightsInvalid: no code, or one out of 0 … 2²⁴ − 1.
    """
    found = np.unique(np.fromiter(codes, np.int64))
    if not found.size or found[0] < 0 or found[-1] >= MAX_CODE:
        raise WeightsInvalid(f"a split on categories {found[:4].tolist()}")
    starts = np.flatnonzero(np.r_[True, np.diff(found) > 1])
    ends = np.r_[starts[1:], found.size] - 1
    bounds = np.stack([found[starts], found[ends] + 1], 1).ravel().astype(np.float64)
    if bounds[0] == 0:
        bounds[0] = first
    return bounds


def inside(bounds: Array, values: Array) -> Array:
    """Return whether each number lies in one of the ranges; NaN does not."""
    return np.asarray(np.searchsorted(bounds, values, side="right") % 2 == 1) & ~np.isnan(values)


def with_thresholds(tree: DecisionTree, *, chain: bool) -> DecisionTree:
    """Return the tree with thresholds alone; children of a split on categories have many parents.

    Args:
        chain: compare with one bound after the other; else with the middle one first, which takes
            fewer steps. ONNX wants chains: only what is true may lead to a node that others do.
    """
    if not tree.between:
        return tree
    fields = {
        name: getattr(tree, name).tolist()
        for name in ("feature", "threshold", "left", "right", "missing_left", "value")
    }
    for node, bounds in tree.between.items():
        _split(fields, node, bounds.tolist(), chain)
    kinds = {name: getattr(tree, name).dtype for name in fields}
    arrays: dict[str, Any] = {n: np.array(values, kinds[n]) for n, values in fields.items()}
    return replace(tree, **arrays, between={})


def _split(fields: Mapping[str, list[float]], node: int, bounds: list[float], chain: bool) -> None:
    """Replace a node by comparisons with its bounds; the number of bounds ≤ x says where x goes."""
    children = (int(fields["right"][node]), int(fields["left"][node]))  # even: in no range
    goal = int(fields["missing_left"][node])  # where a missing value goes, as a count of bounds
    todo = [(node, 0, len(bounds))]
    while todo:
        at, low, high = todo.pop()
        middle = low if chain else (low + high) // 2
        fields["threshold"][at] = bounds[middle]
        fields["missing_left"][at] = goal <= middle
        for side, start, end in (("left", low, middle), ("right", middle + 1, high)):
            if start == end:
                fields[side][at] = children[start % 2]
                continue
            fields[side][at] = len(fields["left"])
            todo.append((len(fields["left"]), start, end))
            for name, values in fields.items():
                values.append(-1 if name in ("left", "right") else values[node])
