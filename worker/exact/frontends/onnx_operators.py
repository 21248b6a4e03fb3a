"""What each ONNX operator is in the float graph; here, those of elements and shapes.

Most are the ATen converters under other argument names; source: onnx/docs/Operators.md.
"""

from collections.abc import Mapping
from typing import Any

from worker.exact.frontends import aten
from worker.exact.frontends.onnx_calls import (
    Values,
    as_aten,
    both,
    composed,
    function,
    ints,
    named,
    only,
    operand,
)
from worker.exact.frontends.onnx_grids import GRIDS
from worker.exact.frontends.onnx_indices import INDICES
from worker.exact.frontends.onnx_layers import LAYERS
from worker.exact.frontends.onnx_matrix import by_matrix
from worker.exact.frontends.onnx_recurrent import RECURRENT
from worker.exact.frontends.onnx_reductions import REDUCTIONS, extreme
from worker.exact.frontends.tracing import IS_NAN, Converter, Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import Expression, X, clamp

SHAPE_ONLY = frozenset({"Shape", "Size", "ConstantOfShape", "EyeLike"})
# Operands that decide a result's shape: a program has one, so they are constants of it.
STRUCTURE: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Split", "TopK"), (1,)),
    **dict.fromkeys(("OneHot", "CumSum", "CumProd", "Trilu", "CenterCropPad", "Compress"), (1,)),
    **dict.fromkeys(("Upsample", "AffineGrid"), (1,)), "Slice": (1, 2, 3, 4), "Pad": (1, 3),
    "Resize": (1, 2, 3), "DFT": (1, 2), "Col2Im": (1, 2), "Range": (0, 1, 2),
    "ConstantOfShape": (0,), "STFT": (1, 3), "Dropout": (1, 2), "ReverseSequence": (1,),
    **{f"Reduce{name}": (1,) for name in (
        "Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp",
    )},
}  # fmt: skip


def _concat(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"tensors": [part for part in call[""] if 0 not in part.shape], "dim": call["axis"]}


def _cast_like(trace: GraphRecorder, call: OperatorCall) -> Values:
    if not isinstance(operand(call, 0), Dynamic):
        return {call.output: call.results[0]}
    return aten.CONVERTERS["to"](
        trace, OperatorCall("to", {"self": operand(call, 0)}, call.outputs, call.results)
    )


def _slice(trace: GraphRecorder, call: OperatorCall) -> Values:
    made = operand(call, 0)
    starts, ends = ints(call, "starts", 1), ints(call, "ends", 2)
    assert starts is not None
    assert ends is not None
    axes = ints(call, "axes", 3) or list(range(len(starts)))
    steps = ints(call, "steps", 4) or [1] * len(starts)
    if min(steps) < 1:
        return by_matrix(trace, call)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        dim = axis % len(made.shape)
        places = range(made.shape[dim])[start:end:step]
        made = trace.apply("slice", made, dim=dim, start=places.start, step=step, size=len(places))
    return trace.done(call, made)


def _split(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": operand(call, 0), "dim": call.arguments.get("axis", 0)}


def _where(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    condition, a, b = (operand(call, at) for at in range(3))
    return {"condition": condition, "self": a, "other": b}


def _permuted(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    given = operand(call, 0)
    return {"self": given, "dims": call.arguments.get("perm", range(len(given.shape))[::-1])}


def _dropout(_trace: GraphRecorder, call: OperatorCall) -> Values:
    """The input as it is; the mask, where it is asked for, keeps everything."""
    kept = dict(zip(call.outputs, call.results, strict=True))
    return {**kept, call.output: Dynamic(operand(call, 0).name, call.results[0])}


def _clip(trace: GraphRecorder, call: OperatorCall) -> Any:
    made = operand(call, 0)
    limits = [call.arguments.get(name, operand(call, at)) for at, name in ((1, "min"), (2, "max"))]
    if not any(isinstance(limit, Dynamic) for limit in limits):
        low, high = (None if limit is None else float(limit) for limit in limits)
        return trace.function(clamp(X, low, high), made)
    for limit, least in zip(limits, (False, True), strict=True):
        if limit is not None:
            made = extreme(trace, [made, limit], call.shape, least=least)
    return made


def _pow(trace: GraphRecorder, call: OperatorCall) -> Any:
    """A function where one side is a constant number; else exp(y · log x)."""
    base, exponent = (operand(call, at) for at in range(2))
    for side, make in ((exponent, lambda n: ("pow", X, n)), (base, lambda n: ("pow", n, X))):
        if not isinstance(side, Dynamic) and side.numel() == 1:
            other = base if side is exponent else exponent
            return trace.function(make(float(side)), trace.move("expand", other, call.shape))
    held = base.sample if isinstance(base, Dynamic) else base
    if not bool((held > 0).all()):
        raise trace.refuse("Pow", "of numbers that are not positive", instead="one exponent")
    grown = trace.calculate("mul", trace.function(("log", X), base), exponent)
    return trace.function(("exp", X), grown)


def _logic(trace: GraphRecorder, call: OperatorCall) -> Any:
    a, b = (operand(call, at) for at in range(2))
    if call.name == "And":
        return trace.calculate("mul", a, b)
    if call.name == "Or":
        return trace.function(("ne", X, 0.0), trace.calculate("add", a, b))
    return trace.function(("ne", X, 0.0), trace.calculate("sub", a, b))


def _leaky(call: OperatorCall) -> Expression:
    return ("where", ("lt", X, 0.0), ("mul", X, call.arguments.get("alpha", 0.01)), X)


def _elu(call: OperatorCall) -> Expression:
    alpha, name = float(call.arguments.get("alpha", 1.0)), call.name
    inner = ("div", X, alpha) if name == "Celu" else X
    grown: Expression = ("mul", ("sub", ("exp", ("minimum", inner, 0.0)), 1.0), alpha)
    return ("where", ("lt", X, 0.0), grown, X)


def _selu(call: OperatorCall) -> Expression:
    alpha = float(call.arguments.get("alpha", 1.6732632423543772))
    return ("mul", _elu(OperatorCall("Elu", {"alpha": alpha}, (), ())),
            float(call.arguments.get("gamma", 1.0507009873554805)))  # fmt: skip


def _hard_sigmoid(call: OperatorCall) -> Expression:
    alpha, beta = (float(call.arguments.get(n, d)) for n, d in (("alpha", 0.2), ("beta", 0.5)))
    return clamp(("add", ("mul", X, alpha), beta), 0.0, 1.0)


def _threshold(call: OperatorCall) -> Expression:
    alpha = float(call.arguments.get("alpha", 1.0))
    return ("where", ("gt", X, alpha), X, 0.0)


def _shrink(call: OperatorCall) -> Expression:
    lambd, bias = (float(call.arguments.get(n, d)) for n, d in (("lambd", 0.5), ("bias", 0.0)))
    above: Expression = ("where", ("gt", X, lambd), ("sub", X, bias), 0.0)
    return ("where", ("lt", X, -lambd), ("add", X, bias), above)


def _swish(call: OperatorCall) -> Expression:
    return ("mul", X, ("sigmoid", ("mul", X, float(call.arguments.get("alpha", 1.0)))))


_POSITIVE: Expression = ("maximum", X, 0.0)
CONVERTERS: Mapping[str, Converter] = {
    **LAYERS, **REDUCTIONS, **RECURRENT, **INDICES, **GRIDS,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), as_aten("reshape", only)),
    "Transpose": as_aten("permute", _permuted), "Expand": as_aten("expand", only),
    "Concat": as_aten("cat", _concat), "Slice": _slice, "Split": as_aten("split", _split),
    "Where": as_aten("where", _where), "Identity": as_aten("clone", only), "Dropout": _dropout,
    "Cast": as_aten("to", only), "CastLike": _cast_like,
    **dict.fromkeys(
        ("Resize", "Upsample", "Pad", "Tile", "CumSum", "Trilu", "DepthToSpace", "SpaceToDepth",
         "CenterCropPad", "Compress", "DFT", "Col2Im", "STFT", "ReverseSequence", "AffineGrid",
         "GridSample", "Einsum", "MelWeightMatrix"), by_matrix,
    ),
    **{
        name: as_aten(aten_name, both)
        for name, aten_name in (
            ("Add", "add"), ("Sub", "sub"), ("Mul", "mul"), ("Div", "div"), ("Equal", "eq"),
            ("Less", "lt"), ("LessOrEqual", "le"), ("Greater", "gt"), ("GreaterOrEqual", "ge"),
        )
    },
    **{
        name: named(name.lower())
        for name in (
            "Tanh", "Sigmoid", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Not",
            "HardSwish", "Mish", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
            "Asinh", "Acosh", "Atanh", "Ceil", "Floor", "Sign",
        )
    },
    "Relu": function(lambda _call: _POSITIVE), "Clip": composed(_clip), "Pow": composed(_pow),
    "LeakyRelu": function(_leaky), **dict.fromkeys(("Elu", "Celu"), function(_elu)),
    "Selu": function(_selu), "HardSigmoid": function(_hard_sigmoid), "Shrink": function(_shrink),
    "ThresholdedRelu": function(_threshold), "Swish": function(_swish),
    "Softplus": function(
        lambda _call: ("add", _POSITIVE, ("log", ("add", 1.0, ("exp", ("neg", ("abs", X))))))
    ),
    "Softsign": function(lambda _call: ("div", X, ("add", 1.0, ("abs", X)))),
    "IsNaN": function(lambda _call: IS_NAN),
    "BitwiseNot": function(lambda _call: ("sub", -1.0, X)),
    "Gelu": function(
        lambda call: ("gelu_tanh" if call.arguments.get("approximate") == b"tanh" else "gelu", X)
    ),
    **dict.fromkeys(("And", "Or", "Xor"), composed(_logic)),
}  # fmt: skip
