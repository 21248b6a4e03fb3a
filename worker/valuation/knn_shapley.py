"""Exact KNN-Shapley in torch: the bits of the reference, a block of test points at once.

docs/valuation.md, section 2. Everything is an integer; what float32 carries, it carries exactly:
```
 d = |x|² + |z|² − 2x·z   one matmul of augmented rows (x, |x|², 1) · (−2z, 1, |z|²): for D ≤ 256
                          the terms' magnitudes add up to ≤ D · 2¹⁶ = 2²⁴, so no sum can round
 key = d · 2²¹ + row · 2 + [label is z's]      45 bits; unique, so any sort is the stable one,
                                               and nothing but keys is moved
 s_p = Σ_{q ≥ p} e_q,  e_q = (δ_q − δ_{q+1}) · c_q,  δ_n = 0
```
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oracle.valuation.dataset import Features
from oracle.valuation.reference import DUPLICATE, LEAKED, Block, Flags, weights
from oracle.valuation.rounds import RoundData

BUDGET = 1 << 24  # pairs at work at once: about 0.5 GB
LABEL_BITS, ROW_BITS = 1, 20
Row = NDArray[np.int64]


def scores(
    data: RoundData, flags: Flags, *, device: str = "cpu", budget: int = BUDGET
) -> Iterator[Block]:
    """Yield the scores of blocks of test points.

    Args:
        budget: pairs of rows and test points to hold at once.
    """
    kept = torch.from_numpy(flags.kept)
    n = len(kept)
    rows = kept.numpy()
    features = _left(data.features[rows], device)
    labels = torch.from_numpy(data.labels[rows].astype(np.int32)).to(device)
    numbers = (kept << LABEL_BITS).to(device)
    c = torch.from_numpy(weights(n, data.params.k)).to(device)
    size = max(1, budget // max(1, n))
    for start in range(0, data.test.rows, size):
        some = slice(start, start + size)
        wanted = torch.from_numpy(data.test.labels[some].astype(np.int32)).to(device)
        with _full_precision():
            distances = (_right(data.test.features[some], device) @ features.T).to(torch.int64)
        keys = distances.bitwise_left_shift_(ROW_BITS + LABEL_BITS)
        keys += numbers
        keys += labels == wanted[:, None]
        keys = _sort(keys)
        yield Block(
            start,
            (keys >> LABEL_BITS & (1 << ROW_BITS) - 1).cpu().numpy(),
            (keys >> ROW_BITS + LABEL_BITS).cpu().numpy(),
            _recurrence(keys & 1, c).cpu().numpy(),
        )


def _sort(keys: Tensor) -> Tensor:
    """Return keys in order along the last axis. On a CPU NumPy's sort (AVX-512, AVX2) is faster."""
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)
        return keys
    return keys.sort(dim=1).values


def _recurrence(delta: Tensor, c: Tensor) -> Tensor:
    """Return s from δ, points × n, in the order of ranks."""
    e = delta.clone()
    e[:, :-1] -= delta[:, 1:]
    e *= c
    before = e.cumsum(1)
    return e.sub_(before).add_(before[:, -1:].clone())


# ── Flags ─────────────────────────────────────────────────────────────────────────────────────────


def flags(data: RoundData, *, device: str = "cpu", budget: int = BUDGET) -> Flags:
    """Return which rows take no part: leaks, then near-duplicates in the order of row numbers.

    Only rows of one label can repeat each other, so one label is searched after the other.
    """
    flag, witness = _leaks(data, device, budget)
    order = np.argsort(data.labels, kind="stable")
    ends = np.flatnonzero(np.diff(data.labels[order])) + 1
    for rows in np.split(order, ends):
        if len(rows) > 1:
            _repeats(data, rows, (flag, witness), device, budget)
    return Flags(flag, witness)


def _leaks(data: RoundData, device: str, budget: int) -> tuple[Row, Row]:
    """Return flag and witness of the rows that are near a test point."""
    count = len(data.labels)
    flag, witness = np.zeros((2, count), np.int64)
    tests = _right(data.test.features, device).T
    size = max(1, budget // data.test.rows)
    for start in range(0, count, size):
        with _full_precision():
            near = _left(data.features[start : start + size], device) @ tests
        first = _first(near, data.params.tau_test)
        flag[start : start + size] = np.where(first >= 0, LEAKED, 0)
        witness[start : start + size] = np.maximum(first, 0)
    return flag, witness


def _repeats(data: RoundData, rows: Row, flags: tuple[Row, Row], device: str, budget: int) -> None:
    """Flag near-duplicates among rows of one label, in place.

    A block of rows is held against all earlier unflagged rows at once; within the block, one row
    after another, as each flag decides about the next.
    """
    flag, witness = flags
    count = len(rows)
    features = data.features[rows]
    size = max(1, min(2048, budget // count))
    earlier = torch.empty((features.shape[1] + 2, count), device=device)  # unflagged, by row
    numbers = np.empty(count, np.int64)
    held = 0
    buffer = torch.empty(size * count, device=device)  # fresh pages cost more than sums
    for start in range(0, count, size):
        some = rows[start : start + size]
        block = features[start : start + size]
        left, right = _left(block, device), _right(block, device).T
        with _full_precision():
            distances = buffer[: len(left) * held].view(len(left), held)
            torch.mm(left, earlier[:, :held], out=distances)
            before = _first(distances, data.params.tau_row)
            within = (left @ right <= data.params.tau_row).cpu().numpy()
        leaked = flag[some] != 0
        state = np.where(leaked, LEAKED, np.where(before >= 0, DUPLICATE, 0))
        seen = np.where(leaked, witness[some], numbers[before])
        _resolve(state, seen, within, some)
        flag[some] = state
        witness[some] = np.where(state != 0, seen, 0)
        fresh = np.flatnonzero(state == 0)
        earlier[:, held : held + len(fresh)] = right[:, torch.from_numpy(fresh).to(device)]
        numbers[held : held + len(fresh)] = some[fresh]
        held += len(fresh)


def _first(distances: Tensor, tau: int) -> Row:
    """Return the first column of each row that is within τ, −1 where there is none."""
    found = np.full(len(distances), -1, np.int64)
    if distances.shape[1]:
        some = distances.amin(1) <= tau  # one pass; few rows need another
        near = (distances[some] <= tau).to(torch.uint8)
        found[some.cpu().numpy()] = near.argmax(1).cpu().numpy()
    return found


def _resolve(state: Row, witness: Row, within: NDArray[np.bool_], rows: Row) -> None:
    """Flag duplicates of earlier rows of the same block, in place; `rows` are its numbers."""
    np.fill_diagonal(within, False)
    for i in np.flatnonzero(within.any(1) & (state == 0)):
        near = within[i, :i] & (state[:i] == 0)
        if near.any():
            state[i], witness[i] = DUPLICATE, rows[near.argmax()]


# ── Distances ─────────────────────────────────────────────────────────────────────────────────────


def _left(features: Features, device: str) -> Tensor:
    """Return (x, |x|², 1), float32, rows × (D + 2)."""
    x = torch.from_numpy(features).to(device).float()
    return torch.cat([x, x.square().sum(1, keepdim=True), torch.ones(len(x), 1, device=device)], 1)


def _right(features: Features, device: str) -> Tensor:
    """Return (−2z, 1, |z|²), float32, rows × (D + 2): `_left(x) @ _right(z).T` are distances."""
    z = torch.from_numpy(features).to(device).float()
    one = torch.ones(len(z), 1, device=device)
    return torch.cat([-2 * z, one, z.square().sum(1, keepdim=True)], 1)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep float32 products whole: TF32 or bfloat16 would round |x|²."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
