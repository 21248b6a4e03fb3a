"""Operators: whole tensors against single elements in plain integers and against NumPy."""

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact import dtypes
from oracle.exact.builder import ProgramBuilder
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec
from oracle.exact.elements import ElementReader, element
from oracle.exact.operators import OPERATORS
from oracle.exact.program import Kind, Op, Opcode, Program
from oracle.exact.reference import execute
from tests.exact.cases import Case, random_case

CASES = 40


class Direct(ElementReader):
    """Reads operands without any tree."""

    def __init__(self, case: Case, op: Op, tensors: tuple[np.ndarray, ...]) -> None:
        super().__init__(op)
        self.operands = [
            None if o.kind == Kind.NONE
            else tensors[o.index] if o.kind == Kind.ACTIVATION
            else case.constants[o.index]
            for o in op.operands
        ]  # fmt: skip

    def row(self, operand: int, row: int) -> list[int]:
        return self.operands[operand][row].tolist()

    def leaf(self, operand: int, row: int, leaf: int) -> list:
        count = 128 // self.op.operands[operand].spec.size
        part = self.operands[operand][row, leaf * count : (leaf + 1) * count]
        return list(part) if part.dtype.names else part.tolist()


@pytest.mark.parametrize("opcode", Opcode, ids=lambda opcode: opcode.name)
def test_operator__random_cases__every_element_as_computed_alone(opcode: Opcode) -> None:
    rng = np.random.default_rng(opcode)
    for _ in range(CASES):
        case = random_case(opcode, rng)
        tensors = execute(case.program, case.constants, case.inputs).tensors
        op, y = case.program.ops[case.op], tensors[case.program.id_of(case.op)]
        read = Direct(case, op, tensors)
        places = list(np.ndindex(y.shape))
        for k in rng.choice(len(places), min(len(places), 20), replace=False):
            i, j = places[k]
            assert element(op, int(i), int(j), read) == int(y[i, j]), (opcode, i, j)


def run(b: ProgramBuilder, *inputs: np.ndarray) -> np.ndarray:
    program, constants = b.build()
    return execute(program, constants, inputs).output


def unit(b: ProgramBuilder) -> object:
    """Add the channel that changes nothing: (acc · 2 + 1) >> 1."""
    return b.constant(dtypes.channels(0, 2, 1), DType.CHANNEL)


def test_dot__heads__as_einsum() -> None:
    b, rng = ProgramBuilder(), np.random.default_rng(1)
    q = rng.integers(-128, 128, (3 * 5, 8)).astype(np.int8)
    k = rng.integers(-128, 128, (3 * 7, 8)).astype(np.int8)
    b.dot(b.input(Spec(DType.I8, 15, 8)), b.input(Spec(DType.I8, 21, 8)), unit(b),
          dtype=DType.I32, group=5)  # fmt: skip

    expected = np.einsum(
        "hid,hjd->hij", q.reshape(3, 5, 8).astype(int), k.reshape(3, 7, 8).astype(int)
    )

    np.testing.assert_array_equal(run(b, q, k), expected.reshape(15, 7))


def test_dot__windows_of_a_view__as_a_convolution() -> None:
    b, rng = ProgramBuilder(), np.random.default_rng(2)
    image = rng.integers(-128, 128, (6 * 7, 3)).astype(np.int8)  # H·W rows of C
    weight = rng.integers(-128, 128, (4, 3 * 3 * 3)).astype(np.int8)  # rows of ky, kx, c
    x = b.pad(b.input(Spec(DType.I8, 42, 3)), 6, 7, top=1, left=1, bottom=1, right=1)
    windows = b.view(x, 42, 27, sizes=(6, 7, 3, 9), strides=(27, 3, 27, 1))
    b.dot(windows, b.constant(weight, DType.I8), unit(b), dtype=DType.I32)

    padded = np.pad(image.reshape(6, 7, 3).astype(int), ((1, 1), (1, 1), (0, 0)))
    expected = np.zeros((6, 7, 4), int)
    for y, x_ in np.ndindex(3, 3):
        kernel = weight.reshape(4, 3, 3, 3)[:, y, x_].astype(int)
        expected += padded[y : y + 6, x_ : x_ + 7] @ kernel.T

    np.testing.assert_array_equal(run(b, image), expected.reshape(42, 4))


def test_layernorm__plain_rows__near_the_real_one() -> None:
    b, rng = ProgramBuilder(), np.random.default_rng(3)
    x = rng.integers(-32768, 32768, (5, 384)).astype(np.int16)
    c = b.constant(dtypes.channels(np.zeros(384, np.int64), 2**10, 16), DType.CHANNEL)
    b.layernorm(b.input(Spec(DType.I16, 5, 384)), c, eps=0, dtype=DType.I16)  # in 2⁻¹⁰

    real = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)

    np.testing.assert_allclose(run(b, x) / 2**10, real, atol=2**-10)


def test_softmax__masked_rows__near_the_real_one() -> None:
    b, rng = ProgramBuilder(), np.random.default_rng(4)
    x = rng.integers(-3000, 3000, (6, 33)).astype(np.int16)
    mask = (rng.random((6, 33)) < 0.7).astype(np.uint8)
    mask[:, 0] = 1
    table = np.round(65535 * np.exp(-np.arange(4096) / 512))[None].astype(np.uint16)
    exp = b.constant(table, DType.U16)
    b.softmax(b.input(Spec(DType.I16, 6, 33)), exp, mask=b.input(Spec(DType.U8, 6, 33)),
              dtype=DType.U16)  # fmt: skip

    weights = np.where(mask, np.exp(x / 512.0 - (x / 512.0).max()), 0)
    real = weights / weights.sum(axis=1, keepdims=True)

    np.testing.assert_allclose(run(b, x, mask) / 65535, real, atol=1e-3)


def test_argmax__equal_elements__the_first() -> None:
    b = ProgramBuilder()
    b.argmax(b.input(Spec(DType.U8, 2, 4)))

    np.testing.assert_array_equal(
        run(b, np.array([[1, 7, 7, 0], [0, 0, 0, 0]], np.uint8)), [[1], [0]]
    )


def test_sum__beyond_i32__limited() -> None:
    b = ProgramBuilder()
    b.sum(b.input(Spec(DType.I32, 2, 2)))
    x = np.array([[2**31 - 1, 1], [-(2**31), -1]], np.int32)

    np.testing.assert_array_equal(run(b, x), [[2**31 - 1], [-(2**31)]])


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (np.zeros((2, 2), np.int32),) * 2,
        (np.zeros((2, 3), np.int32),),
        (np.full((2, 2), 2**31),),
        (np.zeros((2, 2)),),
    ],
)
def test_execute__inputs_that_do_not_fit__refused(inputs: tuple[np.ndarray, ...]) -> None:
    b = ProgramBuilder()
    b.sum(b.input(Spec(DType.I32, 2, 2)))

    with pytest.raises(InputInvalid):
        run(b, *inputs)


def test_operators__every_opcode__has_one() -> None:
    assert set(OPERATORS) == set(Opcode)


def test_build__inputs_declared_late__numbered_first() -> None:
    b = ProgramBuilder()
    first = b.input(Spec(DType.I8, 1, 2))
    view = b.view(first, 2, 1, sizes=(2,), strides=(1,))
    late = b.input(Spec(DType.I8, 2, 3))
    b.concat(view, late)

    program, constants = b.build()

    assert isinstance(program, Program)
    assert isinstance(constants, Constants)
    assert [operand.index for operand in program.ops[1].operands] == [2, 1]


def test_constant__equal_ones__share_a_number() -> None:
    b = ProgramBuilder()
    zeros = np.zeros((1, 256), np.int8)

    assert b.constant(zeros, DType.I8).number == b.constant(zeros.copy(), DType.I8).number
    assert b.constant(zeros.astype(np.uint8), DType.U8).number == 1
