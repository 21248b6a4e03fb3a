"""How sums of integer products are computed exactly with what a machine multiplies fast.

A float type adds integers exactly, in any order, while no partial sum leaves its mantissa. So from
the dtypes, and from the weights where they are constant, follows the cheapest way that cannot err:
```
 int_mm   i8·i8 in integers; where its known-answer test passed, and it is faster than float32
 float32  Σ|a·b| < 2²⁴ by chunks of K; chunks are added in float64
 limbs    i16 = 256·high + low: two products in float32
 float64  everything else: validity bounds Σ|a·b| by 2³⁷
```
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from oracle.exact.dtypes import Array, DType
from oracle.exact.rules import magnitude

FLOAT32 = 2**24
MAX_CHUNKS = 4  # more chunks than this cost more than float64
Way = Literal["int_mm", "float32", "limbs", "float64"]


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """The way of one DOT, `chunk` columns at a time."""

    way: Way
    chunk: int


def plan(a: DType, b: DType, columns: int, weights: Array | None, *, int_mm: bool) -> ProductPlan:
    """Choose the way of a DOT.

    Args:
        a, b: dtypes of the operands.
        columns: K.
        weights: the constant second operand [rows, K], None when it is an activation.
        int_mm: whether `torch._int_mm` may be used for this one.
    """
    if int_mm and weights is not None and a in (DType.I8, DType.U8) and b == DType.I8:
        return ProductPlan("int_mm", columns)
    sums = np.full((1, columns), magnitude(b)) if weights is None else np.abs(weights)
    chunk = _chunk(magnitude(a), sums)
    if chunk is not None:
        return ProductPlan("float32", chunk)
    if a in (DType.I16, DType.U16) and _chunk(256, sums) == columns:
        return ProductPlan("limbs", columns)
    return ProductPlan("float64", columns)


def bounds(a: DType, b: DType, columns: int, weights: Array | None) -> Any:
    """Return the greatest |sum| by row of b (one number when b is an activation)."""
    if weights is None:
        return magnitude(a) * magnitude(b) * columns
    return magnitude(a) * np.abs(weights).sum(1)


def _chunk(most: int, other: Array) -> int | None:
    """Return the widest equal chunk that float32 sums exactly; None when there are too many."""
    columns: int = other.shape[1]
    for count in range(1, min(MAX_CHUNKS, columns) + 1):
        chunk: int = math.ceil(columns / count)
        sums: Array = np.add.reduceat(other, range(0, columns, chunk), axis=1)
        if most * int(sums.max()) < FLOAT32:
            return chunk
    return None


def multiply(way: ProductPlan, a: Tensor, b: Tensor) -> Tensor:
    """Return a @ bᵀ over the last two dimensions, exact, as float32 or float64 integers.

    Args:
        way: float32, limbs or float64.
        a: float32 [..., M, K].   b: float32 or float64 [..., N, K].
    """
    if way.way == "float64":
        return a.double() @ b.double().transpose(-1, -2)
    if way.way == "limbs":
        high = torch.floor(a * (1 / 256))
        low = a - high * 256
        return (high @ b.transpose(-1, -2)).double() * 256 + low @ b.transpose(-1, -2)
    if way.chunk >= a.shape[-1]:
        return a @ b.transpose(-1, -2)
    parts = zip(torch.split(a, way.chunk, -1), torch.split(b, way.chunk, -1), strict=True)
    products = [part @ weights.transpose(-1, -2) for part, weights in parts]
    total = products[0].double()
    for product in products[1:]:
        total = total + product
    return total


@functools.cache
def int_mm_is_exact(device: str) -> bool:
    """Run the known-answer test of `torch._int_mm` in this process: rows of extreme values.

    Without VNNI, oneDNN multiplies 8-bit pairs into 16 bits and saturates: sums of pairs above
    32,767 are what it gets wrong. Alternating signs make each pair's sum differ.
    """
    try:
        for rows, columns, width in ((32, 64, 32), (128, 384, 64), (33, 1536, 40)):
            for low, high in ((-128, -128), (127, 127), (-128, 127)):
                a = torch.full((rows, columns), low, dtype=torch.int8, device=device)
                a[:, 1::3] = high
                b = torch.full((width, columns), high, dtype=torch.int8, device=device)
                b[1::2, ::2] = low
                exact = (a.cpu().double() @ b.cpu().double().t()).to(torch.int64)
                for right in (b.t(), b.t().contiguous()):
                    if not torch.equal(torch._int_mm(a, right).cpu().to(torch.int64), exact):
                        return False
    except (RuntimeError, NotImplementedError, AttributeError):
        return False  # no such kernel on this device or in this build
    return True


@functools.cache
def int_mm_pays(device: str) -> bool:
    """Whether `torch._int_mm` is no slower than float32 here: without VNNI it may be 40 times.

    Both give the same integers, so that a wrong guess costs time alone.
    """
    if device != "cpu":
        return True  # tensor cores
    a, b = (torch.ones((rows, 384), dtype=torch.int8) for rows in (128, 384))
    in_floats = a.float(), b.float().t()
    try:
        return _fastest(torch._int_mm, a, b.t()) <= _fastest(torch.mm, *in_floats)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def _fastest(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """Return the seconds of the fastest of six products; the first one may set things up."""
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        product(a, b)
        taken.append(time.perf_counter() - began)
    return min(taken)


@functools.cache
def floats_are_exact(device: str) -> bool:
    """Run the known-answer test of float32 and float64 products: TF32 and bfloat16 fail it."""
    for dtype, top in ((torch.float32, 4095), (torch.float64, 2**25 - 1)):
        a = torch.full((64, 64), float(top), dtype=dtype, device=device)
        b = torch.eye(64, dtype=dtype, device=device) * float(top)
        if not torch.equal((a @ b).cpu(), torch.full((64, 64), float(top * top), dtype=dtype)):
            return False
    return True
