"""Second opinions on what data is worth: leave-one-out and Data Shapley, reported, never paid.

They retrain a model of scikit-learn's on parts of the data, so they cost much, depend on seeds and
cannot be proven on chain. They are there to be held beside the exact values. Members are whatever
is valued: contributions, or single rows. A utility is the accuracy on the test set.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oracle.valuation.dataset import Features, Labels
from oracle.valuation.reference import Flags
from oracle.valuation.rounds import RoundData

Rows = NDArray[np.int64]
Utility = Callable[[Rows], float]  # row numbers → accuracy
Model = Literal["knn", "logistic"]


@dataclass(frozen=True)
class SecondOpinion:
    """What each member is worth in accuracy; the values of Data Shapley add up to all members'."""

    values: tuple[float, ...]
    errors: tuple[float, ...]  # standard errors; zero where nothing is drawn
    evaluations: int  # models trained


def accuracy(
    features: Features,
    labels: Labels,
    test_features: Features,
    test_labels: Labels,
    model: Model = "knn",
    *,
    k: int = 5,
) -> Utility:
    """Return the utility of rows: the test accuracy of a model trained on them alone.

    No row is worth 0, as for the exact values; rows of one class predict it.
    """
    scaled, scaled_test = (part.astype(np.float64) / 127 for part in (features, test_features))

    def utility(rows: Rows) -> float:
        if not rows.size:
            return 0.0
        known = np.unique(labels[rows])
        if known.size == 1:
            return float((test_labels == known[0]).mean())
        trained = _model(model, min(k, rows.size)).fit(scaled[rows], labels[rows])
        return float((trained.predict(scaled_test) == test_labels).mean())

    return utility


def votes(data: RoundData) -> Utility:
    """Return the utility that a valuator reports with: k nearest rows vote, in integers.

    Needs no library. Of equal distances the lower row number is nearer, of equal votes the lower
    label wins, so every machine says the same. Holds T × N row numbers.
    """
    wanted, k = data.test.labels, data.params.k
    points = data.test.features.astype(np.int32)
    held = data.features.astype(np.int32)
    order = np.array([np.square(held - z).sum(1).argsort(kind="stable") for z in points])
    near = data.labels[order]

    def utility(rows: Rows) -> float:
        if not rows.size:
            return 0.0
        present = np.zeros(len(held), bool)
        present[rows] = True
        chosen = present[order]
        chosen &= chosen.cumsum(1) <= k
        voters = near[chosen].reshape(len(wanted), -1)
        counts = (voters[:, :, None] == voters[:, None, :]).sum(2)
        best = np.where(counts == counts.max(1, keepdims=True), voters, 0x10000).min(1)
        return float((best == wanted).mean())

    return utility


def _model(model: Model, k: int) -> Any:
    if model == "knn":
        neighbours = importlib.import_module("sklearn.neighbors")  # optional, and heavy
        return neighbours.KNeighborsClassifier(k, algorithm="brute")
    linear = importlib.import_module("sklearn.linear_model")
    return linear.LogisticRegression(max_iter=300, C=0.1)


def members(data: RoundData, flags: Flags | None = None) -> list[Rows]:
    """Return the rows of each contribution; with flags, without those that take no part."""
    pairs = zip(data.starts, data.starts[1:], strict=False)
    rows = [np.arange(start, end) for start, end in pairs]
    return rows if flags is None else [held[flags.flag[held] == 0] for held in rows]


def leave_one_out(utility: Utility, members: Sequence[Rows]) -> SecondOpinion:
    """Return what is lost when one member is left out: U(all) − U(all but it)."""
    everything = utility(_union(members))
    values = [
        everything - utility(_union([*members[:i], *members[i + 1 :]])) for i in range(len(members))
    ]
    return SecondOpinion(tuple(values), (0.0,) * len(members), len(members) + 1)


def tmc_shapley(
    utility: Utility,
    members: Sequence[Rows],
    *,
    permutations: int = 100,
    tolerance: float = 0.01,
    seed: int = 0,
) -> SecondOpinion:
    """Return Data Shapley by truncated Monte Carlo (Ghorbani, Zou 2019, arXiv:1904.02868, alg. 1).

    In each permutation members join one by one; once the accuracy is within `tolerance` of that of
    all, those that are left gain nothing.
    """
    rng = np.random.default_rng(seed)
    everything, evaluations = utility(_union(members)), 1
    gains = np.zeros((permutations, len(members)))
    for gain in gains:
        joined: list[Rows] = []
        before = 0.0
        for member in rng.permutation(len(members)):
            if abs(everything - before) < tolerance:
                break
            joined.append(members[member])
            after = utility(_union(joined))
            evaluations += 1
            gain[member], before = after - before, after
    errors = gains.std(0, ddof=1) / np.sqrt(permutations) if permutations > 1 else gains[0] * 0
    return SecondOpinion(tuple(gains.mean(0).tolist()), tuple(errors.tolist()), evaluations)


def removal_curve(utility: Utility, order: Rows, fractions: Sequence[float]) -> list[float]:
    """Return the accuracy once the first so many rows of an order are removed."""
    return [utility(np.sort(order[round(part * len(order)) :])) for part in fractions]


def _union(members: Sequence[Rows]) -> Rows:
    return np.concatenate(members) if members else np.zeros(0, np.int64)
