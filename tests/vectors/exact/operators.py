"""Cases of every operator for the golden vectors: values written out by rules, never drawn.

Each case is a program around one operator, on values that sit at the ends of their ranges.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product

import numpy as np

from oracle.exact import dtypes
from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import NUMBERS, Array, DType, Spec
from oracle.exact.program import Opcode
from oracle.exact.rules import MAX_ACCUMULATOR, magnitude
from oracle.exact.tensors import TensorTree

I8, U8, I16, U16, I32, CHANNEL, NODE = DType
SHORT = (I8, U8, I16, U16)
ORDER = sorted(NUMBERS)
ALL: dict[Opcode, Callable[[], Iterator["Sketch"]]] = {}


class Sketch(ProgramBuilder):
    """A builder that fills its inputs and says what it is about."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.values: list[Array] = []

    def given(self, dtype: DType, values: Array) -> Ref:
        """Add an input with these values."""
        self.values.append(values.astype(dtype.numpy))
        return self.input(Spec(dtype, *values.shape))

    def channels(self, *triples: tuple[int, int, int]) -> Ref:
        """Add channels of (bias, mult, shift)."""
        return self.constant(dtypes.channels(*zip(*triples, strict=True)), CHANNEL)

    def hostile(self, cols: int) -> Ref:
        """Add channels of bytes that no compiler writes, the ignored ones included."""
        stored = np.array([0xFF, 0x00, 0x80, 0x01, 0xFE], np.uint8)[np.arange(16 * cols) * 7 % 5]
        return self.constant(TensorTree(Spec(CHANNEL, 1, cols), stored.reshape(1, -1)), CHANNEL)


def ends(dtype: DType, rows: int, cols: int, start: int = 0) -> Array:
    """Fill a matrix with both ends, what lies beside them, and small numbers, in turn."""
    low, high = dtype.minimum, dtype.maximum
    cycle = np.array([low, high, low + 1, 3, high - 1, 0, high // 2, 1, low], np.int64)
    return cycle[(np.arange(rows * cols) * 5 + start) % len(cycle)].reshape(rows, cols)


def ramp(dtype: DType, rows: int, cols: int, step: int = 37) -> Array:
    """Fill a matrix with numbers from all over the range."""
    span = dtype.maximum - dtype.minimum + 1
    return (np.arange(rows * cols) * step % span + dtype.minimum).reshape(rows, cols)


def full(value: int, rows: int, cols: int) -> Array:
    return np.full((rows, cols), value)


def cases_of(opcode: Opcode) -> Callable[[Callable[[], Iterator[Sketch]]], None]:
    def add(function: Callable[[], Iterator[Sketch]]) -> None:
        ALL[opcode] = function

    return add


@cases_of(Opcode.DOT)
def dot() -> Iterator[Sketch]:
    for k, (a, b) in enumerate(product(SHORT, SHORT)):
        y = ORDER[k % 5]
        longest = (MAX_ACCUMULATOR - 1) // (magnitude(a) * magnitude(b))
        s = Sketch(f"{a.name} by {b.name} to {y.name}, mixed")
        left, right = ends(a, 2, min(70, longest)), ends(b, 3, min(70, longest), 4)
        channel = s.channels((5, 3, 9), (-(2**40), -77, 20), (2**61, 2**24 - 1, 62))
        s.dot(s.given(a, left), s.given(b, right), channel, dtype=y)
        yield s
        s = Sketch(f"{a.name} by {b.name} to I32, greatest accumulator")
        columns = min(longest, 512 // max(a.size, b.size))
        left = full(a.minimum or a.maximum, 1, columns)
        right = np.vstack([full(b.minimum or b.maximum, 1, columns), full(b.maximum, 1, columns)])
        channel = s.channels((-(2**61), 2**24 - 1, 30), (2**61, 1 - 2**24, 62))
        s.dot(s.given(a, left), s.constant(right, b), channel, dtype=I32)
        yield s
    s = Sketch("two heads: each group of rows has rows of b")
    channel = s.channels((0, 1, 4))
    q, k_ = s.given(I16, ramp(I16, 6, 16, 977)), s.given(I8, ends(I8, 8, 16))
    s.dot(q, k_, channel, dtype=I16, group=3)
    yield s
    s = Sketch("hostile channels, depthwise")
    s.dot(s.given(I8, ends(I8, 4, 9)), s.constant(ends(I8, 4, 9), I8), s.hostile(4), dtype=I16,
          group=1)  # fmt: skip
    yield s


@cases_of(Opcode.ADD)
def add() -> Iterator[Sketch]:
    for k, (a, b) in enumerate(product((I8, I16, I32), repeat=2)):
        y = (I8, U8, I16, I32)[k % 4]
        s = Sketch(f"{a.name} and {b.name} to {y.name}")
        channel = s.channels((2**33, 2**24 - 1, 25), (0, -(2**22), 1))
        s.add(s.given(a, ends(a, 3, 9)), s.given(b, ends(b, 1 + 2 * (k % 2), 9, 1)), channel,
              dtype=y)  # fmt: skip
        yield s
    s = Sketch("hostile channels")
    x = s.given(I32, ends(I32, 2, 40))
    s.add(x, x, s.hostile(2), dtype=I32)
    yield s


@cases_of(Opcode.LUT)
def lut() -> Iterator[Sketch]:
    for x, y in ((I8, I16), (U8, I8), (I8, U8), (U8, U16), (I8, I32)):
        s = Sketch(f"{x.name} to {y.name}")
        table = s.constant(ramp(y, 1, 256, 2**31 // 127 if y == I32 else 91), y)
        s.lut(s.given(x, ends(x, 2, 9)), table)
        yield s
    for x in (I16, U16):
        s = Sketch(f"{x.name} to I8, 65,536 entries")
        s.lut(s.given(x, ends(x, 1, 9)), s.constant(ramp(I8, 1, 65536, 3), I8))
        yield s


@cases_of(Opcode.LAYERNORM)
def layernorm() -> Iterator[Sketch]:
    for x, y, eps in ((I8, I8, 0), (I16, I16, 2**52 - 1), (I16, I8, 1), (I8, I16, 2**32)):
        s = Sketch(f"{x.name} to {y.name}, eps {eps}")
        values = np.vstack([ends(x, 1, 33), full(x.minimum, 1, 33), ramp(x, 1, 33, 501)])
        channel = [(k * 2**28, (-1) ** k * (k + 1) * 99, 16 + k % 9) for k in range(33)]
        s.layernorm(s.given(x, values), s.channels(*channel), eps=eps, dtype=y)
        yield s
    s = Sketch("one column")
    s.layernorm(s.given(I16, ends(I16, 3, 1)), s.channels((9, 9, 1)), eps=0, dtype=I16)
    yield s
    s = Sketch("one of 4,096 stands out: the greatest deviation")
    values = full(-32768, 1, 4096)
    values[0, 77] = 32767
    channel = s.constant(dtypes.channels(np.zeros(4096, np.int64), 2**20, 30), CHANNEL)
    s.layernorm(s.given(I16, values), channel, eps=0, dtype=I16)
    yield s
    s = Sketch("hostile channels")
    s.layernorm(s.given(I8, ends(I8, 2, 9)), s.hostile(9), eps=7, dtype=I16)
    yield s


@cases_of(Opcode.SOFTMAX)
def softmax() -> Iterator[Sketch]:
    table = np.array([[65535, 40000, 1000, 999, 17, 1, 0]])
    for x, y, shift in product((I8, I16), (U8, U16), (0, 5, 15)):
        s = Sketch(f"{x.name} to {y.name}, shift {shift}")
        s.softmax(s.given(x, ends(x, 2, 40)), s.constant(table, U16), dtype=y, shift=shift)
        yield s
    for rows in (1, 3):
        s = Sketch(f"mask of {rows} rows, one row keeps nothing, one a single column")
        mask = np.arange(rows * 9).reshape(rows, 9) % 4
        mask[-1] = 0
        mask[-1, 4] = 255 * (rows == 1)
        s.softmax(s.given(I16, ramp(I16, 3, 9, 3)), s.constant(table, U16),
                  mask=s.given(U8, mask), dtype=U16)  # fmt: skip
        yield s
    s = Sketch("weights of zero")
    s.softmax(s.given(I8, ends(I8, 1, 9)), s.constant(full(0, 1, 1), U16), dtype=U8)
    yield s
    s = Sketch("the greatest sum of weights")
    s.softmax(s.given(I16, full(-7, 1, 4096)), s.constant(full(65535, 1, 1), U16), dtype=U16)
    yield s


@cases_of(Opcode.MEAN)
def mean() -> Iterator[Sketch]:
    for k, x in enumerate(SHORT):
        y = (I8, U8, I16, I32)[k]
        s = Sketch(f"{x.name} to {y.name}")
        channel = s.channels((2**20, 1 + k, 10), (-(2**30), -(2**24 - 1), 30), (0, 1, 16))
        s.mean(s.given(x, ends(x, 6, 35)), channel, dtype=y, cols=3)
        yield s
        s = Sketch(f"{x.name} to {y.name}, masked")
        mask = np.arange(35)[None] % 3
        s.mean(s.given(x, ends(x, 6, 35)), s.channels((0, 3, 17)), mask=s.constant(mask, U8),
               dtype=y, cols=2)  # fmt: skip
        yield s
    s = Sketch("nothing kept")
    s.mean(s.given(I16, ends(I16, 2, 9)), s.channels((77, 5, 3)),
           mask=s.given(U8, full(0, 1, 9)), dtype=I8)  # fmt: skip
    yield s
    s = Sketch("hostile channels")
    s.mean(s.given(I8, ends(I8, 8, 9)), s.hostile(4), dtype=I32, cols=4)
    yield s


def _reductions(method: str) -> Iterator[Sketch]:
    for x in ORDER:
        s = Sketch(f"{x.name}")
        getattr(s, method)(s.given(x, ends(x, 6, 35)), cols=3)
        yield s
    s = Sketch("all equal, one column")
    getattr(s, method)(s.given(I8, full(-128, 5, 1)))
    yield s
    for value in (I32.minimum, I32.maximum):
        s = Sketch(f"all {value}")
        getattr(s, method)(s.given(I32, full(value, 1, 2048)))
        yield s


@cases_of(Opcode.MAX)
def maximum() -> Iterator[Sketch]:
    return _reductions("max")


@cases_of(Opcode.SUM)
def total() -> Iterator[Sketch]:
    return _reductions("sum")


@cases_of(Opcode.ARGMAX)
def argmax() -> Iterator[Sketch]:
    return _reductions("argmax")


@cases_of(Opcode.GATHER)
def gather() -> Iterator[Sketch]:
    for y in ORDER:
        s = Sketch(f"{y.name}, ids past the table")
        ids = np.array([[0, 4, 5, 65535, 1]])
        s.gather(s.given(U16, ids), s.constant(ramp(y, 5, 33, 1001), y))
        yield s


@cases_of(Opcode.VIEW)
def view() -> Iterator[Sketch]:
    for x in ORDER:
        s = Sketch(f"{x.name}, transposed")
        s.view(s.given(x, ramp(x, 5, 7, 97)), 7, 5, sizes=(7, 5), strides=(1, 7))
        yield s
    s = Sketch("windows of 3 by 3 over 5 by 6 in two channels")
    s.view(s.given(I8, ramp(I8, 30, 2, 11)), 12, 18, sizes=(3, 4, 3, 3, 2),
           strides=(12, 2, 12, 2, 1))  # fmt: skip
    yield s
    s = Sketch("a slice, from the last element on, repeated")
    s.view(s.given(I16, ramp(I16, 2, 70, 99)), 2, 3, sizes=(6,), strides=(0,), base=139)
    yield s


@cases_of(Opcode.PAD)
def pad() -> Iterator[Sketch]:
    for k, x in enumerate(ORDER):
        s = Sketch(f"{x.name}")
        border = {"top": k % 2, "left": 2, "bottom": 1, "right": k % 3}
        s.pad(s.given(x, ends(x, 6, 35)), 2, 3, **border, value=(x.minimum, x.maximum)[k % 2])
        yield s
    s = Sketch("no border")
    s.pad(s.given(U8, ends(U8, 1, 1)), 1, 1)
    yield s


@cases_of(Opcode.CONCAT)
def concat() -> Iterator[Sketch]:
    for x in ORDER:
        s = Sketch(f"three of {x.name}")
        s.concat(s.given(x, ends(x, 3, 31)), s.given(x, ends(x, 3, 1)),
                 s.constant(ramp(x, 3, 40), x))  # fmt: skip
        yield s
    s = Sketch("one tensor twice")
    x = s.given(I8, ends(I8, 2, 130))
    s.concat(x, x)
    yield s


@cases_of(Opcode.TREE)
def tree() -> Iterator[Sketch]:
    leaf = 0x7FFF
    forest = [
        (0, 7, 2, 3, 0), (0x8001, 9, 4, 2**32 - 1, 0),  # roots: feature 0; feature 1, missing left
        (leaf, 0, 0, 0, -(2**31)), (0x7FFE, 65535, 4, 5, 1), (0x8000 | leaf, 3, 9, 9, 2**31 - 1),
        (0, 0, 5, 0, 55), (leaf, 0, 0, 0, 6), (2, 1, 6, 7, -7), (2, 65534, 8, 2, 3),
    ]  # fmt: skip
    features = np.array([[6, 9, 0], [7, 65535, 65534], [65535, 8, 65535], [0, 0, 1]])
    for depth in (0, 1, 3, 64):
        s = Sketch(f"depth {depth}, with cycles and children past the end")
        nodes = s.constant(np.array([forest], NODE.numpy), NODE)
        s.tree(s.given(U16, features), nodes, trees=2, depth=depth)
        yield s


@cases_of(Opcode.RESCALE)
def rescale() -> Iterator[Sketch]:
    for x, y in product(SHORT, ORDER):
        s = Sketch(f"{x.name} to {y.name}")
        channel = s.channels((2**40, 2**24 - 1, 24), (-1, 1, 1), (0, -129, 8))
        s.rescale(s.given(x, ends(x, 6, 3)), channel, dtype=y)
        yield s
    s = Sketch("hostile channels")
    s.rescale(s.given(U16, ends(U16, 3, 9)), s.hostile(9), dtype=I32)
    yield s


CASES: Mapping[Opcode, Callable[[], Iterator[Sketch]]] = ALL
