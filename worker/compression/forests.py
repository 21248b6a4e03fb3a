"""Smaller ensembles of trees: fewer rounds, fewer trees of a forest, fewer levels.

Boosting adds rounds one upon the other, so it loses the last ones. Of a forest, trees are chosen
one by one so that their mean comes nearest to the whole (ordered aggregation), or the first ones
stay where that is better. A cut level becomes a leaf: the mean of what the samples reach below it.
Source: Martinez-Munoz and Suarez 2006, doi:10.1145/1143844.1143921.
"""

from dataclasses import replace

import numpy as np

from worker.compression.methods import Method, NotCompressible
from worker.exact.graph import Array
from worker.exact.trees.categories import inside
from worker.exact.trees.ensemble import DecisionTree, Ensemble


def is_forest(ensemble: Ensemble) -> bool:
    """Whether the answer is a mean of trees, not a sum."""
    return ensemble.factor != 1.0


def variants(ensemble: Ensemble, method: Method, rows: Array) -> list[tuple[str, Ensemble]]:
    """Return what a method may make of an ensemble, the simplest first, with a word for each.

    Args:
        rows: samples [n, features] of what it is asked.

    Raises:
        NotCompressible: it is small already.
    """
    if method.kind == "depth":
        return [("", _cut(ensemble, method.amount, rows))]
    groups = _groups(ensemble)
    kept = max(1, round(len(groups) * method.amount / 100))
    if kept == len(groups):
        raise NotCompressible(f"{method.name} of {len(groups)} keeps all of them")
    found = [("first", _with(ensemble, groups[:kept], len(groups)))]
    if method.kind == "trees":
        chosen = _ordered(ensemble, groups, rows, kept)
        found.append(("chosen", _with(ensemble, [groups[n] for n in chosen], len(groups))))
    return found


def _groups(ensemble: Ensemble) -> list[tuple[DecisionTree, ...]]:
    """Return trees that belong together: one round, or one member of a forest."""
    trees, outputs = ensemble.trees, len(ensemble.base)
    together = 1  # trees of a round for one output: XGBoost's num_parallel_tree
    while outputs > 1 and together < len(trees) and trees[together].output == trees[0].output:
        together += 1
    size = outputs * together
    return [trees[start : start + size] for start in range(0, len(trees), size)]


def _with(ensemble: Ensemble, groups: list[tuple[DecisionTree, ...]], whole: int) -> Ensemble:
    factor = ensemble.factor * (whole / len(groups) if is_forest(ensemble) else 1)
    return replace(ensemble, trees=tuple(t for group in groups for t in group), factor=factor)


def _ordered(
    ensemble: Ensemble, groups: list[tuple[DecisionTree, ...]], rows: Array, kept: int
) -> list[int]:
    """Return the places of trees whose mean stays nearest to that of all, the best first."""
    votes = np.zeros((len(groups), len(rows), len(ensemble.base)))
    for number, group in enumerate(groups):
        for tree in group:
            votes[number, :, tree.output] += tree.value[_leaves(tree, rows, ensemble)]
    goal, total, left = votes.mean(0), np.zeros(votes.shape[1:]), list(range(len(groups)))
    chosen: list[int] = []
    while len(chosen) < kept:
        means = (total + votes[left]) / (len(chosen) + 1)
        best = left.pop(int(((means - goal) ** 2).sum((1, 2)).argmin()))
        total += votes[best]
        chosen.append(best)
    return sorted(chosen)


def _cut(ensemble: Ensemble, depth: int, rows: Array) -> Ensemble:
    trees = tuple(_shallow(tree, depth, rows, ensemble) for tree in ensemble.trees)
    before, after = (sum(len(t.left) for t in some) for some in (ensemble.trees, trees))
    if after == before:
        raise NotCompressible(f"no tree has more than {depth} levels")
    return replace(ensemble, trees=trees)


def _shallow(tree: DecisionTree, depth: int, rows: Array, ensemble: Ensemble) -> DecisionTree:
    """Return a tree of so many levels."""
    visits = np.bincount(_leaves(tree, rows, ensemble), minlength=len(tree.left)).astype(float)
    visits[tree.left < 0] += 1e-3  # leaves that no sample reaches count for a little
    levels = [np.array([0])]
    while (inner := levels[-1][tree.left[levels[-1]] >= 0]).size:
        levels.append(np.concatenate([tree.left[inner], tree.right[inner]]))
    weight, value = visits.copy(), tree.value * visits
    for level in reversed(levels):
        inner = level[tree.left[level] >= 0]
        for sums in (weight, value):
            sums[inner] = sums[tree.left[inner]] + sums[tree.right[inner]]
    kept = np.concatenate(levels[: depth + 1])
    new = np.full(len(tree.left), -1)
    new[kept] = np.arange(len(kept))
    leaf = tree.left[kept] < 0
    leaf |= np.isin(kept, levels[depth]) if depth < len(levels) else False
    return DecisionTree(
        tree.feature[kept], tree.threshold[kept],
        np.where(leaf, -1, new[tree.left[kept]]), np.where(leaf, -1, new[tree.right[kept]]),
        tree.missing_left[kept], np.where(leaf, value[kept] / weight[kept], 0.0), tree.output,
        {int(new[n]): one for n, one in tree.between.items() if new[n] >= 0 and not leaf[new[n]]},
    )  # fmt: skip


def _leaves(tree: DecisionTree, rows: Array, ensemble: Ensemble) -> Array:
    """Return the leaf that each row reaches; close enough to the program's to weigh leaves with."""
    given = rows.astype(ensemble.precision)
    node = np.zeros(len(given), np.int64)
    while (open_ := np.flatnonzero(tree.left[node] >= 0)).size:
        at = node[open_]
        values = given[open_, tree.feature[at]]
        left = values < tree.threshold[at]
        for one, bounds in tree.between.items():
            left = np.where(at == one, inside(bounds, values), left)
        left = np.where(np.isnan(values), tree.missing_left[at], left)
        node[open_] = np.where(left, tree.left[at], tree.right[at])
    return node
