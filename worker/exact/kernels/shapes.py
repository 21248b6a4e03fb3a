"""Kernels that move elements or choose among them: VIEW, PAD, CONCAT, GATHER, LUT, MAX, TREE …"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from oracle.exact.operators import LEAF, MISSING, MISSING_LEFT
from oracle.exact.program import Op, Opcode
from worker.exact.kernels.kernel import Columns, Kernel, carried, constant, look_up, numbers


class Lut(Kernel):
    """3: a gather; the table is held in the result's carrier."""

    table: Tensor

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        self.hold("table", carried(constant(constants[1])[0], out))
        self.least = op.operands[0].spec.dtype.minimum

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape given."""
        return look_up(self.table, x.to(torch.int32) - self.least)


class Reduce(Kernel):
    """7, 8, 9: MAX, SUM and ARGMAX of rows."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out)
        self.width = op.operands[0].spec.cols

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        x = numbers(x).reshape(-1, self.rows, self.cols, self.width)
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

    table: Tensor

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        table = constant(constants[1])
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
            return flat.as_strided([len(flat), *self.sizes], [self.count, *self.strides], self.base)
        shape, starts, sizes, order = self.nested
        x = x.reshape(-1, *shape)
        for dim, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            x = x.narrow(dim + 1, start, size)
        return x.permute(0, *(1 + dim for dim in order), len(shape)).squeeze(-1)


def nested(
    count: int, base: int, dims: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Return (shape, starts, sizes, order) of reshape, narrow, permute that make a VIEW; or None.

    Dimensions are taken by falling stride. Each stride must be a multiple of the next, and each
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

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, height, width, columns]."""
        height, width, top, left, bottom, right, stored = (self.op.lane(k) for k in range(7))
        x = x.reshape(-1, height, width, self.cols)
        border = (0, 0, left, right, top, bottom)
        return nn.functional.pad(x, border, value=stored + self.op.result.dtype.minimum)


class Concat(Kernel):
    """13: columns side by side."""

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out)

    def forward(self, *parts: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        widths = [operand.spec.cols for operand in self.op.operands]
        shaped = [x.reshape(-1, self.rows, n) for x, n in zip(parts, widths, strict=True)]
        batch = max(len(part) for part in shaped)
        return torch.cat([part.expand(batch, -1, -1) for part in shaped], -1)


class Tree(Kernel):
    """14: all trees of all rows step by step, one look at a node and one at a feature in each.

    A node is `column, threshold, left, right`; a leaf leads to itself. Every rank stands twice: as
    it is, where a missing one (65,535) is above all thresholds and goes right; and plus one, where
    it is 0 and goes left.
    """

    nodes: Tensor
    value: Tensor

    def __init__(self, op: Op, constants: Columns, out: torch.dtype) -> None:
        super().__init__(op, out, (1,))
        nodes = constant(constants[1])[0]
        self.columns, last = op.operands[0].spec.cols, len(nodes) - 1
        feature = nodes["feature"] & LEAF
        leaf, itself = feature == LEAF, np.arange(len(nodes))
        to_left = (nodes["feature"] & MISSING_LEFT != 0).astype(np.int32)
        table = np.empty((len(nodes), 4), np.int32)
        table[:, 0] = 2 * np.minimum(feature, self.columns - 1) + to_left
        table[:, 1] = nodes["threshold"] + to_left
        table[:, 2] = np.where(leaf, itself, np.minimum(nodes["left"], last))
        table[:, 3] = np.where(leaf, itself, np.minimum(nodes["right"], last))
        self.hold("nodes", torch.from_numpy(table))
        self.hold("value", torch.from_numpy(nodes["value"].astype(np.int32)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, columns]."""
        ranks = x.reshape(-1, self.columns).to(torch.int32)
        both = torch.stack([ranks, (ranks + 1) % (MISSING + 1)], -1).reshape(-1)
        first = torch.arange(len(ranks), dtype=torch.int32, device=x.device) * (2 * self.columns)
        first = first.repeat_interleave(self.cols)
        at = torch.arange(self.cols, dtype=torch.int32, device=x.device).repeat(len(ranks))
        for _ in range(self.op.lane(0)):
            column, threshold, left, right = self.nodes.index_select(0, at).unbind(1)
            at = torch.where(both.index_select(0, first + column) < threshold, left, right)
        return self.value.index_select(0, at).reshape(-1, self.rows, self.cols).to(self.out)
