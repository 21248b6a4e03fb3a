"""Rules for what works element by element, and for masks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from oracle.exact.builder import Ref
from oracle.exact.dtypes import DType
from worker.exact.graph import Array, GraphNode
from worker.exact.lowering import expressions
from worker.exact.lowering.expressions import X
from worker.exact.lowering.layers import as_constant, channels, signed
from worker.exact.lowering.layout import Quantised, dense, stored_order
from worker.exact.lowering.lower import (
    Lowering,
    Masked,
    MaskValue,
    Rule,
    Value,
    grid_range,
    is_square,
)
from worker.exact.lowering.passes import MASKED_OUT
from worker.exact.lowering.policy import IntegerRange
from worker.exact.lowering.scaling import addition, requantisation

_SHARE = 0.05  # of a table's range, that one step of its argument may change it by
_STEPS = 64  # of a divisor, at the least: its reciprocal is off by less than one in that
_SINGULAR = frozenset({"log", "reciprocal", "rsqrt", "div"})  # at zero
_TRUTHS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "not"})  # functions that are 0 or 1


def add(lowering: Lowering, node: GraphNode) -> Value:
    """ADD, each side with its scale; scores plus a mask wait for their softmax."""
    for at in (0, 1):
        mask = lowering.value(node, 1 - at) if lowering.constant(node, 1 - at) is None else None
        if isinstance(mask, MaskValue) and min(mask.low, mask.high) <= MASKED_OUT:
            return _masked(lowering, node, lowering.quantised(node, at), mask)
    return _sum(lowering, node, [side(lowering, node, at) for at in (0, 1)])


def _sum(lowering: Lowering, node: GraphNode, sides: Sequence[Quantised]) -> Quantised:
    shape = lowering.shape(node)
    first = 0 if sides[0].shape == shape else 1
    signs = (1, -1) if node.op == "sub" else (1, 1)
    a, b = (signed(lowering, sides[at].expanded(shape)) for at in (first, 1 - first))
    order = stored_order(a)
    split = _columns(a, order)
    rows, cols = order[:split], order[split:]
    left = lowering.layout.matrix(a, rows, cols)
    if not any(b.strides[dim] for dim in rows if shape[dim] > 1):
        for dim in rows:  # one row serves all
            b = b.sliced(dim, 0, 1, 1)
    right = lowering.layout.matrix(b, rows, cols)
    choice = lowering.choice(node)
    narrow = choice.dtype in (DType.I8, DType.U8)
    limited = node.attributes.get("low") is not None and not narrow  # ADD has no u16
    if choice.dtype == DType.U16:
        choice = IntegerRange(DType.I16, choice.limit)
    factors = (a.scale / choice.scale * signs[first], b.scale / choice.scale * signs[1 - first])
    c = lowering.builder.constant(addition(factors, (a.bound, b.bound)), DType.CHANNEL)
    ref = lowering.builder.add(left, right, c, dtype=choice.dtype)
    made = dense(ref, choice.scale, shape, order)
    return _limited(lowering, made, node) if limited else made


def side(lowering: Lowering, node: GraphNode, at: int, *, on_grid: bool = False) -> Quantised:
    """Return an operand that may be a constant; `on_grid`: another integer may stand for 0."""
    constant = lowering.constant(node, at)
    if constant is None:
        return lowering.on_grid(node, at) if on_grid else lowering.quantised(node, at)
    return as_constant(lowering, constant, DType.I16)


def _columns(value: Quantised, order: tuple[int, ...]) -> int:
    """Return where the columns begin when dimensions lie in this order."""
    width, split = 1, len(order)
    while split and width < value.ref.spec.cols:
        split -= 1
        width *= value.shape[order[split]]
    return split if width == value.ref.spec.cols else len(order) - 1


def _masked(lowering: Lowering, node: GraphNode, scores: Quantised, mask: MaskValue) -> Value:
    if mask.high == 0.0 and mask.low <= MASKED_OUT:
        return Masked(scores, mask.view)
    if mask.low == 0.0 and mask.high <= MASKED_OUT:
        return Masked(scores, _inverted(lowering, mask.view))
    raise node.refuse(
        f"a mask adds {mask.low} and {mask.high}",
        instead=f"add 0 to what is kept and less than {MASKED_OUT} to the rest, before a softmax",
    )


def _inverted(lowering: Lowering, mask: Quantised) -> Quantised:
    table = np.zeros((1, 256), np.uint8)
    table[0, 0] = 1
    ref = lowering.builder.lut(mask.ref, lowering.builder.constant(table, DType.U8))
    return replace(mask, ref=ref)


def masked_fill(lowering: Lowering, node: GraphNode) -> Value:
    """Scores whose masked elements count for nothing."""
    value, where = node.attributes["value"], node.attributes["where"]
    constant = lowering.constant(node, 1)
    if value > MASKED_OUT:
        raise node.refuse(f"it fills with {value}", instead="multiply with the mask")
    scores = lowering.quantised(node)
    if constant is not None:
        keep = ((constant != 0) != bool(where)).astype(np.uint8)
        ref = lowering.builder.constant(keep.reshape(-1, keep.shape[-1]), DType.U8)
        return Masked(scores, dense(ref, 1.0, keep.shape))
    mask = lowering.value(node, 1)
    if not isinstance(mask, MaskValue):
        computed = lowering.quantised(node, 1)
        kept: expressions.Expression = ("ne" if where == 0 else "eq", expressions.X, 0.0)
        keep = _filled(lowering, computed, kept, IntegerRange(DType.U8, DType.U8.maximum))
        return Masked(scores, keep.expanded(scores.shape))
    filled = [float((side != 0) == bool(where)) * MASKED_OUT for side in (mask.low, mask.high)]
    return _masked(lowering, node, scores, MaskValue(mask.view, *filled))


def mul(lowering: Lowering, node: GraphNode) -> Quantised:
    """DOT with rows of one element: the one operator that multiplies two activations."""
    shape = lowering.shape(node)
    return _product(lowering, node, *(side(lowering, node, at).expanded(shape) for at in (0, 1)))


def _product(lowering: Lowering, node: GraphNode, a: Quantised, b: Quantised) -> Quantised:
    shape = a.shape
    order = stored_order(a)
    size = math.prod(shape)
    rows = [lowering.layout.laid_out(each.permuted(order), size, 1) for each in (a, b)]
    choice = lowering.choice(node)
    c = channels(lowering, a.scale * b.scale / choice.scale, 0.0, a.bound * b.bound)
    ref = lowering.builder.dot(rows[0], rows[1], c, dtype=choice.dtype, group=1)
    width = shape[order[-1]] if shape else 1
    ref = lowering.builder.view(ref, size // width, width, sizes=[size], strides=[1])
    return dense(ref, choice.scale, shape, order)


def products(lowering: Lowering, node: GraphNode) -> Quantised:
    """DOT with rows of as many elements as there are products to sum."""
    shape = lowering.shape(node)
    sides = [side(lowering, node, at).expanded(shape) for at in range(len(node.inputs))]
    (a, of_a), (b, of_b) = (_abreast(lowering, sides[first::2]) for first in (0, 1))
    choice = lowering.choice(node)
    bound = len(sides) // 2 * _largest(a.spec.dtype) * _largest(b.spec.dtype)
    c = channels(lowering, of_a * of_b / choice.scale, 0.0, bound)
    return dense(lowering.builder.dot(a, b, c, dtype=choice.dtype, group=1), choice.scale, shape)


def _abreast(lowering: Lowering, values: Sequence[Quantised]) -> tuple[Ref, float]:
    """Return one row for each element, with that element of every value; and their scale."""
    first, size = values[0], math.prod(values[0].shape)
    steps = {b.base - a.base for a, b in pairwise(values)}
    alike = all((v.ref, v.strides, v.scale) == (first.ref, first.strides, first.scale)
                for v in values)  # fmt: skip
    if alike and len(steps) < 2 and min(steps, default=1) > 0:  # evenly spaced
        ref = lowering.layout.strided(
            first.ref, size, len(values), sizes=[*first.shape, len(values)],
            strides=[*first.strides, *(steps or {1})], base=first.base,
        )  # fmt: skip
        return ref, first.scale
    if len({(value.dtype, value.scale) for value in values}) > 1:
        limit = max(value.scale * value.bound for value in values)
        scale = limit / DType.I16.maximum
        values = [_into(lowering, value, scale) for value in values]
    parts = [lowering.layout.laid_out(value, size, 1) for value in values]
    return lowering.layout.side_by_side(parts), values[0].scale


def _into(lowering: Lowering, value: Quantised, scale: float) -> Quantised:
    if (value.dtype, value.scale) == (DType.I16, scale):
        return value
    return lowering.rescaled(
        value, DType.I16, scale, requantisation(value.scale / scale, 0.0, value.bound)
    )


def _largest(dtype: DType) -> int:
    return max(dtype.maximum, -dtype.minimum)


def div(lowering: Lowering, node: GraphNode) -> Value:
    """The product with a table of reciprocals, where the divisor keeps away from zero."""
    a, b = (side(lowering, node, at) for at in (0, 1))
    least = lowering.least(node, 1)
    if b.scale * _STEPS > least:
        raise node.refuse(
            f"it divides by {least:.3g}, where integers have a step of {b.scale:.3g}",
            instead="leave a final normalisation to the reader, or a divisor that is kept from "
            "zero",
        )
    choice = IntegerRange(DType.I16, 1 / least)
    inverse = _filled(lowering, b, ("reciprocal", expressions.X), choice)
    shape = lowering.shape(node)
    return _product(lowering, node, a.expanded(shape), inverse.expanded(shape))


def affine(lowering: Lowering, node: GraphNode) -> Value:
    """A change of scale alone costs nothing; else RESCALE by column, or ADD of a constant."""
    scale, offset = node.attributes["scale"], node.attributes["offset"]
    value = lowering.value(node)
    if isinstance(value, MaskValue) and scale.size == offset.size == 1:
        line = ("add", ("mul", expressions.X, scale.item()), offset.item())
        return _mapped(node, value, line)
    if isinstance(value, Masked):
        if not offset.any() and scale.size == 1 and scale > 0:
            inner = replace(value.scores, scale=value.scores.scale * float(scale))
            return Masked(inner, value.keep)
        raise node.refuse("it reads masked scores", instead="scale them before the mask")
    x = lowering.quantised(node)
    limited = node.attributes.get("low") is not None
    if scale.size == 1 and float(scale.ravel()[0]) > 0 and not offset.any() and not limited:
        return replace(x, scale=x.scale * float(scale.ravel()[0]))
    shape = lowering.shape(node)
    order = stored_order(x)
    split = _columns(x, order)
    across = [_by_column(array, shape, order, split) for array in (scale, offset)]
    if across[0] is None or across[1] is None:
        if scale.size > 1 or float(scale.ravel()[0]) <= 0.0:
            factors = as_constant(lowering, np.broadcast_to(scale, shape), DType.I16)
            scaled = _product(lowering, node, x, factors)
        else:
            scaled = replace(x, scale=x.scale * float(scale.ravel()[0]))
        if not offset.any() and not limited:
            return scaled
        return _sum(lowering, node, [scaled, as_constant(lowering, offset, DType.I16)])
    ref = lowering.layout.matrix(x, order[:split], order[split:])
    choice = lowering.choice(node)
    c = channels(lowering, x.scale * across[0] / choice.scale, across[1] / choice.scale, x.bound)
    ref = lowering.builder.rescale(ref, c, dtype=choice.dtype)
    return dense(ref, choice.scale, shape, order)


def _by_column(
    array: Array, shape: tuple[int, ...], order: tuple[int, ...], split: int
) -> Array | None:
    """Return one number for each column; None when rows differ."""
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(full.shape[dim] != 1 for dim in order[:split]):
        return None
    wide = np.broadcast_to(
        full, [1 if dim in order[:split] else size for dim, size in enumerate(shape)]
    )
    return wide.transpose(order).ravel()


def clamp(lowering: Lowering, node: GraphNode) -> Value:
    """RESCALE to an unsigned dtype for a ReLU; a table otherwise."""
    low, high = node.attributes["limits"]
    value = lowering.value(node)
    expression = expressions.clamp(expressions.X, low, high)
    if isinstance(value, MaskValue):
        return _mapped(node, value, expression)
    x = lowering.quantised(node)
    choice = lowering.choice(node.also(low=low, high=high))
    if low != 0.0 or choice.dtype not in (DType.U8, DType.U16) or x.dtype == DType.I32:
        return _table(lowering, node, x, expression)
    c = requantisation(x.scale / choice.scale, 0.0, x.bound)
    return lowering.rescaled(x, choice.dtype, choice.scale, c)


def pointwise(lowering: Lowering, node: GraphNode) -> Value:
    """LUT; a product for a square."""
    value = lowering.value(node)
    if isinstance(value, MaskValue):
        return _mapped(node, value, node.attributes["expression"])
    if is_number(node.attributes["expression"]):
        return lowering.quantised(node)
    x = lowering.on_grid(node)
    if is_square(node) and x.dtype != DType.I32:
        x = lowering.quantised(node)
        return _product(lowering, node, x, x)
    return _table(lowering, node, x, node.attributes["expression"])


def is_number(expression: expressions.Expression) -> bool:
    """Whether a function changes only what is no number, which no integer is."""
    asked = isinstance(expression, tuple) and expression[:2] == ("where", ("ne", X, X))
    return asked and isinstance(expression, tuple) and expression[3] == X


def grid(lowering: Lowering, node: GraphNode) -> Quantised:
    """RESCALE to the model's own steps; nothing where the value has them already."""
    x, choice, zero = lowering.on_grid(node), grid_range(node.attributes), node.attributes["zero"]
    if (x.dtype, x.scale, x.zero) == (choice.dtype, choice.scale, zero):
        return x
    if x.dtype == DType.I32:
        raise node.refuse("it reads 32 bits", instead="a model that quantises no sum of so many")
    factor = x.scale / choice.scale
    c = requantisation(factor, zero - factor * x.zero, x.bound)
    return replace(lowering.rescaled(x, choice.dtype, choice.scale, c), zero=zero)


def _table(
    lowering: Lowering, node: GraphNode, x: Quantised, expression: expressions.Expression
) -> Quantised:
    choice = lowering.choice(node)
    if isinstance(expression, tuple) and expression[0] in _TRUTHS:
        dtype = DType.U8 if choice.dtype in (DType.U8, DType.U16) else DType.I8
        choice = IntegerRange(dtype, dtype.maximum)
    _require_steps(lowering, node, x, expression, choice)
    return _filled(lowering, x, expression, choice)


def _require_steps(
    lowering: Lowering, node: GraphNode, x: Quantised, expression: expressions.Expression,
    choice: IntegerRange,
) -> None:  # fmt: skip
    """Refuse a function near its pole, where one step of its argument is half of its range."""
    if not expressions.names(expression) & _SINGULAR:
        return
    seen = torch.from_numpy(lowering.statistics(node).magnitudes)
    sides = [seen, -seen] if lowering.statistics(node).low < 0 else [seen]
    for side in sides:
        ends = [
            expressions.evaluate(expression, side + half) for half in (-x.scale / 2, x.scale / 2)
        ]
        apart = (ends[0] - ends[1]).abs().nan_to_num(torch.inf).max()
        if apart > _SHARE * choice.limit:
            raise node.refuse(
                f"it changes too fast: a step of its argument is {x.scale:.3g}",
                instead="an argument that is kept from zero, or a log-sum-exp less its maximum",
            )


def _filled(
    lowering: Lowering, x: Quantised, expression: expressions.Expression, choice: IntegerRange
) -> Quantised:
    indices = np.arange(x.dtype.minimum, x.dtype.maximum + 1, dtype=np.float64)
    given = torch.from_numpy((indices - x.zero) * x.scale)
    values = expressions.evaluate(expression, given).numpy()
    integers = np.nan_to_num(np.rint(values / choice.scale))
    integers = np.clip(integers, choice.dtype.minimum, choice.dtype.maximum)
    table = lowering.builder.constant(
        integers.astype(choice.dtype.numpy).reshape(1, -1), choice.dtype
    )
    return replace(x, ref=lowering.builder.lut(x.ref, table), scale=choice.scale, zero=0)


def _limited(lowering: Lowering, value: Quantised, node: GraphNode) -> Quantised:
    """Return max(value, 0), where the operator before could not do it in its own dtype."""
    expression = expressions.clamp(expressions.X, 0.0, node.attributes.get("high"))
    limit = value.scale * value.dtype.maximum
    return _filled(lowering, value, expression, IntegerRange(value.dtype, limit))


def _mapped(node: GraphNode, mask: MaskValue, expression: expressions.Expression) -> MaskValue:
    both = expressions.evaluate(expression, torch.tensor([mask.low, mask.high]))
    low, high = both.tolist()
    return MaskValue(mask.view, low, high)


ELEMENTS: Mapping[str, Rule] = {
    "add": add,
    "sub": add,
    "mul": mul,
    "products": products,
    "div": div,
    "affine": affine,
    "clamp": clamp,
    "grid": grid,
    "pointwise": pointwise,
    "masked_fill": masked_fill,
}
