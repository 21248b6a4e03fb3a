"""What each ATen operator is in the float graph; here, those that work element by element.

A converter appends nodes and returns the values of the call's outputs by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.exact.frontends.aten_indices import INDICES
from worker.exact.frontends.aten_layers import LAYERS
from worker.exact.frontends.aten_recurrent import RECURRENT
from worker.exact.frontends.aten_reductions import REDUCTIONS
from worker.exact.frontends.aten_shapes import SHAPES
from worker.exact.frontends.tracing import (
    IS_NAN,
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
)
from worker.exact.lowering.expressions import Expression, X, clamp
from worker.exact.lowering.passes import MASKED_OUT

# Results depend on shapes alone, so they are constants for a program of one shape.
SHAPE_ONLY = frozenset(
    [
        "sym_size",
        "zeros_like",
        "ones_like",
        "full_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "_assert_tensor_metadata",
        "sym_constrain_range_for_size",
        "size",
    ]
)


def _pointwise(make: Callable[[OperatorCall], Expression]) -> Converter:
    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        given = call.arguments.get("self", call.arguments.get("input"))
        name = trace.emit("pointwise", [given.name], call.output, call.shape, expression=make(call))
        return first(call, name)

    return convert


def _named(name: str) -> Converter:
    return _pointwise(lambda _call: (name, X))


def _binary(name: str) -> Converter:
    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        a, b = call["self"], call["other"]
        if call.arguments.get("rounding_mode"):
            raise trace.refuse(call.name, "rounding division", instead="divide without rounding")
        if call.arguments.get("alpha", 1) != 1:
            if isinstance(b, Dynamic):
                scaled = trace.arithmetic("mul", b, call["alpha"], trace.fresh("scaled"), b.shape)
                b = Dynamic(scaled, b.sample * call["alpha"])
            else:
                b = b * call["alpha"]
        if call.name == "rsub":
            a, b = b, a
        return first(call, trace.arithmetic(name, a, b, call.output, call.shape))

    return convert


def _where(trace: GraphRecorder, call: OperatorCall) -> Values:
    condition, a, b = call["condition"], call["self"], call["other"]
    if not isinstance(condition, Dynamic):
        return _chosen(trace, condition, a, b, call)
    if trace.is_nan_of(condition, b) and _number(a) is not None:
        whole: Expression = ("where", ("ne", X, X), float(a), X)  # what is no number becomes one
        return trace.done(call, trace.function(whole, b))
    numbers = [_number(side) for side in (a, b)]
    if None not in numbers:
        name = trace.emit(
            "pointwise", [condition.name], trace.fresh("where"), condition.shape,
            expression=("where", X, *numbers),
        )  # fmt: skip
        name = trace.emit("expand", [name], call.output, call.shape, shape=call.shape)
        return first(call, name)
    if filled := _filled(trace, condition, a, b, call):
        return filled
    _require_finite(trace, a, b)
    kept = trace.function(("ne", X, 0.0), condition)
    moved = trace.calculate("mul", kept, trace.calculate("sub", a, b))
    return trace.done(call, trace.calculate("add", moved, b))


def _chosen(
    trace: GraphRecorder, condition: torch.Tensor, a: Any, b: Any, call: OperatorCall
) -> Values:
    """Return what a constant condition takes from either side: it costs no accuracy."""
    kept = (condition != 0).float()
    if (only := _number(kept)) is not None:
        side = a if only else b
        if not isinstance(side, Dynamic):
            return {call.output: call.results[0]}
        return trace.done(call, trace.move("expand", side, call.shape))
    mask = Dynamic(trace.constant(condition, "mask"), condition)
    if filled := _filled(trace, mask, a, b, call):
        return filled
    _require_finite(trace, a, b)
    parts = [trace.calculate("mul", side, share) for side, share in ((a, kept), (b, 1 - kept))]
    return trace.done(call, trace.calculate("add", *parts))


def _filled(
    trace: GraphRecorder, condition: Dynamic, a: Any, b: Any, call: OperatorCall
) -> Values | None:
    """Return scores of which some count for nothing; None where neither side says so."""
    numbers = [_number(side) for side in (a, b)]
    for given, number, where in ((a, numbers[1], 0), (b, numbers[0], 1)):
        if number is not None and number <= MASKED_OUT and _whole(given, call.shape):
            name = trace.emit(
                "masked_fill", [given.name, condition.name], call.output, call.shape,
                where=where, value=number,
            )  # fmt: skip
            return first(call, name)
    return None


def _require_finite(trace: GraphRecorder, *sides: Any) -> None:
    for side in sides:
        if not isinstance(side, Dynamic) and not torch.isfinite(torch.as_tensor(side)).all():
            raise trace.refuse("where", "infinity beside numbers", instead="masked_fill")


def _whole(given: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(given, Dynamic) and given.shape == shape


def _number(side: Any) -> float | None:
    """Return the one number that a constant consists of; None when there are several."""
    if isinstance(side, Dynamic):
        return None
    values = torch.as_tensor(side).flatten()
    return float(values[0]) if bool((values == values[0]).all()) else None


def _masked_fill(trace: GraphRecorder, call: OperatorCall) -> Values:
    if not isinstance(call["self"], Dynamic):
        sides = {
            "condition": call["mask"], "self": torch.as_tensor(call["value"]),
            "other": call["self"],
        }  # fmt: skip
        return _where(trace, OperatorCall("where", sides, call.outputs, call.results))
    inputs = [trace.name_of(call["self"], "operand"), trace.name_of(call["mask"], "mask")]
    value = float(call["value"])
    name = trace.emit("masked_fill", inputs, call.output, call.shape, where=1, value=value)
    return first(call, name)


def _clamp(call: OperatorCall) -> Expression:
    low, high = call.arguments.get("min"), call.arguments.get("max")
    if call.name == "hardtanh":
        low, high = call["min_val"], call["max_val"]
    return clamp(X, low, high)


def _pow(trace: GraphRecorder, call: OperatorCall) -> Values:
    base, exponent = call["self"], call["exponent"]
    if isinstance(base, Dynamic) and isinstance(exponent, Dynamic):
        raise trace.refuse("pow", "both sides depend on the inputs", instead="exp and log")
    return first(call, trace.arithmetic("pow", base, exponent, call.output, call.shape))


def _compare(name: str) -> Converter:
    """A comparison with one number; any other is one of the difference with zero."""

    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        a, b = call["self"], call["other"]
        if any(not isinstance(side, Dynamic) and _number(side) is not None for side in (a, b)):
            return _binary(name)(trace, call)
        apart = trace.arithmetic("sub", a, b, trace.fresh(call.output), call.shape)
        left, right = (side.sample if isinstance(side, Dynamic) else side for side in (a, b))
        given = Dynamic(apart, left - right)
        return first(call, trace.arithmetic(name, given, 0.0, call.output, call.shape))

    return convert


def _elu(call: OperatorCall) -> Expression:
    grown = ("mul", ("sub", ("exp", ("minimum", X, 0.0)), 1.0), float(call["alpha"]))
    return ("where", ("lt", X, 0.0), grown, X)


CONVERTERS: Mapping[str, Converter] = {
    **LAYERS, **REDUCTIONS, **RECURRENT, **INDICES, **SHAPES,
    **{name: _named(name) for name in (
        "tanh", "sigmoid", "silu", "exp", "log", "sqrt", "rsqrt", "reciprocal", "erf", "abs", "neg",
        "mish", "hardswish", "hardsigmoid", "selu", "sin", "cos",
    )},
    "elu": _pointwise(_elu),
    "leaky_relu": _pointwise(
        lambda call: ("where", ("lt", X, 0.0), ("mul", X, float(call["negative_slope"])), X)
    ),
    "isnan": _pointwise(lambda _call: IS_NAN),
    "logical_not": _named("not"), "bitwise_not": _named("not"),
    "gelu": _pointwise(
        lambda call: ("gelu_tanh" if call["approximate"] == "tanh" else "gelu", X)
    ),
    "relu": _pointwise(lambda _call: clamp(X, 0.0, None)),
    "relu6": _pointwise(lambda _call: clamp(X, 0.0, 6.0)),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _pointwise(_clamp)),
    "pow": _pow,
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    "rsub": _binary("sub"), "true_divide": _binary("div"),
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "where": _where, "masked_fill": _masked_fill,
}  # fmt: skip
