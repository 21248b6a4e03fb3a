"""Each operator of docs/exact.md, section 4, over a batch, in torch: `kernel(op, …)` gives its module.

Numbers up to 16 bits are carried as float32, i32 as float64: both hold them exactly, and that is
what machines multiply and round fast (int8 where `_int_mm` reads it). A value is a tensor
[batch, …] whose elements lie in the matrix's logical order; its other dimensions are free, so that
a VIEW moves nothing until an operator needs rows. A value of constants alone has a batch of one.

float64 is exact below 2⁵³; where a channel may leave that, int64 takes over. Division: for integers
|a| + b < 2⁵³, ⌊fl(a / b)⌋ = ⌊a / b⌋, because a quotient that is no integer is 1/b away from one,
further than rounding goes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oracle.exact.dtypes import Array, DType
from oracle.exact.operators import LEAF, MISSING, MISSING_LEFT
from oracle.exact.operators import channels as read_channels
from oracle.exact.program import Kind, Op, Opcode
from oracle.exact.rules import magnitude
from worker.exact import products

EXACT = 2.0**53
LEAST = -(2.0**20)  # below every i16: what a masked score counts as
Columns = Sequence[Array | None]  # the constants among an operator's operands


def carrier(dtype: DType) -> torch.dtype:
    """Return the float type that carries a dtype."""
    return torch.float64 if dtype == DType.I32 else torch.float32


def carried(array: Array, dtype: torch.dtype) -> Tensor:
    """Return integers in a carrier (torch does no arithmetic on uint16)."""
    return torch.from_numpy(array.astype(np.int64)).to(dtype)


class Kernel(nn.Module):
    """An operator over batches. `out`: what carries its result.

    `forward` takes all operands but those at the places `holds`: these are constants that the
    kernel keeps itself, in the form it needs. Absent operands are None.
    """

    def __init__(self, op: Op, out: torch.dtype, holds: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.op = op
        self.out = out
        self.holds = holds
        self.rows, self.cols = op.result.rows, op.result.cols

    def hold(self, name: str, value: Tensor) -> None:
        """Keep a constant in the module, so that it is where the module is."""
        self.register_buffer(name, value, persistent=False)


class Requantise(nn.Module):
    """clamp((acc · mult + bias + 2^(shift−1)) >> shift).

    Args:
        c: channels, one row.
        bound: greatest |acc|, for all or by channel.
        dtype, out: the result's range, and what carries it.
        base: what is missing in the acc given, by channel.
        shape: of the channels beside the accumulators; by default one for each column.
    """

    def __init__(
        self, c: Array, bound: Any, dtype: DType, out: torch.dtype, *, base: Any = 0,
        shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        bias, mult, shift = (field.astype(object) for field in read_channels(c))  # Python integers
        base = np.asarray(base).astype(object)
        offset = base * mult + bias + 2 ** (shift - 1)
        worst = (np.asarray(bound).astype(object) + abs(base)) * abs(mult) + abs(offset)
        self.exact = max(worst) < EXACT
        self.dtype, self.out = dtype, out
        shape = (-1,) if shape is None or mult.size == 1 else shape
        if self.exact:
            scale = np.exp2(-shift.astype(np.float64))
            values = {
                "factor": mult.astype(np.float64) * scale,
                "offset": offset.astype(np.float64) * scale,
            }
        else:
            values = {"factor": mult, "offset": offset, "shift": shift}
        for name, value in values.items():
            number = value.astype(np.float64 if self.exact else np.int64)
            self.register_buffer(name, torch.from_numpy(number).reshape(shape), persistent=False)

    def forward(self, acc: Tensor) -> Tensor:
        """Return the results of accumulators, any integer or float type."""
        low, high = self.dtype.minimum, self.dtype.maximum
        if self.exact:
            return (acc * self.factor).add_(self.offset).floor_().clamp_(low, high).to(self.out)
        wide = acc.to(torch.int64) * self.factor + self.offset >> self.shift
        return wide.clamp(low, high).to(self.out)


class Dot(Kernel):
    """1: by the way that products.py plans; constant weights are kept as it needs them."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype, int_mm: bool) -> None:
        super().__init__(op, out, (2,) if constants[1] is None else (1, 2))
        a, b = (operand.spec for operand in op.operands[:2])
        self.group, self.depth = op.lane(0), a.cols
        self.blocks = self.rows // self.group
        weights = None if constants[1] is None else constants[1].astype(np.int64)
        int_mm = int_mm and self.blocks == 1 and self.rows > 16  # what CUDA's asks for, as the next
        int_mm = int_mm and self.depth % 8 == 0 and self.cols % 8 == 0
        self.way = products.plan(a.dtype, b.dtype, self.depth, weights, int_mm=int_mm)
        self.offset, base = 0.0, np.int64(0)
        if weights is not None:
            held = torch.from_numpy(weights)
            match self.way.way:
                case "int_mm":
                    held = held.to(torch.int8).t().contiguous()
                    self.offset = 128.0 if a.dtype == DType.U8 else 0.0
                    base = weights.sum(1) * int(self.offset)
                case "float64":
                    held = held.double()
                case _:
                    held = held.float()
            self.hold("weights", held)
        bounds = products.bounds(a.dtype, b.dtype, self.depth, weights)
        shape = (self.blocks, 1, self.cols)
        self.requantise = Requantise(
            _constant(constants[2]), bounds, op.result.dtype, out, base=base, shape=shape
        )

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Return [batch, blocks, group, columns]."""
        if self.way.way == "int_mm":
            left = a.reshape(-1, self.depth)
            left = left - self.offset if self.offset else left
            return self._shaped(torch._int_mm(left.to(torch.int8), self.weights))
        a = _numbers(a)
        if b is None and self.blocks == 1:
            return self._shaped(
                products.multiply(self.way, a.reshape(-1, self.depth), self.weights)
            )
        right = self.weights if b is None else _numbers(b)
        right = right.reshape(-1, self.blocks, self.cols, self.depth)
        left = a.reshape(-1, self.blocks, self.group, self.depth)
        return self._shaped(products.multiply(self.way, left, right))

    def _shaped(self, acc: Tensor) -> Tensor:
        result: Tensor = self.requantise(acc.reshape(-1, self.blocks, self.group, self.cols))
        return result


class Add(Kernel):
    """2: in float64 where both products fit, else in int64."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (2,))
        self.specs = [operand.spec for operand in op.operands[:2]]
        bias, mult, shift = read_channels(_constant(constants[2]))
        self.factors = [int(m) for m in mult]
        self.shift = int(shift[0])
        self.offset = int(bias[0]) + 2 ** (self.shift - 1)
        terms = zip(self.specs, self.factors, strict=True)
        worst = sum(magnitude(spec.dtype) * abs(factor) for spec, factor in terms)
        self.exact = worst + abs(self.offset) < EXACT

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        one, other = self.specs
        a, b = a.reshape(-1, one.rows, one.cols), b.reshape(-1, other.rows, other.cols)
        x, y = self.factors
        low, high = self.op.result.dtype.minimum, self.op.result.dtype.maximum
        if self.exact:
            unit = 2.0**-self.shift
            total = a.double() * (x * unit) + b.double() * (y * unit)
            return (total + self.offset * unit).floor_().clamp_(low, high).to(self.out)
        wide = a.to(torch.int64) * x + b.to(torch.int64) * y + self.offset
        return (wide >> self.shift).clamp(low, high).to(self.out)


class Lut(Kernel):
    """3: a gather; the table is held in the result's carrier."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        self.hold("table", carried(_constant(constants[1])[0], out))
        self.least = op.operands[0].spec.dtype.minimum

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape given."""
        return look_up(self.table, x.to(torch.int32) - self.least)


class LayerNorm(Kernel):
    """4: row sums in int64, elements in float64 (|n·x − s| · 2²⁰ < 2⁴⁹)."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        self.eps = op.lane(0) + (op.lane(1) << 32)
        bound = min(
            2**23, math.ceil(2**16 * math.sqrt(self.cols) * 17 / 16) + 2
        )  # r ≥ 16, or z = 0
        self.requantise = Requantise(_constant(constants[1]), bound, op.result.dtype, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        n = self.cols
        x = _numbers(x).reshape(-1, self.rows, n).double()
        s = x.sum(-1, keepdim=True)
        q = (x * x).sum(-1, keepdim=True)
        v = n * q.to(torch.int64) - s.to(torch.int64) ** 2
        r = isqrt((v + self.eps) * 256).clamp(min=1).double()
        result: Tensor = self.requantise(((x * n - s) * 2.0**20).div_(r).floor_())
        return result


class Softmax(Kernel):
    """5: the table is lengthened so that a masked score finds a zero at its end."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (2,))
        table = _constant(constants[2])[0].astype(np.int64)
        reach = 65_535 >> op.lane(0)  # the greatest difference of two scores, shifted
        if len(table) > reach + 1:
            table = table[: reach + 1]
        elif table[-1]:
            table = np.concatenate([table, np.full(reach + 1 - len(table), table[-1])])
        if table[-1]:
            table = np.append(table, 0)
        self.last, self.unit = len(table) - 1, 2.0 ** -op.lane(0)
        self.hold("table", carried(table, torch.float32))
        mask = op.operands[1]
        self.mask_rows = 0 if mask.kind == Kind.NONE else mask.spec.rows

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return [batch, rows, columns]."""
        x = _numbers(x).reshape(-1, self.rows, self.cols)
        if mask is not None:
            x = torch.where(mask.reshape(-1, self.mask_rows, self.cols) == 0, LEAST, x)
        most = x.amax(-1, keepdim=True).clamp(min=-32768.0)
        index = ((most - x) * self.unit).clamp(max=self.last).to(torch.int32)
        w = look_up(self.table, index).double()
        t = w.sum(-1, keepdim=True)
        scaled = (w * float(self.op.result.dtype.maximum)).add_((t * 0.5).floor())
        return scaled.div_(t.clamp(min=1)).floor_().to(self.out)


class Mean(Kernel):
    """6: sums · 2¹⁶ stay below 2⁴⁵."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (2,))
        x = op.operands[0].spec
        self.width = x.cols
        bound = magnitude(x.dtype) * 2**16
        self.requantise = Requantise(_constant(constants[2]), bound, op.result.dtype, out)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return [batch, rows, columns]."""
        x = x.double().reshape(-1, self.rows * self.cols, self.width)
        if mask is None:
            return self._shaped((x.sum(-1) * 2.0**16).div_(float(self.width)).floor_())
        kept = (mask.reshape(-1, 1, self.width) != 0).double()
        return self._shaped(((x * kept).sum(-1) * 2.0**16).div_(kept.sum(-1).clamp(min=1)).floor_())

    def _shaped(self, acc: Tensor) -> Tensor:
        result: Tensor = self.requantise(acc.reshape(-1, self.rows, self.cols))
        return result


class Reduce(Kernel):
    """7, 8, 9: MAX, SUM and ARGMAX of rows."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out)
        self.width = op.operands[0].spec.cols

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        x = _numbers(x).reshape(-1, self.rows, self.cols, self.width)
        match self.op.opcode:
            case Opcode.MAX:
                return x.amax(-1).to(self.out)
            case Opcode.SUM:
                dtype = self.op.result.dtype
                return x.double().sum(-1).clamp(dtype.minimum, dtype.maximum).to(self.out)
            case _:  # torch.argmax may return any of equal ones
                place = torch.arange(self.width, dtype=self.out, device=x.device)
                greatest = x == x.amax(-1, keepdim=True)
                return torch.where(greatest, place, float(self.width)).amin(-1)


class Gather(Kernel):
    """10: rows of a table, which is held in its own dtype: it is the largest constant."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        table = _constant(constants[1])
        narrow = {"i1": torch.int8, "u1": torch.uint8, "i2": torch.int16}
        self.hold("table", carried(table, narrow.get(table.dtype.str[1:], torch.int32)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        ids = x.reshape(-1, self.rows).clamp(max=len(self.table) - 1)
        return nn.functional.embedding(ids.to(torch.int32), self.table).to(self.out)


class View(Kernel):
    """11: slices and a permutation where strides nest in each other, else torch.as_strided."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out)
        x = op.operands[0].spec
        self.count, self.base = x.rows * x.cols, op.lane(10)
        dims = [(e, s) for e, s in zip(op.params[:5], op.params[5:10], strict=True) if e > 1]
        self.sizes, self.strides = [e for e, _ in dims], [s for _, s in dims]
        self.nested = nested(self.count, self.base, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, sizes above one …]."""
        if self.nested is None:  # a copy begins at storage offset 0, which as_strided counts from
            flat = x.reshape(-1, self.count).clone(memory_format=torch.contiguous_format)
            return flat.as_strided(
                [len(flat), *self.sizes], [self.count, *self.strides], self.base
            )
        shape, starts, sizes, order = self.nested
        x = x.reshape(-1, *shape)
        for dim, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            x = x.narrow(dim + 1, start, size)
        return x.permute(0, *(1 + dim for dim in order), len(shape)).squeeze(-1)


def nested(
    count: int, base: int, dims: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Return (shape, starts, sizes, order) of reshape, narrow, permute that make a VIEW; or None.

    With sizes and strides by falling stride, each stride must be a multiple of the next, and each
    dimension must end before the one above it steps.
    """
    order = sorted(range(len(dims)), key=lambda k: -dims[k][1])
    shape, starts, sizes, above, rest = [], [], [], count, base
    for k in order:
        size, stride = dims[k]
        if stride == 0 or above % stride:
            return None
        start, rest = divmod(rest, stride)
        if start + size > above // stride:
            return None
        shape.append(above // stride)
        starts.append(start)
        sizes.append(size)
        above = stride
    back = [order.index(k) for k in range(len(dims))]
    return [*shape, above], [*starts, rest], [*sizes, 1], back


class Pad(Kernel):
    """12: a border."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, height, width, columns]."""
        height, width, top, left, bottom, right, stored = (self.op.lane(k) for k in range(7))
        x = x.reshape(-1, height, width, self.cols)
        border = (0, 0, left, right, top, bottom)
        return nn.functional.pad(x, border, value=stored + self.op.result.dtype.minimum)


class Concat(Kernel):
    """13: columns side by side."""

    def forward(self, *parts: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        widths = [operand.spec.cols for operand in self.op.operands]
        shaped = [x.reshape(-1, self.rows, n) for x, n in zip(parts, widths, strict=True)]
        batch = max(len(part) for part in shaped)
        return torch.cat([part.expand(batch, -1, -1) for part in shaped], -1)


class Tree(Kernel):
    """14: all trees of all rows step by step."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        nodes = _constant(constants[1])[0]
        self.columns, last = op.operands[0].spec.cols, len(nodes) - 1
        feature = nodes["feature"] & LEAF
        for name, value in {
            "leaf": feature == LEAF,
            "feature": np.minimum(feature, self.columns - 1),
            "missing": nodes["feature"] & MISSING_LEFT != 0,
            "threshold": nodes["threshold"],
            "left": np.minimum(nodes["left"], last),
            "right": np.minimum(nodes["right"], last),
            "value": nodes["value"],
        }.items():
            self.hold(name, torch.from_numpy(value.astype(np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        ranks = x.reshape(-1, self.rows, self.columns).to(torch.int64)
        at = torch.arange(self.cols, device=ranks.device).expand(len(ranks), self.rows, self.cols)
        for _ in range(self.op.lane(0)):
            v = ranks.gather(-1, self.feature[at])
            left = torch.where(v == MISSING, self.missing[at] != 0, v < self.threshold[at])
            child = torch.where(left, self.left[at], self.right[at])
            at = torch.where(self.leaf[at] != 0, at, child)
        return self.value[at].to(self.out)


class Rescale(Kernel):
    """15: by column."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        bound = magnitude(op.operands[0].spec.dtype)
        self.requantise = Requantise(_constant(constants[1]), bound, op.result.dtype, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        x = x.reshape(-1, self.rows, self.cols)
        result: Tensor = self.requantise(x)
        return result


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return table[index] of a table of one dimension."""
    return table.index_select(0, index.reshape(-1)).reshape(index.shape)


def isqrt(n: Tensor) -> Tensor:
    """Return the floors of square roots of int64 0 ≤ n < 2⁶³ − 2³²; float64 is off by one at most."""
    root = n.double().sqrt().to(torch.int64)
    root = root - (root * root > n).to(torch.int64)
    return root + ((root + 1) * (root + 1) <= n).to(torch.int64)


def _numbers(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


def _constant(array: Array | None) -> Array:
    assert array is not None, "validity demands a constant here"
    return array


def kernel(op: Op, constants: Columns, out: torch.dtype, *, int_mm: bool) -> Kernel:
    """Return the module of an operator.

    Args:
        op: of a valid program.
        constants: by operand, None for activations and absent ones.
        out: what carries the result; it must hold every value of its dtype.
        int_mm: whether `torch._int_mm` is exact on the device (products.int_mm_is_exact).
    """
    if op.opcode == Opcode.DOT:
        return Dot(op, constants, out, int_mm)
    return _KERNELS[op.opcode](op, constants, out)


_KERNELS: Mapping[Opcode, Any] = {
    Opcode.ADD: Add, Opcode.LUT: Lut, Opcode.LAYERNORM: LayerNorm, Opcode.SOFTMAX: Softmax,
    Opcode.MEAN: Mean, Opcode.MAX: Reduce, Opcode.SUM: Reduce, Opcode.ARGMAX: Reduce,
    Opcode.GATHER: Gather, Opcode.VIEW: View, Opcode.TREE: Tree, Opcode.RESCALE: Rescale,
    Opcode.PAD: lambda op, _, out: Pad(op, out), Opcode.CONCAT: lambda op, _, out: Concat(op, out),
}  # fmt: skip
