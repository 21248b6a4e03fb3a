"""One element of each operator, in plain integers: what the contract computes again.

docs/exact.md, section 4, with the column *reads*: an operator asks an `ElementReader` for rows and
elements in the order in which a step shows them. The prover's reader writes the slices
down (proofs.py), the judge's opens them (judge.py), so both always agree on what a step holds.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oracle.exact.dtypes import MAX_BIAS, MAX_MULT, MAX_SHIFT, MIN_SHIFT, DType
from oracle.exact.operators import LEAF, MISSING, MISSING_LEFT
from oracle.exact.program import Kind, Op, Opcode
from oracle.exact.tensors import LEAF as LEAF_BYTES


class ElementReader(ABC):
    """Shows parts of one operator's operands."""

    def __init__(self, op: Op) -> None:
        self.op = op

    @abstractmethod
    def row(self, operand: int, row: int) -> Sequence[int]:
        """Return one row of an operand, whole."""

    @abstractmethod
    def leaf(self, operand: int, row: int, leaf: int) -> Sequence[Any]:
        """Return the elements of a row that lie in one leaf: ints, or records of named fields."""

    def element(self, operand: int, row: int, col: int) -> Any:
        """Return one element, out of its leaf."""
        leaf, place = divmod(col, LEAF_BYTES // self.op.operands[operand].spec.size)
        return self.leaf(operand, row, leaf)[place]


def element(op: Op, i: int, j: int, read: ElementReader) -> int:
    """Return y[i,j]."""
    return ELEMENTS[op.opcode](op, i, j, read)


def stored(value: int, dtype: DType) -> int:
    """Return the stored form of a number as an unsigned integer."""
    return value - dtype.minimum


def requantise(acc: int, c: Any, dtype: DType) -> int:
    """Return clamp((acc · mult + bias + 2^(shift−1)) >> shift)."""
    bias, mult, shift = channel(c)
    return clamp(acc * mult + bias + (1 << shift - 1) >> shift, dtype)


def channel(c: Any) -> tuple[int, int, int]:
    """Read a channel: bias, mult and shift, clamped."""
    return (
        limit(int(c["bias"]), -MAX_BIAS, MAX_BIAS),
        limit(int(c["mult"]), -MAX_MULT, MAX_MULT),
        limit(int(c["shift"]), MIN_SHIFT, MAX_SHIFT),
    )


def clamp(value: int, dtype: DType) -> int:
    """Limit a value to a dtype's range."""
    return limit(value, dtype.minimum, dtype.maximum)


def limit(value: int, low: int, high: int) -> int:
    """Limit a value to a range."""
    return max(low, min(value, high))


def _ch(op: Op, operand: int, k: int, read: ElementReader) -> Any:
    """Read ch(k): channel k, or the only one."""
    return read.element(operand, 0, 0 if op.operands[operand].spec.cols == 1 else k)


def _dot(op: Op, i: int, j: int, read: ElementReader) -> int:
    row = i // op.lane(0) * op.result.cols + j
    a, b = read.row(0, i), read.row(1, row)
    acc = sum(x * y for x, y in zip(a, b, strict=True))
    return requantise(acc, _ch(op, 2, row, read), op.result.dtype)


def _add(op: Op, i: int, j: int, read: ElementReader) -> int:
    a = read.element(0, i, j)
    b = read.element(1, 0 if op.operands[1].spec.rows == 1 else i, j)
    first, second = read.leaf(2, 0, 0)
    bias, mult, shift = channel(first)
    acc = a * mult + b * channel(second)[1] + bias + (1 << shift - 1)
    return clamp(acc >> shift, op.result.dtype)


def _lut(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.element(0, i, j)
    return int(read.element(1, 0, stored(x, op.operands[0].spec.dtype)))


def _layernorm(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.row(0, i)
    n, s, q = len(x), sum(x), sum(k * k for k in x)
    v = n * q - s * s
    eps = op.lane(0) + (op.lane(1) << 32)
    r = max(1, math.isqrt((v + eps) << 8))
    z = ((n * x[j] - s) << 20) // r
    return requantise(z, read.element(1, 0, j), op.result.dtype)


def _softmax(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.row(0, i)
    mask = op.operands[1]
    kept: Sequence[int] = [1] * len(x)
    if mask.kind != Kind.NONE:
        kept = read.row(1, 0 if mask.spec.rows == 1 else i)
    exp = read.row(2, 0)
    m = max((x_k for x_k, keep in zip(x, kept, strict=True) if keep), default=0)
    w = [
        exp[min((m - x_k) >> op.lane(0), len(exp) - 1)] if keep else 0
        for x_k, keep in zip(x, kept, strict=True)
    ]
    t = sum(w)
    return 0 if t == 0 else (w[j] * op.result.dtype.maximum + t // 2) // t


def _mean(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.row(0, i * op.result.cols + j)
    kept: Sequence[int] = [1] * len(x)
    if op.operands[1].kind != Kind.NONE:
        kept = read.row(1, 0)
    m = [min(1, keep) for keep in kept]
    n = sum(m)
    acc = (sum(a * b for a, b in zip(m, x, strict=True)) << 16) // n if n else 0
    return requantise(acc, _ch(op, 2, j, read), op.result.dtype)


def _max(op: Op, i: int, j: int, read: ElementReader) -> int:
    return max(read.row(0, i * op.result.cols + j))


def _sum(op: Op, i: int, j: int, read: ElementReader) -> int:
    return clamp(sum(read.row(0, i * op.result.cols + j)), op.result.dtype)


def _argmax(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.row(0, i * op.result.cols + j)
    return x.index(max(x))


def _gather(op: Op, i: int, j: int, read: ElementReader) -> int:
    row = min(read.element(0, 0, i), op.operands[1].spec.rows - 1)
    return int(read.element(1, row, j))


def _view(op: Op, i: int, j: int, read: ElementReader) -> int:
    rest, at = i * op.result.cols + j, op.lane(10)
    for size, stride in zip(op.params[4::-1], op.params[9:4:-1], strict=True):
        rest, digit = divmod(rest, size)
        at += digit * stride
    return int(read.element(0, *divmod(at, op.operands[0].spec.cols)))


def _pad(op: Op, i: int, j: int, read: ElementReader) -> int:
    height, width, top, left, _, right, value = op.params[:7]
    y, x = divmod(i, width + left + right)
    if top <= y < top + height and left <= x < left + width:
        return int(read.element(0, (y - top) * width + x - left, j))
    return value + op.result.dtype.minimum


def _concat(op: Op, i: int, j: int, read: ElementReader) -> int:
    for k, operand in enumerate(op.operands):
        if j < operand.spec.cols:
            return int(read.element(k, i, j))
        j -= operand.spec.cols
    raise AssertionError("validity: the operands' columns are the result's")


def _tree(op: Op, i: int, t: int, read: ElementReader) -> int:
    features, nodes = read.row(0, i), op.operands[1].spec.cols
    node = read.element(1, 0, t)
    for _ in range(op.lane(0)):
        feature = int(node["feature"]) & LEAF
        if feature == LEAF:
            break
        v = features[min(feature, len(features) - 1)]
        missing_left = bool(int(node["feature"]) & MISSING_LEFT)
        left = missing_left if v == MISSING else v < int(node["threshold"])
        child = int(node["left"] if left else node["right"])
        node = read.element(1, 0, min(child, nodes - 1))
    return int(node["value"])


def _rescale(op: Op, i: int, j: int, read: ElementReader) -> int:
    x = read.element(0, i, j)
    return requantise(x, _ch(op, 1, j, read), op.result.dtype)


ELEMENTS: Mapping[Opcode, Callable[[Op, int, int, ElementReader], int]] = {
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
