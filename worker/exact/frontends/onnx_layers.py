"""ONNX's layers, pools and norms in the float graph."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends import aten
from worker.exact.frontends.lookups import NEAR_ZERO
from worker.exact.frontends.onnx_calls import Values, composed, flip, last, operand
from worker.exact.frontends.onnx_matrix import by_matrix
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import X


def _gemm(trace: GraphRecorder, call: OperatorCall) -> Values:
    a, b, c = (operand(call, at) for at in range(3))
    alpha, beta = (call.arguments.get(name, 1.0) for name in ("alpha", "beta"))
    if call.arguments.get("transA", 0):
        a = trace.move("permute", a, (1, 0))
    if not call.arguments.get("transB", 0):
        b = trace.move("permute", b, (1, 0))
    if isinstance(a, Dynamic) and not isinstance(b, Dynamic) and not isinstance(c, Dynamic):
        bias = None if c is None else torch.broadcast_to(c * beta, call.shape)
        if bias is None or bool((bias == bias[:1]).all()):
            row = None if bias is None else bias[0]
            return trace.done(call, trace.apply("linear", a, b * alpha, row))
    made = trace.apply("matmul", a, trace.move("permute", b, (1, 0)))
    made = trace.calculate("mul", made, alpha) if alpha != 1.0 else made
    if c is not None:
        made = trace.calculate("add", made, trace.calculate("mul", c, beta))
    return trace.done(call, made)


def _matmul(trace: GraphRecorder, call: OperatorCall) -> Any:
    a, b = (operand(call, at) for at in range(2))
    a = trace.move("reshape", a, (1, *a.shape)) if len(a.shape) == 1 else a
    b = trace.move("reshape", b, (*b.shape, 1)) if len(b.shape) == 1 else b
    if not isinstance(b, Dynamic) and b.ndim == 2:
        return trace.apply("linear", a, b.t().contiguous(), None)
    rank = max(len(a.shape), len(b.shape))
    a, b = (trace.move("reshape", x, (*(1,) * (rank - len(x.shape)), *x.shape)) for x in (a, b))
    return trace.apply("matmul", a, b)


def _spread(call: OperatorCall, name: str, count: int) -> tuple[int, ...]:
    return tuple(call.arguments.get(name) or (1,) * count)


def _padding(
    call: OperatorCall, kernel: tuple[int, ...], image: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the borders, all first ones and then all last ones, that give the result's shape."""
    count = len(kernel)
    mode = call.arguments.get("auto_pad", b"NOTSET").decode()
    given = tuple(call.arguments.get("pads") or (0,) * 2 * count)
    given = (0,) * 2 * count if mode == "VALID" else given
    stride, dilation = (_spread(call, name, count) for name in ("strides", "dilations"))
    first, second = [], []
    for dim in range(count):
        reach = (call.shape[2 + dim] - 1) * stride[dim] + (kernel[dim] - 1) * dilation[dim] + 1
        if mode.startswith("SAME"):
            total = max(0, reach - image[2 + dim])
            small, large = total // 2, total - total // 2
            first.append(small if mode == "SAME_UPPER" else large)
            second.append(large if mode == "SAME_UPPER" else small)
        else:
            first.append(given[dim])
            second.append(max(0, reach - image[2 + dim] - given[dim]))
    return (*first, *second)


def _conv(trace: GraphRecorder, call: OperatorCall) -> Values:
    image, weight, bias = (operand(call, at) for at in range(3))
    dims = len(weight.shape) - 2
    if dims > 2 or image.shape[0] != 1:
        if isinstance(weight, Dynamic):
            raise trace.refuse("Conv", f"of {dims} dimensions", instead="constant weights")
        return by_matrix(trace, call)
    kernel = tuple(weight.shape[2:])
    padding = _padding(call, kernel, image.shape)
    stride, dilation = (_spread(call, name, dims) for name in ("strides", "dilations"))
    if dims == 1:
        image, weight = (trace.move("reshape", x, (*x.shape[:2], 1, -1)) for x in (image, weight))
        padding, stride, dilation = (0, padding[0], 0, padding[1]), (1, *stride), (1, *dilation)
    made = trace.apply(
        "conv2d", image, weight, bias, stride=stride, padding=padding, dilation=dilation,
        groups=int(call.arguments.get("group", 1)),
    )  # fmt: skip
    return trace.done(call, made)


def _conv_transposed(trace: GraphRecorder, call: OperatorCall) -> Values:
    """A convolution of the image with zeros between its pixels."""
    image, weight, bias = (operand(call, at) for at in range(3))
    dims = len(weight.shape) - 2
    groups = int(call.arguments.get("group", 1))
    if dims > 2 or groups > 1 or image.shape[0] != 1:
        if isinstance(weight, Dynamic):
            raise trace.refuse(
                call.name, f"of {dims} dimensions, {groups} groups", instead="constant weights"
            )
        return by_matrix(trace, call)
    stride, dilation = (_spread(call, name, dims) for name in ("strides", "dilations"))
    kernel, outer = weight.shape[2:], [0] * dims
    extra = call.arguments.get("output_padding") or [0] * dims
    pads = call.arguments.get("pads") or [0] * 2 * dims
    padding = []
    for dim, size in enumerate(image.shape[2:]):
        reach = (size - 1) * stride[dim] + (kernel[dim] - 1) * dilation[dim] + 1 + extra[dim]
        cut = reach - call.shape[2 + dim]  # what is cut off at both ends together
        first = pads[dim]
        if call.arguments.get("auto_pad", b"NOTSET").decode().startswith("SAME") or (
            "output_shape" in call.arguments
        ):
            lower = call.arguments.get("auto_pad", b"NOTSET") == b"SAME_LOWER"
            first = cut - cut // 2 if lower else cut // 2
        outer[dim] = first
        border = (kernel[dim] - 1) * dilation[dim]
        padding.append((border - first, border - (cut - first) + extra[dim]))
    if any(side < 0 for pair in padding for side in pair):
        raise trace.refuse(call.name, "it cuts off more than its kernel", instead="fewer pads")
    for dim in range(dims):
        image = _zeros_between(trace, image, 2 + dim, stride[dim])
        weight = flip(trace, weight, 2 + dim)
    weight = trace.move("permute", weight, (1, 0, *range(2, 2 + dims)))
    sides = [*(first for first, _ in padding), *(second for _, second in padding)]
    if dims == 1:
        image, weight = (trace.move("reshape", x, (*x.shape[:2], 1, -1)) for x in (image, weight))
        sides, dilation = [0, sides[0], 0, sides[1]], (1, *dilation)
    made = trace.apply(
        "conv2d", image, weight, bias, stride=(1, 1), padding=tuple(sides), dilation=dilation,
        groups=1,
    )  # fmt: skip
    return trace.done(call, made)


def _zeros_between(trace: GraphRecorder, image: Dynamic, dim: int, step: int) -> Dynamic:
    if step == 1:
        return image
    size = image.shape[dim]
    spread = torch.zeros(((size - 1) * step + 1, size))
    spread[::step] = torch.eye(size)
    turned, back = last(trace, image, [dim])
    made: Dynamic = trace.move("permute", trace.apply("linear", turned, spread, None), back)
    return made


def _max_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Over two dimensions at a time: the greatest of the greatest is the greatest."""
    image = operand(call, 0)
    spatial = image.shape[2:]
    kernel = tuple(call.arguments.get("kernel_shape", spatial))
    count = len(kernel)
    padding = _padding(call, kernel, image.shape)
    stride, dilation = (_spread(call, name, count) for name in ("strides", "dilations"))
    made = image
    for first in range(count - 1, -1, -2):
        dims = list(range(max(0, first - 1), first + 1))
        made = _pooled(trace, made, dims, [
            (kernel[dim], stride[dim], dilation[dim], padding[dim], padding[count + dim])
            for dim in dims
        ])  # fmt: skip
    return trace.done(call, made)


def _pooled(
    trace: GraphRecorder, x: Dynamic, dims: list[int], windows: list[tuple[int, ...]]
) -> Dynamic:
    moved, back = last(trace, x, [2 + dim for dim in dims])
    *outer, width = moved.shape if len(dims) > 1 else (*moved.shape[:-1], 1, moved.shape[-1])
    *front, height = outer
    windows = windows if len(dims) > 1 else [(1, 1, 1, 0, 0), *windows]
    image = trace.move("reshape", moved, (1, math.prod(front), height, width))
    kernel, stride, dilation, first, second = (tuple(pair) for pair in zip(*windows, strict=True))
    made = trace.apply(
        "max_pool", image, kernel=kernel, stride=stride, padding=(*first, *second),
        dilation=dilation,
    )  # fmt: skip
    size = made.shape[-2:] if len(dims) > 1 else made.shape[-1:]
    pooled: Dynamic = trace.move("permute", trace.move("reshape", made, (*front, *size)), back)
    return pooled


def _average_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    """A mean of windows; where borders count otherwise than pixels, a matrix."""
    image = operand(call, 0)
    kernel = tuple(call.arguments.get("kernel_shape", image.shape[2:]))
    padding = _padding(call, kernel, image.shape)
    given = tuple(call.arguments.get("pads") or (0,) * 2 * len(kernel))
    borders = any(padding) and not (call.arguments.get("count_include_pad") and given == padding)
    dilated = any(step != 1 for step in call.arguments.get("dilations", ()))
    if len(kernel) != 2 or borders or dilated or image.shape[0] != 1:
        return by_matrix(trace, call)
    made = trace.apply(
        "avg_pool", image, kernel=kernel, stride=_spread(call, "strides", 2), padding=padding
    )
    return trace.done(call, made)


def _layer_norm(trace: GraphRecorder, call: OperatorCall) -> Any:
    x = operand(call, 0)
    axis = call.arguments.get("axis", -1) % len(x.shape)
    return _normed(trace, call, x, axis, [operand(call, at) for at in (1, 2)])


def _normed(trace: GraphRecorder, call: OperatorCall, x: Any, axis: int, weights: Any) -> Any:
    """LAYERNORM over the dimensions from `axis` on, then weights and bias that broadcast."""
    eps, inner = float(call.arguments.get("epsilon", 1e-5)), math.prod(x.shape[axis:])
    weight, bias = weights
    plain = not any(isinstance(side, Dynamic) for side in weights)
    if (
        plain
        and axis == len(x.shape) - 1
        and all(side is None or side.ndim < 2 for side in weights)
    ):
        return trace.apply("layer_norm", x, weight, bias, eps=eps)
    rows = trace.move("reshape", x, (-1, inner))
    made: Any = trace.apply("layer_norm", rows, None, None, eps=eps)
    made = trace.move("reshape", made, x.shape)
    made = made if weight is None else trace.calculate("mul", made, weight)
    return made if bias is None else trace.calculate("add", made, bias)


def _group_norm(trace: GraphRecorder, call: OperatorCall) -> Any:
    """Of groups of channels, each with all its pixels; instances are groups of one channel."""
    x = operand(call, 0)
    groups = int(call.arguments.get("num_groups", x.shape[1]))
    tall = trace.move("reshape", x, (x.shape[0] * groups, -1))
    made = trace.move("reshape", _normed(trace, call, tall, 1, (None, None)), x.shape)
    weight, bias = (_by_channel(trace, operand(call, at), len(x.shape)) for at in (1, 2))
    return trace.calculate("add", trace.calculate("mul", made, weight), bias)


def _by_channel(trace: GraphRecorder, values: Any, rank: int) -> Any:
    return trace.move("reshape", values, (-1, *(1,) * (rank - 2)))


def _batch_norm(trace: GraphRecorder, call: OperatorCall) -> Values:
    if call.arguments.get("training_mode"):
        raise trace.refuse(call.name, "it is in training mode", instead="export in eval mode")
    x = operand(call, 0)
    sides = [operand(call, at) for at in range(1, 5)]
    eps = call.arguments.get("epsilon", 1e-5)
    if isinstance(x, Dynamic) and not any(isinstance(side, Dynamic) for side in sides):
        names = ("weight", "bias", "running_mean", "running_var")
        arguments = {"input": x, **dict(zip(names, sides, strict=True)), "eps": eps}
        return aten.CONVERTERS["batch_norm"](
            trace, OperatorCall("batch_norm", arguments, call.outputs, call.results)
        )
    weight, bias, mean, var = (_by_channel(trace, side, len(x.shape)) for side in sides)
    scale = trace.calculate("mul", trace.function(("rsqrt", ("add", X, eps)), var), weight)
    made = trace.calculate("mul", trace.calculate("sub", x, mean), scale)
    return trace.done(call, trace.calculate("add", made, bias))


def _local_norm(trace: GraphRecorder, call: OperatorCall) -> Any:
    """LRN: the sum over neighbouring channels is a product with a band of ones."""
    x = operand(call, 0)
    size, count = int(call["size"]), x.shape[1]
    places = torch.arange(count)
    apart = places[None] - places[:, None]
    band = ((apart >= -((size - 1) // 2)) & (apart <= size // 2)).float()
    squares, back = last(trace, trace.function(("mul", X, X), x), [1])
    total = trace.move("permute", trace.apply("linear", squares, band, None), back)
    alpha, beta = (float(call.arguments.get(n, d)) for n, d in (("alpha", 1e-4), ("beta", 0.75)))
    inner = ("add", float(call.arguments.get("bias", 1.0)), ("mul", X, alpha / size))
    return trace.calculate("mul", x, trace.function(("pow", inner, -beta), total))


def _softmax(trace: GraphRecorder, call: OperatorCall) -> Any:
    rows, back = last(trace, operand(call, 0), [call.arguments.get("axis", -1)])
    return trace.move("permute", trace.apply("softmax", rows), back)


def _hard_max(trace: GraphRecorder, call: OperatorCall) -> Any:
    rows, back = last(trace, operand(call, 0), [call.arguments.get("axis", -1)])
    place, count = trace.apply("argmax", rows), rows.shape[-1]
    wide = trace.move("reshape", place, (*place.shape, 1))
    wide = trace.move("expand", wide, rows.shape)
    ones = trace.function(NEAR_ZERO, trace.calculate("sub", wide, torch.arange(count)))
    return trace.move("permute", ones, back)


def _lp_norm(trace: GraphRecorder, call: OperatorCall) -> Any:
    x = operand(call, 0)
    axis, power = call.arguments.get("axis", -1) % len(x.shape), call.arguments.get("p", 2)
    if power == 1:
        size = trace.apply("sum", trace.function(("abs", X), x), dims=(axis,), keep=True)
    elif axis == len(x.shape) - 1:
        size = trace.apply("norm", x)
    else:
        squares = trace.function(("mul", X, X), x)
        total = trace.apply("sum", squares, dims=(axis,), keep=True)
        size = trace.function(("sqrt", X), total)
    return trace.calculate("div", x, size)


LAYERS: Mapping[str, Converter] = {
    "Gemm": _gemm, "MatMul": composed(_matmul), "Conv": _conv, "ConvTranspose": _conv_transposed,
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), _max_pool),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool"), _average_pool),
    "BatchNormalization": _batch_norm, "LayerNormalization": composed(_layer_norm),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization"), composed(_group_norm)),
    "LRN": composed(_local_norm), "LpNormalization": composed(_lp_norm),
    "Softmax": composed(_softmax), "Hardmax": composed(_hard_max),
}  # fmt: skip
