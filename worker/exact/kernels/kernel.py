"""What every kernel of the fast executor shares: carriers, channels, exact division and roots.

Numbers up to 16 bits are carried as float32, i32 as float64: both hold them exactly, and that is
what machines multiply and round fast (int8 where `_int_mm` reads it). A value is a tensor
[batch, …] whose elements lie in the matrix's logical order; its other dimensions are free, so that
a VIEW moves nothing until an operator needs rows. A value of constants alone has a batch of one.

float64 is exact below 2⁵³; where a channel may leave that, int64 takes over. Division: for integers
|a| + b < 2⁵³, ⌊fl(a / b)⌋ = ⌊a / b⌋, because a quotient that is no integer is 1/b away from one,
further than rounding goes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oracle.exact.dtypes import Array, DType
from oracle.exact.operators import channels as read_channels
from oracle.exact.program import Op

EXACT = 2.0**53
Columns = Sequence[Array | None]  # the constants among an operator's operands


def carrier(dtype: DType) -> torch.dtype:
    """Return the float type that carries a dtype."""
    return torch.float64 if dtype == DType.I32 else torch.float32


def carried(array: Array, dtype: torch.dtype) -> Tensor:
    """Return integers in a carrier (torch does no arithmetic on uint16)."""
    return torch.from_numpy(array.astype(np.int64)).to(dtype)


def numbers(x: Tensor) -> Tensor:
    """Return a value in a float type."""
    return x if x.is_floating_point() else x.float()


def constant(array: Array | None) -> Array:
    """Return a constant that validity demands."""
    assert array is not None
    return array


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

    factor: Tensor
    offset: Tensor
    shift: Tensor

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
        return self.unclamped(acc).clamp_(low, high).to(self.out)

    def unclamped(self, acc: Tensor) -> Tensor:
        """Return the results before they are held to the dtype's range."""
        if self.exact:
            return (acc * self.factor).add_(self.offset).floor_()
        return acc.to(torch.int64) * self.factor + self.offset >> self.shift


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return table[index] of a table of one dimension."""
    return table.index_select(0, index.reshape(-1)).reshape(index.shape)


def isqrt(n: Tensor) -> Tensor:
    """Return the floors of square roots, int64 0 ≤ n < 2⁶³ − 2³²; float64 errs by one at most."""
    root = n.double().sqrt().to(torch.int64)
    root = root - (root * root > n).to(torch.int64)
    return root + ((root + 1) * (root + 1) <= n).to(torch.int64)
