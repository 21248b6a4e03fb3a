"""The reference: flags and scores of docs/valuation.md, section 2, as plainly as they are written.

Slow on purpose (N² distances at once): worker/valuation is the fast one and gives the same bits.
Up to SMALL pairs it takes less than the import of torch, so small rounds are left to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle.valuation.rounds import ONE, RoundData

Ints = NDArray[np.int64]
DUPLICATE, LEAKED = 1, 2
SMALL = 1 << 20  # pairs of a row with a row or a test point: about half a second


@dataclass(frozen=True, eq=False)
class Flags:
    """Which rows take no part, and why: `flag` (0, 1 duplicate, 2 leaked) and `witness`, N each."""

    flag: Ints
    witness: Ints

    @property
    def kept(self) -> Ints:
        """The unflagged rows' numbers: n."""
        return np.flatnonzero(self.flag == 0)


@dataclass(frozen=True, eq=False)
class Block:
    """Scores for test points `start`, `start + 1` …: integers, points × n, nearest row first."""

    start: int
    rows: NDArray[np.integer]
    distances: NDArray[np.integer]
    s: Ints


def is_small(data: RoundData) -> bool:
    """Tell whether a round is not worth the import of torch."""
    rows = len(data.labels)
    return rows * (rows + data.test.rows) <= SMALL


def distances(a: NDArray[np.int8], b: NDArray[np.int8]) -> Ints:
    """Return squared distances, rows of a × rows of b."""
    return np.array([np.square(b.astype(np.int64) - x).sum(1) for x in a.astype(np.int64)])


def flags(data: RoundData) -> Flags:
    """Return the flags: leaks first, then duplicates in the order of row numbers."""
    to_test = distances(data.features, data.test.features) <= data.params.tau_test
    near = distances(data.features, data.features) <= data.params.tau_row
    to_row = near & (data.labels[:, None] == data.labels)
    flag, witness = np.zeros((2, len(data.labels)), np.int64)
    for i in range(len(flag)):
        earlier = to_row[i, :i] & (flag[:i] == 0)
        if to_test[i].any():
            flag[i], witness[i] = LEAKED, to_test[i].argmax()
        elif earlier.any():
            flag[i], witness[i] = DUPLICATE, earlier.argmax()
    return Flags(flag, witness)


def weight(p: int, k: int) -> int:
    """Return c_p, the only rounding there is."""
    return ONE * min(k, p + 1) // (k * (p + 1))


def weights(n: int, k: int) -> Ints:
    """Return c_0 … c_{n−1}."""
    count = np.arange(1, n + 1, dtype=np.int64)
    return ONE * np.minimum(k, count) // (k * count)


def scores(data: RoundData, flagged: Flags) -> Iterator[Block]:
    """Yield the scores of one test point after another."""
    kept = flagged.kept
    c = weights(len(kept), data.params.k)
    for t in range(data.test.rows):
        d = distances(data.test.features[t : t + 1], data.features[kept])[0]
        order = np.lexsort((kept, d))
        rows = kept[order]
        delta = (data.labels[rows] == data.test.labels[t]).astype(np.int64)
        s = np.zeros(len(kept), np.int64)
        for p in reversed(range(len(kept))):
            last = p == len(kept) - 1
            s[p] = delta[p] * c[p] if last else s[p + 1] + (delta[p] - delta[p + 1]) * c[p]
        yield Block(t, rows[None], d[order][None], s[None])
