"""From real factors to the integers of a channel, and from real weights to 8 or 16 bits."""

import numpy as np

from oracle.exact.dtypes import MAX_BIAS, MAX_MULT, MAX_SHIFT, DType, channels
from worker.exact.graph import Array

_TELLING = 8  # columns that are looked at first
_WHOLE = 1e-4  # of a step: what float32 rounds off
EXACT_FLOAT = 2**53  # float64 holds every integer below: a fast executor may then use it


class FactorOutOfRange(ValueError):
    """A factor that no multiplier and shift can express."""


def requantisation(factor: Array | float, offset: Array | float, bound: Array | float) -> Array:
    """Return channels for y = acc · factor + offset, with as many bits as stay exact in float64.

    The shift is the greatest for which mult fits 24 bits and
    |acc · mult| + |bias| + 2^(shift−1) < 2⁵³, so that rounding errors of the multiplier vanish.

    Args:
        factor, offset: real, one for each channel (or one for all); in units of the result.
        bound: greatest |acc|.

    Raises:
        FactorOutOfRange: a factor is above 2²³, or a sum too large at every shift.
    """
    factors, offsets, bounds = np.broadcast_arrays(
        np.atleast_1d(np.asarray(factor, np.float64)),
        np.asarray(offset, np.float64),
        np.maximum(np.asarray(bound, np.float64), 1),
    )
    offsets = np.clip(offsets, -(2.0**33), 2.0**33)  # beyond every dtype: clamped anyway
    with np.errstate(divide="ignore"):
        by_multiplier = np.floor(np.log2(MAX_MULT / np.abs(factors)))
        total = bounds * np.abs(factors) + np.abs(offsets) + 1
        by_total = np.floor(np.log2(EXACT_FLOAT / total)) - 1
    shift = np.minimum(np.minimum(by_multiplier, by_total), MAX_SHIFT).astype(np.int64)
    if shift.min() < 1:
        raise FactorOutOfRange(f"a factor of {np.abs(factors).max():.3g} is too large")
    mult = np.rint(factors * np.exp2(shift)).astype(np.int64)
    bias = np.rint(offsets * np.exp2(shift)).astype(np.int64)
    assert np.abs(mult).max() <= MAX_MULT
    assert np.abs(bias).max() <= MAX_BIAS
    return channels(bias, mult, shift).reshape(1, -1)


def addition(factors: tuple[float, float], bounds: tuple[int, int]) -> Array:
    """Return the two channels of ADD for y = a · factors[0] + b · factors[1]; they share a shift.

    Raises:
        FactorOutOfRange: see `requantisation`.
    """
    largest = max(abs(factor) for factor in factors)
    total = sum(abs(factor) * bound for factor, bound in zip(factors, bounds, strict=True)) + 1
    shift = int(
        min(np.floor(np.log2(MAX_MULT / largest)), np.floor(np.log2(EXACT_FLOAT / total)) - 1, 62)
    )
    if shift < 1:
        raise FactorOutOfRange(f"a factor of {largest:.3g} is too large")
    mult = [round(factor * 2**shift) for factor in factors]
    return channels([0, 0], mult, [shift, shift]).reshape(1, 2)


def quantise_rows(weights: Array, dtype: DType) -> tuple[Array, Array]:
    """Return (integers, scales): symmetric, one scale for each row (output channel).

    Args:
        weights: [N, K], any float.
        dtype: i8 or i16.
    """
    largest = np.abs(weights).max(1).astype(np.float64)
    scales = np.where(largest > 0, largest, 1.0) / _steps(weights, largest, dtype)
    integers = np.rint(weights.astype(np.float64) / scales[:, None])
    return integers.astype(dtype.numpy), scales


def _steps(weights: Array, largest: Array, dtype: DType) -> Array:
    """Return how many steps the largest weight of each row has: fewer where rows are whole then.

    So weights that were rounded to 8 bits before, by training or by another tool, stay as they are.
    """
    steps = np.full(len(weights), dtype.maximum)
    rows = np.flatnonzero(largest)
    for count in range(dtype.maximum, 0, -1) if dtype == DType.I8 else ():
        found = rows
        for columns in (slice(_TELLING), slice(None)):  # a few columns refuse most rows
            shares = weights[found, columns] / largest[found, None] * count
            found = found[np.abs(shares - np.rint(shares)).max(1, initial=0) < _WHOLE]
        steps[found], rows = count, np.setdiff1d(rows, found)
    return steps


def quantise_tensor(values: Array, dtype: DType) -> tuple[Array, float]:
    """Return (integers, scale) of a constant with one scale for all."""
    scale = float(np.abs(values).max() or 1.0) / dtype.maximum
    return np.rint(values.astype(np.float64) / scale).astype(dtype.numpy), scale
