"""What each ATen operator is in the float graph; here, those that work element by element.

A converter appends nodes and returns the values of the call's outputs by name.
"""

from collections.abc import Callable, Mapping

import torch

from worker.exact.frontends.aten_layers import LAYERS
from worker.exact.frontends.aten_reductions import REDUCTIONS
from worker.exact.frontends.aten_shapes import SHAPES
from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
)
from worker.exact.lowering.expressions import Expression, X, clamp

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
    if not isinstance(a, Dynamic) and not isinstance(b, Dynamic):
        parts = [float(torch.as_tensor(side).flatten()[0]) for side in (a, b)]
        name = trace.emit(
            "pointwise", [condition.name], trace.fresh("where"), condition.shape,
            expression=("where", X, *parts),
        )  # fmt: skip
        name = trace.emit("expand", [name], call.output, call.shape, shape=call.shape)
        return first(call, name)
    if isinstance(a, Dynamic) == isinstance(b, Dynamic):
        raise trace.refuse(
            "where", "it chooses between two tensors", instead="masked_fill with one number"
        )
    given, other = (a, b) if isinstance(a, Dynamic) else (b, a)
    value = float(torch.as_tensor(other).flatten()[0])
    inputs = [given.name, trace.name_of(condition, "mask")]
    name = trace.emit(
        "masked_fill", inputs, call.output, call.shape, where=0 if given is a else 1, value=value
    )
    return first(call, name)


def _masked_fill(trace: GraphRecorder, call: OperatorCall) -> Values:
    inputs = [trace.name_of(call["self"], "operand"), trace.name_of(call["mask"], "mask")]
    value = float(call["value"])
    name = trace.emit("masked_fill", inputs, call.output, call.shape, where=1, value=value)
    return first(call, name)


def _clamp(call: OperatorCall) -> Expression:
    low, high = call.arguments.get("min"), call.arguments.get("max")
    if call.name == "hardtanh":
        low, high = call["min_val"], call["max_val"]
    return clamp(X, low, high)


def _elu(call: OperatorCall) -> Expression:
    grown = ("mul", ("sub", ("exp", ("minimum", X, 0.0)), 1.0), float(call["alpha"]))
    return ("where", ("lt", X, 0.0), grown, X)


CONVERTERS: Mapping[str, Converter] = {
    **LAYERS, **REDUCTIONS, **SHAPES,
    **{name: _named(name) for name in (
        "tanh", "sigmoid", "silu", "exp", "log", "sqrt", "rsqrt", "reciprocal", "erf", "abs", "neg",
        "mish", "hardswish", "hardsigmoid", "selu", "sin", "cos",
    )},
    "elu": _pointwise(_elu),
    "leaky_relu": _pointwise(
        lambda call: ("where", ("lt", X, 0.0), ("mul", X, float(call["negative_slope"])), X)
    ),
    "logical_not": _named("not"), "bitwise_not": _named("not"),
    "gelu": _pointwise(
        lambda call: ("gelu_tanh" if call["approximate"] == "tanh" else "gelu", X)
    ),
    "relu": _pointwise(lambda _call: clamp(X, 0.0, None)),
    "relu6": _pointwise(lambda _call: clamp(X, 0.0, 6.0)),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _pointwise(_clamp)),
    "pow": _pointwise(lambda call: ("pow", X, float(call["exponent"]))),
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    "rsub": _binary("sub"), "true_divide": _binary("div"),
    **{name: _binary(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "where": _where, "masked_fill": _masked_fill,
}  # fmt: skip
