"""ONNX's reductions in the float graph: along any axes, of a function, and a function of them."""

from collections.abc import Mapping
from typing import Any

from worker.exact.frontends.onnx_calls import composed, flip, ints, last, operand
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import Expression, X


def _axes(call: OperatorCall, rank: int) -> tuple[int, ...]:
    axes = ints(call, "axes", 1)
    if not axes:
        return () if call.arguments.get("noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted({axis % rank for axis in axes}))


def reduced(trace: GraphRecorder, op: str, x: Any, dims: tuple[int, ...]) -> Any:
    """Return a sum, mean or maximum along dimensions, which keep a size of one."""
    if not dims:
        return x
    shape = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    if op == "max":
        return trace.move("reshape", trace.apply("max", x, dims=dims), shape)
    return trace.apply(op, x, dims=dims, keep=True)


def _reduce(op: str, before: Expression = X, after: Expression = X) -> Converter:
    def make(trace: GraphRecorder, call: OperatorCall) -> Any:
        x = operand(call, 0)
        dims = _axes(call, len(x.shape))
        x = x if before == X else trace.function(before, x)
        made = reduced(trace, op, x, dims)
        return made if after == X else trace.function(after, made)

    return composed(make)


def _norm(trace: GraphRecorder, call: OperatorCall) -> Any:
    """‖x‖; along the last axis a later division by it may be left to the reader."""
    x = operand(call, 0)
    dims = _axes(call, len(x.shape))
    if dims == (len(x.shape) - 1,):
        return trace.apply("norm", x)
    squares = trace.function(("mul", X, X), x)
    return trace.function(("sqrt", X), reduced(trace, "sum", squares, dims))


def _log_sum_exp(trace: GraphRecorder, call: OperatorCall) -> Any:
    x = operand(call, 0)
    dims = _axes(call, len(x.shape))
    most = reduced(trace, "max", x, dims)
    shares = trace.function(("exp", X), trace.calculate("sub", x, most))
    total = trace.function(("log", X), reduced(trace, "sum", shares, dims))
    return trace.calculate("add", total, most)


def _product(trace: GraphRecorder, call: OperatorCall) -> Any:
    made = operand(call, 0)
    for dim in _axes(call, len(made.shape)):
        if made.shape[dim] > 64:
            raise trace.refuse(call.name, f"of {made.shape[dim]} factors", instead="fewer than 64")
        parts = [
            trace.apply("slice", made, dim=dim, start=at, step=1, size=1)
            for at in range(made.shape[dim])
        ]
        made = parts[0]
        for part in parts[1:]:
            made = trace.calculate("mul", made, part)
    return made


def _place(trace: GraphRecorder, call: OperatorCall) -> Any:
    """The place of the greatest or least element along one axis."""
    x = operand(call, 0)
    axis = call.arguments.get("axis", 0) % len(x.shape)
    if call.name == "ArgMin":
        x = trace.function(("neg", X), x)
    latest = call.arguments.get("select_last_index", 0)
    if latest:
        x = flip(trace, x, axis)
    rows, _ = last(trace, x, [axis])
    found = trace.apply("argmax", rows)
    if latest:
        found = trace.function(("sub", float(x.shape[axis] - 1), X), found)
    return trace.move("reshape", found, call.shape)


def _of_all(trace: GraphRecorder, call: OperatorCall) -> Any:
    """The greatest, least, sum or mean of several tensors."""
    parts = call[""]
    if call.name in ("Sum", "Mean"):
        made = parts[0]
        for part in parts[1:]:
            made = trace.calculate("add", made, part)
        return trace.function(("div", X, float(len(parts))), made) if call.name == "Mean" else made
    return extreme(trace, parts, call.shape, least=call.name == "Min")


def extreme(trace: GraphRecorder, parts: Any, shape: tuple[int, ...], *, least: bool) -> Any:
    """Return the greatest or least of several tensors, element by element."""
    sides = [trace.function(("neg", X), part) for part in parts] if least else list(parts)
    sides = [trace.move("expand", side, shape) for side in sides]
    sides = [trace.move("reshape", side, (*shape, 1)) for side in sides]
    if len(sides) > 1:
        sides = [trace.apply("concat", *sides, dim=len(shape))]
    most: Dynamic = trace.apply("max", sides[0], dims=(len(shape),))
    return trace.function(("neg", X), most) if least else most


_SQUARE: Expression = ("mul", X, X)
REDUCTIONS: Mapping[str, Converter] = {
    "ReduceMean": _reduce("mean"), "ReduceSum": _reduce("sum"), "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("max", ("neg", X), ("neg", X)), "ReduceL1": _reduce("sum", ("abs", X)),
    "ReduceL2": composed(_norm), "ReduceSumSquare": _reduce("sum", _SQUARE),
    "ReduceLogSum": _reduce("sum", X, ("log", X)), "ReduceLogSumExp": composed(_log_sum_exp),
    "ReduceProd": composed(_product),
    **dict.fromkeys(("ArgMax", "ArgMin"), composed(_place)),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), composed(_of_all)),
}  # fmt: skip
