"""ONNX's QuantizeLinear and DequantizeLinear: a model of 8 bits brings its own steps along.

Between the two a value lies on a grid, which becomes its integers. So a program of a model that
onnxruntime's `quantize_static` wrote computes with that model's scales, zeros and weights.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends.onnx_calls import Values, composed, operand
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall, first
from worker.exact.graph import GraphNode
from worker.exact.lowering.expressions import X, clamp

_ENDS = {torch.int8: (-128, 127), torch.uint8: (0, 255), torch.int16: (-32768, 32767)}


def _quantised(trace: GraphRecorder, call: OperatorCall) -> Any:
    x, scale, zero = (operand(call, at) for at in range(3))
    if call.results[0].dtype not in _ENDS:
        raise trace.refuse(call.name, "to this dtype", instead="8 bits")
    low, high = _ENDS[call.results[0].dtype]
    if (grid := _grid(scale, zero, low, high)) is not None:
        rounded = trace.apply("grid", x, **grid)
        return trace.function(("add", ("div", X, grid["scale"]), float(grid["zero"])), rounded)
    scale, zero = (_along(trace, call, side) for side in (scale, zero))
    made = trace.function(("round", X), trace.calculate("div", x, scale))
    made = made if zero is None else trace.calculate("add", made, zero)
    return trace.function(clamp(X, low, high), made)


def _grid(scale: Any, zero: Any, low: int, high: int) -> dict[str, Any] | None:
    """Return a grid's attributes; None where they differ by channel, or no integer is zero."""
    parts = [part for part in (scale, zero) if part is not None]
    if any(isinstance(part, Dynamic) or part.numel() != 1 for part in parts):
        return None
    at = 0 if zero is None else int(zero)
    if float(scale) <= 0 or (at and high - low > 255):
        return None
    return {"scale": float(scale), "zero": at, "least": low, "most": high}


def _dequantised(trace: GraphRecorder, call: OperatorCall) -> Values:
    x, scale, zero = (operand(call, at) for at in range(3))
    if (rounded := _rounded(trace, x, scale, zero)) is not None:
        grid, given = rounded.attributes, rounded.inputs
        return first(call, trace.emit("grid", given, call.output, call.shape, **grid))
    scale, zero = (_along(trace, call, side) for side in (scale, zero))
    x = x if zero is None else trace.calculate("sub", x, zero)
    return trace.done(call, trace.calculate("mul", x, scale))


def _rounded(trace: GraphRecorder, x: Any, scale: Any, zero: Any) -> GraphNode | None:
    """Return the node that put a number on the grid whose integers are given."""
    made = trace.maker(x.name) if isinstance(x, Dynamic) else None
    grid = None if made is None else trace.maker(made.inputs[0] or "")
    if grid is None or grid.op != "grid" or isinstance(scale, Dynamic):
        return None
    ends = (grid.attributes["least"], grid.attributes["most"])
    return grid if grid.attributes == _grid(scale, zero, *ends) else None


def _along(trace: GraphRecorder, call: OperatorCall, values: Any) -> Any:
    """Return the numbers of one axis, so that they broadcast."""
    if values is None or math.prod(values.shape) == 1 or len(values.shape) > 1:
        return values
    rank = len(operand(call, 0).shape)
    axis = call.arguments.get("axis", 1) % rank
    return trace.move("reshape", values, (-1, *(1,) * (rank - 1 - axis)))


GRIDS: Mapping[str, Converter] = {
    "QuantizeLinear": composed(_quantised), "DequantizeLinear": _dequantised,
}  # fmt: skip
