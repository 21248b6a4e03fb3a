"""Strided values: whatever is done to shapes, the matrix has the elements that NumPy says."""

import numpy as np
import pytest

from oracle.exact.builder import ProgramBuilder
from oracle.exact.dtypes import DType, Spec
from oracle.exact.reference import execute
from worker.exact.lowering.layout import OperandLayout, TooManyDimensions, dense

SHAPE = (2, 3, 4, 5)


def test_matrix__six_dimensions_apart__is_refused() -> None:
    builder = ProgramBuilder()
    value = dense(builder.input(Spec(DType.I16, 8, 8)), 1.0, (2,) * 6)

    with pytest.raises(TooManyDimensions):
        OperandLayout(builder).matrix(value.permuted((5, 4, 3, 2, 1, 0)), (0, 1, 2), (3, 4, 5))


def test_matrix__that_lies_right__emits_nothing() -> None:
    builder = ProgramBuilder()
    ref = builder.input(Spec(DType.I16, 36, 4))
    image = dense(ref, 1.0, (1, 4, 6, 6), (0, 2, 3, 1))

    assert OperandLayout(builder).matrix(image, (0, 2, 3), (1,)) is ref


@pytest.mark.parametrize("seed", range(25))
def test_layout__random_views__are_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    elements = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
    builder = ProgramBuilder()
    layout = OperandLayout(builder)
    order = tuple(int(d) for d in rng.permutation(4))
    stored = elements.transpose(order).reshape(6, 20)
    value, want = dense(builder.input(Spec(DType.I16, 6, 20)), 1.0, SHAPE, order), elements
    for _ in range(5):
        kind = rng.integers(4)
        if kind == 0:
            dims = rng.permutation(want.ndim)
            value, want = value.permuted([int(d) for d in dims]), want.transpose(dims)
        elif kind == 1:
            dim = int(rng.integers(want.ndim))
            start, step = int(rng.integers(want.shape[dim])), int(rng.integers(1, 3))
            want = want[(slice(None),) * dim + (slice(start, None, step),)]
            value = value.sliced(dim, start, step, want.shape[dim])
        elif kind == 2 and want.ndim < 4:
            want = np.broadcast_to(want, (2, *want.shape))
            value = value.expanded(want.shape)
        else:
            split = int(rng.integers(want.ndim + 1))
            shape = (int(np.prod(want.shape[:split])), int(np.prod(want.shape[split:])))
            value, want = layout.reshaped(value, shape), want.reshape(shape)
    split = int(rng.integers(want.ndim))
    ref = layout.matrix(value, range(split), range(split, want.ndim))
    if ref.place == "input":
        ref = builder.view(ref, 6, 20, sizes=[120], strides=[1])
    program, constants = builder.build()

    got = execute(program, constants, [stored]).output

    assert program.id_of(len(program.ops) - 1) == ref.number + 1
    np.testing.assert_array_equal(got, want.reshape(got.shape))
