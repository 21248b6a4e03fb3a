"""Values during lowering: integers, what they are worth, and where each element lies.

A float graph speaks of shapes with any number of dimensions, a program of matrices. A `Quantised`
is a tensor of the program seen through strides, so reshape, permute, slice and expand cost nothing;
when an operator needs rows and columns, `OperandLayout.matrix` emits one VIEW, or none if they
lie right.
```
 logical (1, C, H, W)  ──strides──▶  flat elements of a matrix of H·W rows, C columns
```
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import DType

Shape = tuple[int, ...]
MAX_VIEW_DIMS = 5


class TooManyDimensions(ValueError):
    """A view needs more than the five dimensions that VIEW has."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """A float value in a program: x = scale · (integer − zero), element d at base + Σ d·stride.

    `zero` is 0 but on grids that a model brings along; `Lowering.quantised` gives values without.
    """

    ref: Ref
    scale: float
    shape: Shape
    strides: Shape
    base: int = 0
    zero: int = 0

    @property
    def dtype(self) -> DType:
        """Dtype of the integers."""
        return self.ref.spec.dtype

    @property
    def bound(self) -> int:
        """Greatest magnitude that an integer of this dtype has."""
        return max(self.dtype.maximum, -self.dtype.minimum)

    def permuted(self, dims: Sequence[int]) -> "Quantised":
        """Return the value with its dimensions in another order."""
        shape, strides = (tuple(old[dim] for dim in dims) for old in (self.shape, self.strides))
        return replace(self, shape=shape, strides=strides)

    def sliced(self, dim: int, start: int, step: int, size: int) -> "Quantised":
        """Return every `step`-th element along one dimension."""
        shape, strides = list(self.shape), list(self.strides)
        base = self.base + start * strides[dim]
        shape[dim], strides[dim] = size, strides[dim] * step
        return replace(self, shape=tuple(shape), strides=tuple(strides), base=base)

    def expanded(self, shape: Shape) -> "Quantised":
        """Return the value repeated along dimensions of size one, or new ones in front."""
        front = len(shape) - len(self.shape)
        strides = [0] * front
        for size, old, stride in zip(shape[front:], self.shape, self.strides, strict=True):
            strides.append(stride if size == old else 0)
        return replace(self, shape=shape, strides=tuple(strides))


def dense(ref: Ref, scale: float, shape: Shape, order: Sequence[int] | None = None) -> Quantised:
    """Return a value whose elements lie one after the other, dimension `order[0]` slowest."""
    strides, step = [0] * len(shape), 1
    for dim in reversed(range(len(shape)) if order is None else order):
        strides[dim], step = step, step * shape[dim]
    return Quantised(ref, scale, shape, tuple(strides))


def stored_order(value: Quantised) -> tuple[int, ...]:
    """Return the dimensions as they lie, slowest first; those of size one stay in front."""

    def place(dim: int) -> tuple[bool, int]:
        moves = value.shape[dim] != 1
        return moves, -value.strides[dim] if moves else 0

    return tuple(sorted(range(len(value.shape)), key=place))


class OperandLayout:
    """Gives values the rows and columns that an operator needs."""

    def __init__(self, builder: ProgramBuilder) -> None:
        self._builder = builder
        self._views: dict[tuple[object, ...], Ref] = {}

    def matrix(self, value: Quantised, rows: Sequence[int], cols: Sequence[int]) -> Ref:
        """Return a tensor whose rows run over dimensions `rows` and columns over `cols`.

        Raises:
            TooManyDimensions: no single VIEW does it.
        """
        dims = [*rows, *cols]
        assert sorted(dims) == list(range(len(value.shape)))
        width = math.prod(value.shape[dim] for dim in cols)
        return self.strided(
            value.ref,
            math.prod(value.shape) // width,
            width,
            sizes=[value.shape[dim] for dim in dims],
            strides=[value.strides[dim] for dim in dims],
            base=value.base,
        )

    def laid_out(self, value: Quantised, rows: int, cols: int) -> Ref:
        """Return a matrix of the value's elements in their logical order."""
        return self.strided(
            value.ref, rows, cols, sizes=value.shape, strides=value.strides, base=value.base
        )

    def strided(
        self, ref: Ref, rows: int, cols: int, *, sizes: Sequence[int], strides: Sequence[int],
        base: int = 0,
    ) -> Ref:  # fmt: skip
        """Return a matrix of elements of `ref`; `ref` itself when nothing would move."""
        merged: list[tuple[int, int]] = []
        for size, stride in zip(sizes, strides, strict=True):
            if size == 1:
                continue
            if merged and merged[-1][1] == size * stride:
                merged[-1] = (merged[-1][0] * size, stride)
            else:
                merged.append((size, stride))
        merged = merged or [(1, 1)]
        spec = ref.spec
        whole = merged in ([(spec.rows * spec.cols, 1)], [(1, 1)])
        if whole and base == 0 and (rows, cols) == (spec.rows, spec.cols):
            return ref
        if len(merged) > MAX_VIEW_DIMS:
            raise TooManyDimensions(f"a view of {len(merged)} dimensions, VIEW has {MAX_VIEW_DIMS}")
        key = (ref, rows, cols, tuple(merged), base)
        if key not in self._views:  # two readers share one view
            self._views[key] = self._builder.view(
                ref, rows, cols, sizes=[size for size, _ in merged],
                strides=[stride for _, stride in merged], base=base,
            )  # fmt: skip
        return self._views[key]

    def side_by_side(self, parts: list[Ref]) -> Ref:
        """Return the columns of all parts, three of which CONCAT takes at a time."""
        while len(parts) > 1:
            groups = [parts[at : at + 3] for at in range(0, len(parts), 3)]
            parts = [self._builder.concat(*group) if group[1:] else group[0] for group in groups]
        return parts[0]

    def reshaped(self, value: Quantised, shape: Shape) -> Quantised:
        """Return the value in another shape; elements move only when strides cannot say it."""
        seen = torch.empty_strided(value.shape, value.strides, device="meta")
        try:
            strides = tuple(seen.view(shape).stride())
        except RuntimeError:
            width = shape[-1] if shape else 1
            ref = self.laid_out(value, math.prod(shape) // width, width)
            return replace(dense(ref, value.scale, shape), zero=value.zero)
        return replace(value, shape=shape, strides=strides)
