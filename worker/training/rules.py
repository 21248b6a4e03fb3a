"""Which updates count in an open round, and the state that follows: integers, block by block.

`mean`, `median` and `trimmed` are those that a contract judges (`oracle.training.aggregation`).
`krum` chooses one update, the one whose n − f − 2 nearest are nearest; `multi-krum` the n − f − 2
best by the same measure. The state that follows is the mean of those, which is judged as any mean.
The choice itself is not judged.
Squared distances are exact: products of 16-bit numbers are added in float64 over at most 2¹⁶
coordinates, which stays below 2⁵³, and then in integers.
Source: coordinate-wise rules: Yin et al. 2018 (arXiv:1803.01498); krum: Blanchard et al. 2017.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oracle.errors import ConfigInvalid
from oracle.training.aggregation import Aggregation, AggregationRule, check, stacked
from oracle.training.vectors import Vector

Name = Literal["mean", "median", "trimmed", "krum", "multi-krum"]
NAMES: tuple[Name, ...] = ("mean", "median", "trimmed", "krum", "multi-krum")
AT_ONCE = 1 << 20  # coordinates of all clients together: 8 MiB in float64
MOST_DISTANCES = 1 << 31  # coordinates of all: a sum of distances stays below 2⁶³
MOST_COORDINATES = 1 << 16  # of a client at once


def chosen(
    name: Name, updates: Sequence[Vector], weights: Sequence[int], *, clip: int, suspected: int = 0
) -> Aggregation:
    """Return how a rule aggregates these updates.

    Args:
        suspected: f, clients that may be bad: the trim of `trimmed`, and what krum bears.

    Raises:
        AggregationInvalid, VectorInvalid: see `oracle.training.aggregation`.
        ConfigInvalid: an unknown rule; for krum: fewer than 2 f + 3 clients, or n · P ≥ 2³¹.
    """
    parameters, given = len(updates[0]) if updates else 0, tuple(weights)
    if name == "mean":
        return Aggregation(parameters, clip, given)
    if name == "median":
        return Aggregation(parameters, clip, given, AggregationRule.MEDIAN)
    if name == "trimmed":
        return Aggregation(parameters, clip, given, AggregationRule.TRIMMED, suspected)
    if name not in NAMES:
        raise ConfigInvalid(f"rule {name!r} is none of {', '.join(NAMES)}")
    everyone = Aggregation(parameters, clip, given)
    check(everyone, updates)
    if parameters * len(given) >= MOST_DISTANCES:
        raise ConfigInvalid(f"distances of {len(given)} × {parameters} coordinates: too many")
    keep = len(everyone.counted) - suspected - 2 if name == "multi-krum" else 1
    found = nearest(distances(everyone, updates), suspected)[:keep]
    best = {everyone.counted[number] for number in found}
    return Aggregation(parameters, clip, tuple(w if c in best else 0 for c, w in enumerate(given)))


def next_state(
    aggregation: Aggregation, base: Vector, updates: Sequence[Vector]
) -> NDArray[np.int32]:
    """Return the state that follows, without its trees: i32, P.

    Raises:
        VectorInvalid: an update of another length than the round says.
    """
    check(aggregation, updates)
    state = np.empty(len(base), np.int32)
    for part in _parts(aggregation.parameters, len(updates)):
        shown = stacked(updates, part.start, part.stop)
        state[part] = aggregation.next_state(base[part], shown)
    return state


def distances(aggregation: Aggregation, updates: Sequence[Vector]) -> NDArray[np.int64]:
    """Return squared distances between the updates that count: i64, n × n."""
    count = len(aggregation.counted)
    products = np.zeros((count, count), np.int64)
    for part in _parts(aggregation.parameters, len(updates)):
        shown = stacked([updates[c] for c in aggregation.counted], part.start, part.stop)
        values = aggregation.clipped(shown).astype(np.float64)
        products += (values @ values.T).astype(np.int64)
    own = products.diagonal()
    return np.asarray(own[:, None] + own[None] - 2 * products)


def nearest(squared: NDArray[np.int64], suspected: int) -> list[int]:
    """Return all updates, that with the least sum of its n − f − 2 least distances first.

    Of equal ones the lower number comes first.

    Raises:
        ConfigInvalid: fewer than 2 f + 3 updates.
    """
    count = len(squared)
    if suspected < 0 or count < 2 * suspected + 3:
        raise ConfigInvalid(
            f"krum bears {suspected} bad ones of {2 * suspected + 3} updates, there are {count}",
            hint="take the median, or suspect fewer",
        )
    others = np.sort(squared[~np.eye(count, dtype=bool)].reshape(count, count - 1), axis=1)
    sums = others[:, : count - suspected - 2].sum(axis=1)
    return [int(number) for number in np.argsort(sums, kind="stable")]


def _parts(length: int, clients: int) -> Iterator[slice]:
    size = max(1, min(MOST_COORDINATES, AT_ONCE // clients))
    for at in range(0, length, size):
        yield slice(at, min(at + size, length))
