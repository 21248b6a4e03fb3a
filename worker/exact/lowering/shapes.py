"""Rules for what only moves: views of strides, concatenation, the division left to the reader."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from oracle.exact.dtypes import DType
from worker.exact.graph import GraphNode
from worker.exact.lowering.elements import side
from worker.exact.lowering.layout import Quantised, dense
from worker.exact.lowering.lower import Lowering, Masked, MaskValue, Rule, Value
from worker.exact.lowering.policy import IntegerRange
from worker.exact.lowering.scaling import requantisation


def concat(lowering: Lowering, node: GraphNode) -> Quantised:
    """RESCALE what differs to one scale, then CONCAT columns, three at a time."""
    shape, dim = lowering.shape(node), node.attributes["dim"]
    sides = [side(lowering, node, at, on_grid=True) for at in range(len(node.inputs))]
    if len({side.zero for side in sides}) > 1:
        sides = [side(lowering, node, at) for at in range(len(node.inputs))]
    if len({(side.dtype, side.scale) for side in sides}) > 1:
        choice = _widest(sides) or lowering.choice(node)
        sides = [_to(lowering, side, choice) for side in sides]
    rest = [other for other in range(len(shape)) if other != dim]
    parts = [lowering.layout.matrix(side, rest, [dim]) for side in sides]
    made = dense(lowering.layout.side_by_side(parts), sides[0].scale, shape, [*rest, dim])
    return replace(made, zero=sides[0].zero)


def _widest(sides: Sequence[Quantised]) -> IntegerRange | None:
    """Return a range that holds all sides, where one has 16 bits; None where 8 are enough."""
    if all(side.dtype.size == 1 for side in sides) or any(s.dtype == DType.I32 for s in sides):
        return None
    return IntegerRange(DType.I16, max(side.scale * side.dtype.maximum for side in sides))


def _to(lowering: Lowering, value: Quantised, choice: IntegerRange) -> Quantised:
    if value.dtype == choice.dtype and value.scale == choice.scale:
        return value
    c = requantisation(value.scale / choice.scale, 0.0, value.bound)
    return lowering.rescaled(value, choice.dtype, choice.scale, c)


def view(lowering: Lowering, node: GraphNode) -> Value:
    """Reshape, permute, slice, expand: of strides, not of elements."""
    value = lowering.value(node)
    if isinstance(value, MaskValue):
        return replace(value, view=_seen(lowering, node, value.view))
    if isinstance(value, Masked):
        shape = value.scores.shape
        keep = _seen(lowering, node, value.keep.expanded(shape))
        return Masked(_seen(lowering, node, value.scores), keep)
    return _seen(lowering, node, lowering.on_grid(node))


def columns(lowering: Lowering, node: GraphNode) -> Quantised:
    """The input as it is: its code has the scales."""
    return lowering.quantised(node)


def _seen(lowering: Lowering, node: GraphNode, value: Quantised) -> Quantised:
    a = node.attributes
    if node.op == "reshape":
        return lowering.layout.reshaped(value, tuple(a["shape"]))
    if node.op == "permute":
        return value.permuted(a["dims"])
    if node.op == "expand":
        return value.expanded(tuple(a["shape"]))
    return value.sliced(a["dim"], a["start"], a["step"], a["size"])


def normalise(lowering: Lowering, node: GraphNode) -> Quantised:
    """Leave the last division to whoever reads the output."""
    if node.output not in lowering.answers:
        raise node.refuse(
            "it is in the middle of the model",
            instead="a layer norm; at the end, the reader divides",
        )
    return lowering.quantised(node)


SHAPES: Mapping[str, Rule] = {
    **dict.fromkeys(("reshape", "permute", "slice", "expand"), view),
    "concat": concat,
    "columns": columns,
    "normalise": normalise,
}
