"""What layers of a training step are made of: products, windows, borders, transposes.

Every function adds operators to a `ProgramBuilder`. A batch of images is a matrix of batch ·
height · width rows and one column for each channel (docs/exact.md, section 2).
"""

from dataclasses import dataclass, replace

import numpy as np

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import DType, channels
from worker.exact.lowering import scaling

_MOST = 2**37 - 1  # of a DOT's sum, docs/exact.md, section 3
_PART_BITS = 8  # by which sums of parts are finer than the result


@dataclass(frozen=True, slots=True)
class Signal:
    """Activations or errors of a batch: integers, and how many of them make 1.0."""

    ref: Ref
    scale: float
    height: int = 1
    width: int = 1

    @property
    def channels(self) -> int:
        """Columns: features of a row, or channels of a place."""
        return self.ref.spec.cols

    @property
    def batch(self) -> int:
        """How many samples."""
        return self.ref.spec.rows // (self.height * self.width)

    def to(self, ref: Ref) -> "Signal":
        """Return other integers of the same scale and places."""
        return replace(self, ref=ref)


def greatest(dtype: DType) -> int:
    """Return the greatest |value| of a dtype."""
    return max(-dtype.minimum, dtype.maximum)


def product(b: ProgramBuilder, x: Ref, y: Ref, factor: float, dtype: DType) -> Ref:
    """Return x · yᵀ · factor: rows of x by rows of y.

    A sum that could pass the bound of DOT is cut in parts, which are added.

    Raises:
        FactorOutOfRange: no multiplier and shift say the factor.
    """
    each = greatest(x.spec.dtype) * greatest(y.spec.dtype)
    columns = x.spec.cols
    most = _MOST // each
    if columns <= most:
        return b.dot(x, y, _channel(b, factor, columns * each), dtype=dtype)
    finer = factor * 2**_PART_BITS
    starts = range(0, columns, most)
    total: Ref | None = None
    for start in starts:
        count = min(most, columns - start)
        part = b.dot(
            columns_of(b, x, start, count),
            columns_of(b, y, start, count),
            _channel(b, finer, count * each),
            dtype=DType.I32,
        )
        if total is None:
            total = part
        elif start == starts[-1]:
            total = add(b, total, part, (2.0**-_PART_BITS, 2.0**-_PART_BITS), dtype)
        else:
            total = add(b, total, part, (1, 1), DType.I32)
    assert total is not None
    return total


def add(b: ProgramBuilder, x: Ref, y: Ref, factors: tuple[float, float], dtype: DType) -> Ref:
    """Return x · factors[0] + y · factors[1]; y may have one row."""
    bounds = (greatest(x.spec.dtype), greatest(y.spec.dtype))
    scale = b.constant(scaling.addition(factors, bounds), DType.CHANNEL)
    return b.add(x, y, scale, dtype=dtype)


def masked(b: ProgramBuilder, x: Ref, mask: Ref) -> Ref:
    """Return x element by element, zero where the mask (0 or 1) is."""
    count = x.spec.rows * x.spec.cols
    unit = b.constant(channels(0, 2, 1), DType.CHANNEL)
    flat = b.dot(reshape(b, x, count, 1), reshape(b, mask, count, 1), unit,
                 dtype=x.spec.dtype, group=1)  # fmt: skip
    return reshape(b, flat, x.spec.rows, x.spec.cols)


def reshape(b: ProgramBuilder, x: Ref, rows: int, cols: int) -> Ref:
    """Return the same elements in rows of `cols`."""
    if (x.spec.rows, x.spec.cols) == (rows, cols):
        return x
    return b.view(x, rows, cols, sizes=(rows * cols,), strides=(1,))


def transpose(b: ProgramBuilder, x: Ref) -> Ref:
    """Return columns as rows."""
    rows, cols = x.spec.rows, x.spec.cols
    return b.view(x, cols, rows, sizes=(cols, rows), strides=(1, cols))


def columns_of(b: ProgramBuilder, x: Ref, start: int, count: int) -> Ref:
    """Return columns `start` … `start + count − 1`."""
    rows, cols = x.spec.rows, x.spec.cols
    return b.view(x, rows, count, sizes=(rows, count), strides=(cols, 1), base=start)


def beside(b: ProgramBuilder, *parts: Ref) -> Ref:
    """Return the columns of all parts; CONCAT takes three at a time."""
    held = list(parts)
    while len(held) > 1:
        held = [
            b.concat(*held[at : at + 3]) if len(held) - at > 1 else held[at]
            for at in range(0, len(held), 3)
        ]
    return held[0]


def filled(b: ProgramBuilder, rows: int, cols: int, value: int, dtype: DType) -> Ref:
    """Return a constant of one value."""
    return b.constant(np.full((rows, cols), value, dtype.numpy), dtype)


def bordered(b: ProgramBuilder, x: Signal, border: int) -> Signal:
    """Return images with a border of zeros; PAD knows one image, so columns are put beside."""
    if not border:
        return x
    batch, colours, dtype = x.batch, x.channels, x.ref.spec.dtype
    width, height = x.width + 2 * border, x.height + 2 * border
    rows = reshape(b, x.ref, batch * x.height, x.width * colours)
    side = filled(b, batch * x.height, border * colours, 0, dtype)
    rows = b.concat(side, rows, side)
    images = reshape(b, rows, batch, x.height * width * colours)
    edge = filled(b, batch, border * width * colours, 0, dtype)
    images = b.concat(edge, images, edge)
    ref = reshape(b, images, batch * height * width, colours)
    return replace(x, ref=ref, height=height, width=width)


def windows(b: ProgramBuilder, x: Signal, kernel: int, stride: int) -> Signal:
    """Return a row for each place of a kernel: its rows, columns, and channels."""
    height, width = ((side - kernel) // stride + 1 for side in (x.height, x.width))
    row, place = x.width * x.channels, x.channels
    count = x.batch * height * width
    ref = b.view(
        x.ref, count, kernel * kernel * x.channels,
        sizes=(x.batch, height, width, kernel, kernel * x.channels),
        strides=(x.height * row, stride * row, stride * place, row, 1),
    )  # fmt: skip
    return replace(x, ref=ref, height=height, width=width)


def _channel(b: ProgramBuilder, factor: float, bound: float) -> Ref:
    return b.constant(scaling.requantisation(factor, 0, bound), DType.CHANNEL)
