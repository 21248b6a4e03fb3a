"""Contributors of four kinds to scikit-learn's digits and breast cancer: is what they earn right?

The pool is cut into a test set (hidden, values are computed on it), rows that nobody has seen
(`unseen`, removal curves are measured on them), and equal parts for the contributors:
```
 clean 1 · clean 2 · noisy (features drowned in noise) · poisoned (every label flipped) · duplicate
```
The duplicate is committed last: clean 1's rows, each moved by at most one step in a few features.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import (  # type: ignore[import-untyped]  # it ships no types
    load_breast_cancer,
    load_digits,
)

from oracle.valuation.dataset import DataSet, Features, Labels
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.schema import Schema

Name = Literal["digits", "breast cancer"]
KINDS = ("clean 1", "clean 2", "noisy", "poisoned", "duplicate")
TAU_ROW = 8  # the duplicate moves 8 features by one step


@dataclass(frozen=True)
class Pool:
    """A quantised data set of scikit-learn's in random order."""

    features: Features
    labels: Labels

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def part(self, rows: slice) -> DataSet:
        return DataSet.of(self.features[rows], self.labels[rows], drop_repeats=True)


def pool(name: Name, seed: int = 0) -> Pool:
    """Return all rows, quantised by a schema that spans them."""
    held = load_digits() if name == "digits" else load_breast_cancer()
    order = np.random.default_rng(seed).permutation(len(held.target))
    values: NDArray[np.float64] = held.data[order]
    low, high = np.quantile(values, (0.005, 0.995), axis=0)
    schema = Schema.fit(np.stack([low, high]))
    return Pool(schema.quantise(values), held.target[order].astype(np.uint16))


def round_of(name: Name, seed: int = 0) -> RoundData:
    """Return a round with one contributor of each of KINDS, in that order."""
    whole = pool(name, seed)
    rng = np.random.default_rng(seed + 1)
    tested = len(whole.labels) // 4
    size = (len(whole.labels) - tested) // 4
    parts = [slice(tested + c * size, tested + (c + 1) * size) for c in range(4)]
    clean1, clean2 = whole.part(parts[0]), whole.part(parts[1])
    noise = rng.normal(0, 100, (size, whole.features.shape[1]))
    noisy = np.clip(np.rint(whole.features[parts[2]] + noise), -128, 127)
    flipped = (whole.labels[parts[3]] + 1) % whole.classes
    moved = clean1.features.astype(np.int16)
    for row in moved:
        row[rng.permutation(len(row))[:TAU_ROW]] += rng.choice((-1, 1), TAU_ROW)
    sets = (
        clean1,
        clean2,
        DataSet.of(noisy.astype(np.int8), whole.labels[parts[2]], drop_repeats=True),
        DataSet.of(whole.features[parts[3]], flipped, drop_repeats=True),
        DataSet.of(np.clip(moved, -128, 127), clean1.labels, drop_repeats=True),
    )
    return RoundData(Params(5, TAU_ROW, 0), sets, whole.part(slice(0, tested)))


@dataclass(frozen=True)
class Mixed:
    """One contributor with wrong labels among right ones, and rows that nobody has seen."""

    data: RoundData
    unseen: Pool


def mixed(name: Name, seed: int = 0, wrong: float = 0.25) -> Mixed:
    """Return a third of the pool as test set, a third unseen, a third as training rows."""
    whole = pool(name, seed)
    rng = np.random.default_rng(seed + 2)
    third = len(whole.labels) // 3
    labels = whole.labels.copy()
    bad = 2 * third + rng.permutation(len(labels) - 2 * third)[: round(wrong * third)]
    labels[bad] = (labels[bad] + 1 + rng.integers(0, whole.classes - 1, len(bad))) % whole.classes
    train = Pool(whole.features, labels).part(slice(2 * third, None))
    unseen = slice(third, 2 * third)
    data = RoundData(Params(5, 0, 0), (train,), whole.part(slice(0, third)))
    return Mixed(data, Pool(whole.features[unseen], whole.labels[unseen]))
