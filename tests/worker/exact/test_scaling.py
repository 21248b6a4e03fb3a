"""Channels: as exact as their bits allow, inside the bounds that keep float64 exact."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle.exact.dtypes import MAX_BIAS, MAX_MULT, DType
from worker.exact.lowering.scaling import (
    EXACT_FLOAT,
    FactorOutOfRange,
    addition,
    quantise_rows,
    requantisation,
)


def test_requantisation__factor_too_large__is_refused() -> None:
    with pytest.raises(FactorOutOfRange):
        requantisation(1e8, 0.0, 1)


def test_addition__factor_too_large__is_refused() -> None:
    with pytest.raises(FactorOutOfRange):
        addition((1.0, 1e9), (127, 127))


@settings(deadline=None, max_examples=300)
@given(
    factor=st.floats(1e-9, 1e3) | st.floats(-1e3, -1e-9),
    offset=st.floats(-1e5, 1e5),
    bound=st.integers(1, 2**37 - 1),
    share=st.floats(-1, 1),
)
def test_requantisation__any_factor__is_within_half_a_step_of_the_real_number(
    factor: float, offset: float, bound: int, share: float
) -> None:
    assume(abs(factor) * bound <= 2**40)  # beyond it lies no dtype
    c = requantisation(factor, offset, bound)[0, 0]
    mult, bias, shift = int(c["mult"]), int(c["bias"]), int(c["shift"])
    acc = int(share * bound)

    got = (acc * mult + bias + (1 << shift - 1)) >> shift

    assert abs(mult) <= MAX_MULT
    assert abs(bias) <= MAX_BIAS
    assert 1 <= shift <= 62
    assert bound * abs(mult) + abs(bias) + (1 << shift - 1) < EXACT_FLOAT
    slack = bound * 2.0**-shift / 2 + 2.0**-shift  # the multiplier's and the bias's own rounding
    assert abs(got - (acc * factor + offset)) <= 0.5 + slack + 1e-6 * abs(got)


def test_quantise_rows__row_of_zeros__stays_zero() -> None:
    rows = np.array([[0.0, 0.0], [1.0, -2.0], [0.912345, -2.0]])
    integers, scales = quantise_rows(rows, DType.I8)

    assert integers.tolist() == [[0, 0], [63, -126], [58, -127]]
    assert (scales > 0).all()
    np.testing.assert_allclose((integers * scales[:, None])[:2], rows[:2])  # on a grid: kept
