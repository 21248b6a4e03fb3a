"""Random programs of one operator, biased to extremes: for differential tests of executors.

`random_case(opcode, rng)` gives a valid program around one operator, with constants that may be
hostile (channels past their ranges, ids past their table, cyclic trees) and inputs at the ends of
their ranges. Whether operands are inputs, constants or earlier operators' tensors is drawn too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import NUMBERS, Array, DType, Spec
from oracle.exact.program import Opcode, Program
from oracle.exact.reference import execute
from oracle.exact.rules import MAX_ACCUMULATOR, SHORT, magnitude
from oracle.exact.tensors import TensorTree

Rng = np.random.Generator
I8, U8, I16, U16, I32, CHANNEL, NODE = DType


@dataclass(frozen=True)
class Case:
    """A program, what it runs on, and the operator that it is about."""

    program: Program
    constants: Constants
    inputs: tuple[Array, ...]
    op: int

    def committed(self) -> Committed:
        """Return the honest trace."""
        trace = execute(self.program, self.constants, self.inputs)
        return Committed(self.program, trace.tensors)

    def position(self, rng: Rng) -> tuple[int, int, int]:
        """Draw an element of the operator."""
        result = self.program.ops[self.op].result
        return self.op, int(rng.integers(result.rows)), int(rng.integers(result.cols))


def random_case(opcode: Opcode, rng: Rng, *, small: bool = True) -> Case:
    """Draw a case of an operator; `small` keeps tensors to a few leaves."""
    draw = Draw(rng, 24 if small else 300)
    result = DRAWS[opcode](draw)
    if rng.random() < 0.5:  # so that the operator is not the last, and its tensor in the trace
        draw.builder.view(result, 1, 1, sizes=(1,), strides=(0,))
    program, constants = draw.builder.build(canonical=False)
    return Case(program, constants, tuple(draw.inputs), result.number)


class Draw:
    """Draws values, shapes and operands into a builder."""

    def __init__(self, rng: Rng, most: int) -> None:
        self.rng = rng
        self.most = most
        self.builder = ProgramBuilder()
        self.inputs: list[Array] = []

    def one_of(self, options: Sequence[DType] | frozenset[DType]) -> DType:
        return sorted(options)[int(self.rng.integers(len(options)))]

    def size(self, most: int | None = None) -> int:
        """Draw a count, often 1, a power of two or one beside it."""
        most = self.most if most is None else most
        chosen = [1, 2, 3, 5, 8, 9, most, int(self.rng.integers(1, most + 1))]
        return min(most, chosen[int(self.rng.integers(len(chosen)))])

    def numbers(self, dtype: DType, rows: int, cols: int) -> Array:
        """Draw a matrix: all of one extreme, extremes, small numbers or anything."""
        low, high = dtype.minimum, dtype.maximum
        ends = [low, high, 0, low + 1, high - 1, min(1, high)]
        match int(self.rng.integers(4)):
            case 0:
                values = np.full((rows, cols), ends[int(self.rng.integers(len(ends)))])
            case 1:
                values = self.rng.choice(ends, (rows, cols))
            case 2:
                values = np.clip(self.rng.integers(-9, 10, (rows, cols)), low, high)
            case _:
                values = self.rng.integers(low, high + 1, (rows, cols))
        return values.astype(dtype.numpy)

    def operand(self, dtype: DType, rows: int, cols: int, values: Array | None = None) -> Ref:
        """Draw an input, a constant or an operator's tensor of a shape."""
        values = self.numbers(dtype, rows, cols) if values is None else values
        where = int(self.rng.integers(3))
        if where == 0 and self.inputs:
            return self.builder.constant(values, dtype)
        if len(self.inputs) == 8:
            return self.builder.constant(values, dtype)
        self.inputs.append(values)
        ref = self.builder.input(Spec(dtype, rows, cols))
        if where == 1:
            ref = self.builder.view(ref, rows, cols, sizes=(rows, cols), strides=(cols, 1))
        return ref

    def channels(self, cols: int) -> Ref:
        """Draw channels: fitting ones, or any bytes."""
        if self.rng.random() < 0.3:
            stored = self.rng.choice(np.array([0, 1, 62, 63, 127, 128, 255], np.uint8), 16 * cols)
            spec = Spec(CHANNEL, 1, cols)
            return self.builder.constant(TensorTree(spec, stored.reshape(1, -1)), CHANNEL)
        row = np.empty((1, cols), CHANNEL.numpy)
        shift = self.rng.integers(1, 63, cols)
        ends = [0, 1, -1, 2**24 - 1, 1 - 2**24, 2**31 - 1, -(2**31)]
        extreme = self.rng.random(cols) < 0.3
        mult = np.where(extreme, self.rng.choice(ends, cols), self.rng.integers(-999, 1000, cols))
        bias = np.where(
            self.rng.random(cols) < 0.2,
            self.rng.choice([0, 2**61, -(2**61), 2**63 - 1, -(2**63)], cols),
            self.rng.integers(-(2**62), 2**62, cols) >> self.rng.integers(1, 62, cols),
        )
        row["bias"], row["mult"], row["shift"] = bias, mult, shift
        return self.builder.constant(row, CHANNEL)

    def per(self, cols: int) -> Ref:
        """Draw one channel for all, or one for each."""
        return self.channels(1 if self.rng.random() < 0.3 else cols)


def _dot(d: Draw) -> Ref:
    a, b, y = d.one_of(SHORT), d.one_of(SHORT), d.one_of(NUMBERS)
    columns = min(d.size(d.most * 8), (MAX_ACCUMULATOR - 1) // (magnitude(a) * magnitude(b)))
    blocks, group, n = d.size(3), d.size(4), d.size(6)
    left = d.operand(a, blocks * group, columns)
    right = d.operand(b, blocks * n, columns)
    return d.builder.dot(left, right, d.per(blocks * n), dtype=y, group=group)


def _add(d: Draw) -> Ref:
    terms = (I8, I16, I32)
    rows, cols = d.size(6), d.size()
    a = d.operand(d.one_of(terms), rows, cols)
    b = d.operand(d.one_of(terms), 1 if d.rng.random() < 0.3 else rows, cols)
    return d.builder.add(a, b, d.channels(2), dtype=d.one_of((I8, U8, I16, I32)))


def _lut(d: Draw) -> Ref:
    x = d.one_of((I8, U8) if d.rng.random() < 0.9 else (I16, U16))
    y = d.one_of(NUMBERS)
    table = d.builder.constant(d.numbers(y, 1, 1 << 8 * x.size), y)
    return d.builder.lut(d.operand(x, d.size(6), d.size()), table)


def _layernorm(d: Draw) -> Ref:
    cols = d.size(d.most * 8)
    x = d.operand(d.one_of((I8, I16)), d.size(4), cols)
    eps = int(d.rng.choice([0, 1, 2**32, 2**52 - 1, int(d.rng.integers(2**40))]))
    return d.builder.layernorm(x, d.channels(cols), eps=eps, dtype=d.one_of((I8, I16)))


def _softmax(d: Draw) -> Ref:
    rows, cols = d.size(4), d.size(d.most * 4)
    x = d.operand(d.one_of((I8, I16)), rows, cols)
    mask = None
    if d.rng.random() < 0.6:
        mask = d.operand(U8, 1 if d.rng.random() < 0.5 else rows, cols)
    exp = d.builder.constant(d.numbers(U16, 1, d.size(d.most * 8)), U16)
    shift = int(d.rng.choice([0, 1, 7, 15]))
    return d.builder.softmax(x, exp, mask=mask, shift=shift, dtype=d.one_of((U8, U16)))


def _mean(d: Draw) -> Ref:
    rows, n, cols = d.size(3), d.size(4), d.size(d.most * 4)
    x = d.operand(d.one_of(SHORT), rows * n, cols)
    mask = d.operand(U8, 1, cols) if d.rng.random() < 0.6 else None
    y = d.one_of((I8, U8, I16, I32))
    return d.builder.mean(x, d.per(n), mask=mask, cols=n, dtype=y)


def _reduced(d: Draw) -> tuple[Ref, int]:
    rows, n = d.size(3), d.size(4)
    return d.operand(d.one_of(NUMBERS), rows * n, d.size(d.most * 4)), n


def _max(d: Draw) -> Ref:
    x, n = _reduced(d)
    return d.builder.max(x, cols=n)


def _sum(d: Draw) -> Ref:
    x, n = _reduced(d)
    return d.builder.sum(x, cols=n)


def _argmax(d: Draw) -> Ref:
    x, n = _reduced(d)
    return d.builder.argmax(x, cols=n)


def _gather(d: Draw) -> Ref:
    y, rows = d.one_of(NUMBERS), d.size()
    table = d.builder.constant(d.numbers(y, rows, d.size(d.most * 4)), y)
    ids = d.numbers(U16, 1, d.size())
    if d.rng.random() < 0.7:
        ids = (ids % (rows + 1)).astype(np.uint16)
    return d.builder.gather(d.operand(U16, 1, ids.shape[1], ids), table)


def _view(d: Draw) -> Ref:
    rows, cols = d.size(), d.size()
    x = d.operand(d.one_of(NUMBERS), rows, cols)
    sizes = [d.size(4) for _ in range(5)]
    base = int(d.rng.integers(rows * cols))
    left, strides = rows * cols - 1 - base, []
    for size in sizes:
        stride = int(d.rng.integers(left + 1)) if size == 1 else d.size(left // (size - 1) + 1) - 1
        strides.append(stride)
        left -= (size - 1) * stride
    n = sizes[-1] if d.rng.random() < 0.5 else sizes[-1] * sizes[-2]
    total = int(np.prod(sizes))
    return d.builder.view(x, total // n, n, sizes=sizes, strides=strides, base=base)


def _pad(d: Draw) -> Ref:
    height, width = d.size(5), d.size(5)
    x = d.operand(d.one_of(NUMBERS), height * width, d.size())
    border = {side: int(d.rng.integers(3)) for side in ("top", "left", "bottom", "right")}
    value = int(d.numbers(x.spec.dtype, 1, 1)[0, 0])
    return d.builder.pad(x, height, width, **border, value=value)


def _concat(d: Draw) -> Ref:
    dtype, rows = d.one_of(NUMBERS), d.size()
    parts = [d.operand(dtype, rows, d.size()) for _ in range(2 + int(d.rng.integers(2)))]
    return d.builder.concat(*parts)


def _tree(d: Draw) -> Ref:
    cols, count, trees = d.size(), d.size(d.most * 2), d.size(4)
    count = max(count, trees)
    nodes = np.empty((1, count), NODE.numpy)
    feature = d.rng.choice([*range(cols + 2), 0x7FFE, 0x7FFF, 0x7FFF], count)
    nodes["feature"] = feature | d.rng.choice([0, 0x8000], count)
    nodes["threshold"] = d.rng.choice([0, 1, 7, 0x7FFF, 0xFFFE, 0xFFFF], count)
    for side in ("left", "right"):
        nodes[side] = d.rng.choice([0, count - 1, 2**32 - 1, *d.rng.integers(0, count, 9)], count)
    nodes["value"] = d.rng.choice([0, 2**31 - 1, -(2**31), *d.rng.integers(-9, 9, 3)], count)
    features = d.operand(U16, d.size(5), cols)
    depth = int(d.rng.choice([0, 1, 5, 64]))
    return d.builder.tree(features, d.builder.constant(nodes, NODE), trees=trees, depth=depth)


def _rescale(d: Draw) -> Ref:
    cols = d.size()
    x = d.operand(d.one_of(SHORT), d.size(), cols)
    return d.builder.rescale(x, d.per(cols), dtype=d.one_of(NUMBERS))


DRAWS: Mapping[Opcode, Callable[[Draw], Ref]] = {
    Opcode.DOT: _dot,
    Opcode.ADD: _add,
    Opcode.LUT: _lut,
    Opcode.LAYERNORM: _layernorm,
    Opcode.SOFTMAX: _softmax,
    Opcode.MEAN: _mean,
    Opcode.MAX: _max,
    Opcode.SUM: _sum,
    Opcode.ARGMAX: _argmax,
    Opcode.GATHER: _gather,
    Opcode.VIEW: _view,
    Opcode.PAD: _pad,
    Opcode.CONCAT: _concat,
    Opcode.TREE: _tree,
    Opcode.RESCALE: _rescale,
}
