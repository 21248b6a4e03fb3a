"""ATen's layers that are read as ONNX's: one axis, transposed, enlarged, normed by groups."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.exact.frontends import lookups
from worker.exact.frontends.aten import CONVERTERS
from worker.exact.frontends.onnx_layers import LAYERS
from worker.exact.frontends.onnx_reductions import REDUCTIONS
from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
)
from worker.exact.lowering.expressions import Expression, X


def _as_onnx(
    name: str, parts: tuple[str, ...], make: Callable[[OperatorCall], Mapping[str, Any]]
) -> Converter:
    """Return ONNX's converter `name`, with ATen's arguments as its operands and attributes."""

    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        def alone(**_: Any) -> Any:
            raise trace.refuse(
                call.name,
                "of three axes, or in groups",
                instead="groups=1, one or two axes",
            )

        operands = [call.arguments.get(part) for part in parts]
        given = {"": operands, "alone": alone, **make(call)}
        return {**LAYERS, **REDUCTIONS}[name](
            trace, OperatorCall(name, given, call.outputs, call.results)
        )

    return convert


def _list(value: Any, count: int) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * count if len(given) == 1 else given


def _window(call: OperatorCall) -> dict[str, Any]:
    """Return strides, borders and steps of a convolution or pool."""
    rank = len(call.shape) - 2
    stride = call.arguments.get("stride") or call.arguments.get("kernel_size")
    found = {
        "strides": _list(stride, rank), "pads": _list(call["padding"], rank) * 2,
        "dilations": _list(call.arguments.get("dilation", 1), rank),
    }  # fmt: skip
    if "groups" in call.arguments:
        found["group"] = call["groups"]
    if "kernel_size" in call.arguments:
        found["kernel_shape"] = _list(call["kernel_size"], rank)
    if "output_padding" in call.arguments:
        found["output_padding"] = _list(call["output_padding"], rank)
    return found


_WEIGHTED = ("input", "weight", "bias")
_CONV = _as_onnx("Conv", _WEIGHTED, _window)
_TRANSPOSED = _as_onnx("ConvTranspose", _WEIGHTED, _window)


def _convolution(trace: GraphRecorder, call: OperatorCall) -> Values:
    if call["transposed"]:
        return _TRANSPOSED(trace, call)
    if len(call.shape) == 4:
        return CONVERTERS["conv2d"](trace, call)
    return _CONV(trace, call)


def _mean_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    """A pool of one axis is one of two, of which the first has one place."""
    x = call["self"]
    if "output_size" in call.arguments:
        out = call.shape[-1]
        if x.shape[-1] % out:
            raise trace.refuse(
                call.name, f"{x.shape[-1]} is no multiple of {out}", instead="a kernel and a stride"
            )
        kernel = stride = x.shape[-1] // out
        border = 0
    else:
        if call["ceil_mode"] or (any(call["padding"]) and not call["count_include_pad"]):
            raise trace.refuse(
                call.name, "its divisor depends on the place", instead="count_include_pad=True"
            )
        kernel = call["kernel_size"][0]
        stride = (call["stride"] or call["kernel_size"])[0]
        border = call["padding"][0]
    image = trace.move("reshape", x, (*x.shape[:-1], 1, x.shape[-1]))
    made = trace.apply(
        "avg_pool", image, kernel=(1, kernel), stride=(1, stride), padding=(0, border, 0, border)
    )
    return trace.done(call, made)


def _nearest(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Every pixel as often as the image grows; other factors by the pixels' places."""
    x = call["input"]
    *front, rows, cols = x.shape
    if call.shape[-2] % rows or call.shape[-1] % cols:
        marks = torch.arange(x.sample.numel(), dtype=torch.float64).reshape(x.shape)
        places = torch.ops.aten.upsample_nearest2d.vec(
            marks, call["output_size"], call["scale_factors"]
        )
        return trace.done(call, lookups.moved(trace, x, places))
    down, right = call.shape[-2] // rows, call.shape[-1] // cols
    tall = trace.move("reshape", x, (*front, rows, 1, cols, 1))
    wide = trace.move("expand", tall, (*front, rows, down, cols, right))
    return trace.done(call, trace.move("reshape", wide, call.shape))


def _bilinear(trace: GraphRecorder, call: OperatorCall) -> Values:
    """A product with one matrix along the rows, and one along the columns."""
    made = call["input"]
    for dim in (2, 3):
        size, wanted = made.shape[dim], call.shape[dim]
        unit = torch.eye(size).reshape(1, size, size, 1)
        factors = call["scale_factors"]
        grown = torch.ops.aten.upsample_bilinear2d.vec(
            unit, None if factors else [wanted, 1], call["align_corners"],
            [factors[dim - 2], 1.0] if factors else None,
        )  # fmt: skip
        matrix = grown.reshape(size, wanted).T.contiguous()
        order = [at for at in range(4) if at != dim] + [dim]
        lines = trace.apply("linear", trace.move("permute", made, order), matrix, None)
        made = trace.move("permute", lines, [order.index(at) for at in range(4)])
    return trace.done(call, made)


def _log_softmax(trace: GraphRecorder, call: OperatorCall) -> Values:
    """x less the logarithm of the sum of its powers, along one dimension."""
    x, dim = call["self"], call["dim"]
    sizes = list(x.shape)
    sizes[dim] = 1
    total = torch.logsumexp(x.sample, dim, keepdim=True)
    part = OperatorCall(
        "ReduceLogSumExp", {"": [x], "axes": [dim]}, (trace.fresh("total"),), (total,)
    )
    (found,) = REDUCTIONS["ReduceLogSumExp"](trace, part).values()
    return trace.done(call, trace.calculate("sub", x, found))


def _gated(trace: GraphRecorder, call: OperatorCall) -> Values:
    x, dim = call["self"], call["dim"] % len(call["self"].shape)
    half = x.shape[dim] // 2
    kept, gate = (
        trace.apply("slice", x, dim=dim, start=at * half, step=1, size=half) for at in (0, 1)
    )
    return trace.done(call, trace.calculate("mul", kept, trace.function(("sigmoid", X), gate)))


def _soft_plus(call: OperatorCall) -> Expression:
    beta = float(call.arguments.get("beta", 1))
    inner: Expression = ("mul", X, beta)
    positive = ("maximum", inner, 0.0)
    grown = ("add", positive, ("log", ("add", 1.0, ("exp", ("neg", ("abs", inner))))))
    return ("div", grown, beta)


def _of_each(make: Callable[[OperatorCall], Expression]) -> Converter:
    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        return trace.done(call, trace.function(make(call), call["self"]))

    return convert


def _leaky(trace: GraphRecorder, call: OperatorCall) -> Values:
    """PReLU: max(x, 0) + weight · min(x, 0), a weight for each channel."""
    x, weight = call["self"], call["weight"]
    if isinstance(weight, Dynamic):
        raise trace.refuse(call.name, "its weight depends on the input", instead="a constant")
    shape = (-1, *(1,) * (len(x.shape) - 2))
    below = trace.function(("minimum", X, 0.0), x)
    below = trace.calculate("mul", below, weight.reshape(shape))
    above = trace.function(("maximum", X, 0.0), x)
    return trace.done(call, trace.calculate("add", above, below))


IMAGES: Mapping[str, Converter] = {
    "conv1d": _CONV, "convolution": _convolution,
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _TRANSPOSED),
    "max_pool1d": _as_onnx("MaxPool", ("self",), _window),
    **dict.fromkeys(("avg_pool1d", "adaptive_avg_pool1d"), _mean_pool),
    "upsample_nearest2d": _nearest, "upsample_bilinear2d": _bilinear,
    "group_norm": _as_onnx(
        "GroupNormalization", _WEIGHTED,
        lambda call: {"num_groups": call["num_groups"], "epsilon": call["eps"]},
    ),
    **dict.fromkeys(("log_softmax", "_log_softmax"), _log_softmax), "glu": _gated,
    "softplus": _of_each(_soft_plus), "prelu": _leaky,
    "log_sigmoid": _of_each(
        lambda _call: (
            "sub", ("minimum", X, 0.0), ("log", ("add", 1.0, ("exp", ("neg", ("abs", X)))))
        )
    ),
    "celu": _of_each(lambda call: (
        "where", ("lt", X, 0.0),
        ("mul", ("sub", ("exp", ("div", ("minimum", X, 0.0), float(call["alpha"]))), 1.0),
         float(call["alpha"])), X,
    )),
}  # fmt: skip
