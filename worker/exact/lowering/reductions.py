"""Rules for what reduces: pools, means, sums, the place of the greatest."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from oracle.exact.builder import Ref
from oracle.exact.dtypes import DType
from worker.exact.graph import GraphNode
from worker.exact.lowering.layers import channels, padded
from worker.exact.lowering.layout import Quantised, dense, stored_order
from worker.exact.lowering.lower import Lowering, Rule
from worker.exact.lowering.policy import IntegerRange
from worker.exact.lowering.scaling import addition


def max_pool(lowering: Lowering, node: GraphNode) -> Quantised:
    """MAX over windows; the border is the least number, which never wins."""
    x = lowering.on_grid(node)
    rows = _pool_rows(lowering, node, x, node.attributes["dilation"], x.dtype.minimum)
    _, count, *size = lowering.shape(node)
    ref = lowering.builder.max(rows, cols=count)
    return replace(dense(ref, x.scale, (1, count, *size), (0, 2, 3, 1)), zero=x.zero)


def avg_pool(lowering: Lowering, node: GraphNode) -> Quantised:
    """MEAN over windows, the border counted."""
    x = lowering.quantised(node)
    rows = _pool_rows(lowering, node, x, (1, 1), 0)
    _, count, *size = lowering.shape(node)
    ref, choice = _mean(lowering, node, rows, x, count)
    return dense(ref, choice.scale, (1, count, *size), (0, 2, 3, 1))


def greatest(lowering: Lowering, node: GraphNode) -> Quantised:
    """MAX over dimensions."""
    x = lowering.quantised(node)
    dims = node.attributes["dims"]
    kept = [dim for dim in range(len(x.shape)) if dim not in dims]
    rows = lowering.layout.matrix(x, kept, dims)
    width = x.shape[kept[-1]] if kept else 1
    return dense(lowering.builder.max(rows, cols=width), x.scale, lowering.shape(node))


def _pool_rows(
    lowering: Lowering, node: GraphNode, x: Quantised, dilation: tuple[int, int], border: int
) -> Ref:
    """Return one row of window elements for each place and channel."""
    a = node.attributes
    image = padded(lowering, x, a["padding"], border)
    _, count, rows, cols = lowering.shape(node)
    _, channel, row, pixel = image.strides
    return lowering.layout.strided(
        image.ref, rows * cols * count, math.prod(a["kernel"]),
        sizes=[rows, cols, count, *a["kernel"]],
        strides=[a["stride"][0] * row, a["stride"][1] * pixel, channel, dilation[0] * row,
         dilation[1] * pixel],
        base=image.base,
    )  # fmt: skip


def _mean(
    lowering: Lowering,
    node: GraphNode,
    rows: Ref,
    x: Quantised,
    cols: int,
    *,
    mask: Ref | None = None,
) -> tuple[Ref, IntegerRange]:
    choice = lowering.choice(node)
    if choice.dtype == DType.U16:  # MEAN has no u16
        choice = IntegerRange(DType.I16, choice.limit)
    c = channels(lowering, x.scale / choice.scale / 2**16, 0.0, x.bound * 2**16)
    return lowering.builder.mean(rows, c, dtype=choice.dtype, mask=mask, cols=cols), choice


def mean(lowering: Lowering, node: GraphNode) -> Quantised:
    """MEAN over dimensions; a sum is a mean that is worth more."""
    x = lowering.quantised(node)
    dims = node.attributes["dims"]
    kept = [dim for dim in stored_order(x) if dim not in dims]
    rows = lowering.layout.matrix(x, kept, dims)
    shape = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    width = x.shape[kept[-1]] if kept else 1
    count = math.prod(x.shape[dim] for dim in dims)
    worth = 1 if node.op == "mean" else count
    seen = Quantised(x.ref, x.scale * worth, x.shape, x.strides, x.base)
    ref, choice = _mean(lowering, node, rows, seen, width)
    made = dense(ref, choice.scale, shape, [*dims, *kept])
    return lowering.layout.reshaped(made, lowering.shape(node))


def masked_mean(lowering: Lowering, node: GraphNode) -> Quantised:
    """MEAN over the tokens that a mask keeps."""
    x, mask = lowering.quantised(node), lowering.quantised(node, 1)
    rows = lowering.layout.matrix(x, (0, 2), (1,))
    mask = lowering.layout.reshaped(mask, (1, x.shape[1]))
    keep = lowering.layout.matrix(mask, (0,), (1,))
    ref, choice = _mean(lowering, node, rows, x, x.shape[2], mask=keep)
    return dense(ref, choice.scale, lowering.shape(node))


def argmax(lowering: Lowering, node: GraphNode) -> Quantised:
    """ARGMAX of each row."""
    x = lowering.quantised(node)
    rank = len(x.shape)
    rows = lowering.layout.matrix(x, range(rank - 1), [rank - 1])
    place = lowering.builder.argmax(rows)
    if node.output not in lowering.answers and x.shape[-1] <= DType.I16.maximum:
        c = lowering.builder.constant(addition((1.0, 1.0), (2**15, 0)), DType.CHANNEL)
        zero = lowering.builder.constant(np.zeros((1, 1), np.int8), DType.I8)
        place = lowering.builder.add(place, zero, c, dtype=DType.I16)  # what tables read
    return dense(place, 1.0, lowering.shape(node))


REDUCTIONS: Mapping[str, Rule] = {
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "mean": mean,
    "sum": mean,
    "masked_mean": masked_mean,
    "max": greatest,
    "argmax": argmax,
}
