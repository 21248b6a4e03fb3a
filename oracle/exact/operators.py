"""The operators on whole tensors, in NumPy: y as docs/exact.md, section 4, defines y[i,j].

Each function takes its operator and the operands' elements, and returns int64 of the result's
shape, every element inside its dtype. `elements.py` says the same for one element, in plain ints.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oracle.exact.dtypes import (
    MAX_BIAS,
    MAX_MULT,
    MAX_SHIFT,
    MIN_SHIFT,
    Array,
    DType,
)
from oracle.exact.program import Op, Opcode

Ints = NDArray[np.int64]
MISSING = 0xFFFF  # the rank of a feature without value
LEAF = 0x7FFF  # the feature of a leaf
MISSING_LEFT = 0x8000


class Channels(NamedTuple):
    """Channels as they are read: each field clamped, int64, one element for each channel."""

    bias: Ints
    mult: Ints
    shift: Ints

    def at(self, k: Any) -> "Channels":
        """Return ch(k): channel k, or the only one."""
        return self if self.bias.size == 1 else Channels(*(field[k] for field in self))


def channels(c: Array) -> Channels:
    """Read one row of channel records."""
    return Channels(
        np.clip(c["bias"][0], -MAX_BIAS, MAX_BIAS),
        np.clip(_wide(c["mult"][0]), -MAX_MULT, MAX_MULT),
        np.clip(_wide(c["shift"][0]), MIN_SHIFT, MAX_SHIFT),
    )


def requantise(acc: Ints, c: Channels, dtype: DType) -> Ints:
    """Return clamp((acc · mult + bias + 2^(shift−1)) >> shift); |acc| < 2³⁷, so int64 suffices."""
    return clamp(acc * c.mult + c.bias + half(c.shift) >> c.shift, dtype)


def half(shift: Ints) -> Ints:
    """Return 2^(shift−1)."""
    return np.int64(1) << shift - 1


def clamp(values: Ints, dtype: DType) -> Ints:
    """Limit values to a dtype's range."""
    return np.clip(values, dtype.minimum, dtype.maximum)


def isqrt(n: Ints) -> Ints:
    """Return the floors of square roots of 0 ≤ n < 2⁶³ − 2³²; float64 is off by one at the most."""
    root = np.sqrt(n.astype(np.float64)).astype(np.int64)
    root -= root * root > n
    return root + ((root + 1) * (root + 1) <= n)


def dot(op: Op, a: Array, b: Array, c: Array) -> Ints:
    """1: Σ_k a[i,k]·b[b',k] with b' = (i / group)·N + j.

    The sum of products is float64 (BLAS), which is exact in any order: validity bounds Σ|a·b| by
    2³⁷, far below 2⁵³.
    """
    group, columns = op.lane(0), op.result.cols
    left = a.astype(np.float64).reshape(-1, group, a.shape[1])
    right = b.astype(np.float64).reshape(-1, columns, b.shape[1])
    acc = (left @ right.transpose(0, 2, 1)).astype(np.int64)
    channel = channels(c).at(np.arange(len(b)).reshape(-1, 1, columns))
    return requantise(acc, channel, op.result.dtype).reshape(-1, columns)


def add(op: Op, a: Array, b: Array, c: Array) -> Ints:
    """2: both terms scaled, rounded once; b's only row may serve all."""
    bias, mult, shift = channels(c)
    total = _wide(a) * mult[0] + _wide(b) * mult[1] + bias[0] + half(shift[0])
    return clamp(total >> shift[0], op.result.dtype)


def lut(op: Op, x: Array, table: Array) -> Ints:
    """3: the entry at the stored form of x."""
    return _wide(table[0])[_wide(x) - op.operands[0].spec.dtype.minimum]


def layernorm(op: Op, x: Array, c: Array) -> Ints:
    """4: (x − μ) / σ of each row in units of 2⁻¹⁶, requantised by column."""
    x, n = _wide(x), x.shape[1]
    s = x.sum(axis=1, keepdims=True)
    q = (x * x).sum(axis=1, keepdims=True)
    v = n * q - s * s
    eps = op.lane(0) + (op.lane(1) << 32)
    r = np.maximum(1, isqrt((v + eps) << 8))
    z = ((n * x - s) << 20) // r
    return requantise(z, channels(c).at(np.arange(n)), op.result.dtype)


def softmax(op: Op, x: Array, mask: Array | None, exp: Array) -> Ints:
    """5: exponentials from a table, divided by their sum, to the nearest."""
    x, kept = _wide(x), np.ones(x.shape, bool) if mask is None else mask != 0
    kept = np.broadcast_to(kept, x.shape)
    m = np.where(kept, x, np.iinfo(np.int32).min).max(axis=1, keepdims=True)
    index = np.clip((m - x) >> op.lane(0), 0, exp.shape[1] - 1)  # where not kept, m − x may be < 0
    w = np.where(kept, _wide(exp[0])[index], 0)
    t = w.sum(axis=1, keepdims=True)
    y = (w * op.result.dtype.maximum + t // 2) // np.maximum(t, 1)
    return np.where(t == 0, 0, y)


def mean(op: Op, x: Array, mask: Array | None, c: Array) -> Ints:
    """6: the mean of each row in units of 2⁻¹⁶, requantised by column of the result."""
    x, m = _wide(x), np.ones(x.shape[1], np.int64) if mask is None else _wide(mask[0] != 0)
    total, n = (m * x).sum(axis=1), int(m.sum())
    acc = (total << 16) // n if n else np.zeros_like(total)
    columns = op.result.cols
    return requantise(acc.reshape(-1, columns), channels(c).at(np.arange(columns)), op.result.dtype)


def maximum(op: Op, x: Array) -> Ints:
    """7: the greatest of each row."""
    return _wide(x.max(axis=1)).reshape(-1, op.result.cols)


def total(op: Op, x: Array) -> Ints:
    """8: the sum of each row."""
    return clamp(_wide(x).sum(axis=1).reshape(-1, op.result.cols), op.result.dtype)


def argmax(op: Op, x: Array) -> Ints:
    """9: where the greatest of each row stands first."""
    return _wide(x.argmax(axis=1)).reshape(-1, op.result.cols)


def gather(op: Op, ids: Array, table: Array) -> Ints:
    """10: rows of a table by id; what lies beyond it is its last row."""
    return _wide(table[np.minimum(_wide(ids[0]), len(table) - 1)])


def view(op: Op, x: Array) -> Ints:
    """11: torch.as_strided over the elements."""
    index = np.array(op.lane(10))
    for size, stride in zip(op.params[:5], op.params[5:10], strict=True):
        index = index[..., None] + np.arange(size) * stride
    return _wide(x.ravel()[index]).reshape(op.result.rows, op.result.cols)


def pad(op: Op, x: Array) -> Ints:
    """12: a border around an image of H·W rows."""
    height, width, top, left, bottom, right, value = (op.lane(k) for k in range(7))
    shape = (height + top + bottom, width + left + right, x.shape[1])
    y = np.full(shape, value + (op.result.dtype.minimum), np.int64)
    y[top : top + height, left : left + width] = x.reshape(height, width, -1)
    return y.reshape(-1, x.shape[1])


def concat(op: Op, *parts: Array) -> Ints:
    """13: columns side by side."""
    return _wide(np.concatenate(parts, axis=1))


def tree(op: Op, features: Array, nodes: Array) -> Ints:
    """14: the value where each tree ends for each row of ranks."""
    rows, columns = np.arange(op.result.rows)[:, None], features.shape[1]
    at = np.broadcast_to(np.arange(op.result.cols), (op.result.rows, op.result.cols))
    for _ in range(op.lane(0)):
        node = nodes[0, at]
        feature = _wide(node["feature"] & LEAF)
        v = features[rows, np.minimum(feature, columns - 1)]
        missing_left = node["feature"] & MISSING_LEFT != 0
        left = np.where(v == MISSING, missing_left, v < node["threshold"])
        child = _wide(np.where(left, node["left"], node["right"]))
        at = np.where(feature == LEAF, at, np.minimum(child, nodes.shape[1] - 1))
    return _wide(nodes[0, at]["value"])


def rescale(op: Op, x: Array, c: Array) -> Ints:
    """15: each element requantised by column."""
    channel = channels(c).at(np.arange(op.result.cols))
    return requantise(_wide(x), channel, op.result.dtype)


def _wide(values: Array) -> Ints:
    return values.astype(np.int64)


OPERATORS: Mapping[Opcode, Callable[..., Ints]] = {
    Opcode.DOT: dot,
    Opcode.ADD: add,
    Opcode.LUT: lut,
    Opcode.LAYERNORM: layernorm,
    Opcode.SOFTMAX: softmax,
    Opcode.MEAN: mean,
    Opcode.MAX: maximum,
    Opcode.SUM: total,
    Opcode.ARGMAX: argmax,
    Opcode.GATHER: gather,
    Opcode.VIEW: view,
    Opcode.PAD: pad,
    Opcode.CONCAT: concat,
    Opcode.TREE: tree,
    Opcode.RESCALE: rescale,
}
