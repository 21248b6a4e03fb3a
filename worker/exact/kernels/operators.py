"""The operators of docs/exact.md, section 4, over batches, in torch: `kernel(op, …)` gives each.

Here are those that compute; those that move elements are in kernels_shapes.py.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from oracle.exact.dtypes import DType
from oracle.exact.operators import channels as read_channels
from oracle.exact.program import Kind, Op, Opcode
from oracle.exact.rules import magnitude
from worker.exact.kernels import products
from worker.exact.kernels.kernel import (
    EXACT,
    Columns,
    Kernel,
    Requantise,
    carried,
    constant,
    isqrt,
    look_up,
    numbers,
)
from worker.exact.kernels.shapes import Concat, Gather, Lut, Pad, Reduce, Tree, View

LEAST = -(2.0**20)  # below every i16: what a masked score counts as


class Dot(Kernel):
    """1: by the way that products.py plans; constant weights are kept as it needs them."""

    weights: Tensor

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
            constant(constants[2]), bounds, op.result.dtype, out, base=base, shape=shape
        )

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Return [batch, blocks, group, columns]."""
        if self.way.way == "int_mm":
            left = a.reshape(-1, self.depth)
            left = left - self.offset if self.offset else left
            return self._shaped(torch._int_mm(left.to(torch.int8), self.weights))
        a = numbers(a)
        if b is None and self.blocks == 1:
            return self._shaped(
                products.multiply(self.way, a.reshape(-1, self.depth), self.weights)
            )
        right = self.weights if b is None else numbers(b)
        right = right.reshape(-1, self.blocks, self.cols, self.depth)
        left = a.reshape(-1, self.blocks, self.group, self.depth)
        return self._shaped(products.multiply(self.way, left, right))

    def multiplies_exactly(self) -> bool:
        """Hold `_int_mm` in this very shape against float64, on extreme rows and any rows."""
        if self.way.way != "int_mm":
            return True
        draw = np.random.default_rng(0)
        low, high = np.iinfo(np.int8).min, np.iinfo(np.int8).max
        rows = draw.integers(low, high + 1, (self.rows, self.depth), np.int8)
        rows[::2] = draw.choice([low, high], rows[::2].shape)
        rows[:2] = [[high], [low]]
        a = torch.from_numpy(rows).to(self.weights.device)
        exact = a.double() @ self.weights.double()
        return torch.equal(torch._int_mm(a, self.weights).double(), exact)

    def _shaped(self, acc: Tensor) -> Tensor:
        result: Tensor = self.requantise(acc.reshape(-1, self.blocks, self.group, self.cols))
        return result


class Add(Kernel):
    """2: in float64 where both products fit, else in int64."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (2,))
        self.specs = [operand.spec for operand in op.operands[:2]]
        bias, mult, shift = read_channels(constant(constants[2]))
        self.factors = [int(m) for m in mult]
        self.shift = int(shift[0])
        self.offset = int(bias[0]) + 2 ** (self.shift - 1)
        terms = zip(self.specs, self.factors, strict=True)
        worst = sum(magnitude(spec.dtype) * abs(factor) for spec, factor in terms)
        self.exact = worst + abs(self.offset) < EXACT

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        low, high = self.op.result.dtype.minimum, self.op.result.dtype.maximum
        return self.unclamped(a, b).clamp_(low, high).to(self.out)

    def unclamped(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the sums before they are held to the dtype's range."""
        one, other = self.specs
        a, b = a.reshape(-1, one.rows, one.cols), b.reshape(-1, other.rows, other.cols)
        x, y = self.factors
        total: Tensor
        if self.exact:
            unit = 2.0**-self.shift
            total = a.double() * (x * unit) + b.double() * (y * unit)
            total = (total + self.offset * unit).floor_()
            return total
        total = a.to(torch.int64) * x + b.to(torch.int64) * y + self.offset
        total >>= self.shift
        return total


class LayerNorm(Kernel):
    """4: row sums in int64, elements in float64 (|n·x − s| · 2²⁰ < 2⁴⁹)."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        self.eps = op.lane(0) + (op.lane(1) << 32)
        bound = min(
            2**23, math.ceil(2**16 * math.sqrt(self.cols) * 17 / 16) + 2
        )  # r ≥ 16, or z = 0
        self.requantise = Requantise(constant(constants[1]), bound, op.result.dtype, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        n = self.cols
        x = numbers(x).reshape(-1, self.rows, n).double()
        s = x.sum(-1, keepdim=True)
        q = (x * x).sum(-1, keepdim=True)
        v = n * q.to(torch.int64) - s.to(torch.int64) ** 2
        r = isqrt((v + self.eps) * 256).clamp(min=1).double()
        result: Tensor = self.requantise(((x * n - s) * 2.0**20).div_(r).floor_())
        return result


class Softmax(Kernel):
    """5: the table is lengthened so that a masked score finds a zero at its end."""

    table: Tensor

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (2,))
        table = constant(constants[2])[0].astype(np.int64)
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
        x = numbers(x).reshape(-1, self.rows, self.cols)
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
        self.requantise = Requantise(constant(constants[2]), bound, op.result.dtype, out)

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


class Rescale(Kernel):
    """15: by column."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        bound = magnitude(op.operands[0].spec.dtype)
        self.requantise = Requantise(constant(constants[1]), bound, op.result.dtype, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        x = x.reshape(-1, self.rows, self.cols)
        result: Tensor = self.requantise(x)
        return result


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


_KERNELS: Mapping[Opcode, Callable[[Op, Columns, torch.dtype], Kernel]] = {
    Opcode.ADD: Add, Opcode.LUT: Lut, Opcode.LAYERNORM: LayerNorm, Opcode.SOFTMAX: Softmax,
    Opcode.MEAN: Mean, Opcode.MAX: Reduce, Opcode.SUM: Reduce, Opcode.ARGMAX: Reduce,
    Opcode.GATHER: Gather, Opcode.VIEW: View, Opcode.PAD: Pad, Opcode.CONCAT: Concat,
    Opcode.TREE: Tree, Opcode.RESCALE: Rescale,
}  # fmt: skip
