"""What each ONNX operator is in the float graph.

Most are the ATen converters under other argument names; source: onnx/docs/Operators.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.exact.frontends import aten
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import Expression, X, clamp

SHAPE_ONLY = frozenset({"Shape", "Size", "ConstantOfShape"})


def _operand(call: OperatorCall, at: int) -> Any:
    parts = call[""]
    return parts[at] if at < len(parts) else None


def _ints(call: OperatorCall, name: str, at: int) -> list[int] | None:
    """Return a list that older opsets keep in an attribute, newer ones in an operand."""
    if name in call.arguments:
        return [int(value) for value in call[name]]
    part = _operand(call, at)
    return None if part is None else [int(value) for value in torch.as_tensor(part).flatten()]


def _as_aten(
    name: str, make: Callable[[GraphRecorder, OperatorCall], Mapping[str, Any]]
) -> Converter:
    """Return the ATen converter `name`, with the arguments that `make` gives it."""

    def convert(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
        return aten.CONVERTERS[name](
            trace, OperatorCall(name, make(trace, call), call.outputs, call.results)
        )

    return convert


def _gemm(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    a, b, c = (_operand(call, at) for at in range(3))
    plain = call.arguments.get("alpha", 1.0) == 1.0 and call.arguments.get("beta", 1.0) == 1.0
    if not plain or call.arguments.get("transA", 0) or isinstance(b, Dynamic):
        raise trace.refuse("Gemm", "it is not a linear layer", instead="MatMul and Add")
    weight = b if call.arguments.get("transB", 0) else b.t().contiguous()
    return {"input": a, "weight": weight, "bias": None if c is None else c.flatten()}


def _conv(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    image, weight, bias = (_operand(call, at) for at in range(3))
    inputs = [image.name, trace.name_of(weight, "weight"), trace.name_of(bias, "bias")]
    if weight.ndim != 4 or isinstance(weight, Dynamic):
        raise trace.refuse("Conv", "only 2-d images are convolved", instead="a 2-d convolution")
    kernel = tuple(weight.shape[2:])
    name = trace.emit(
        "conv2d", inputs, call.output, call.shape, stride=_stride(call),
        padding=_padding(trace, call, kernel, image.shape),
        dilation=tuple(call.arguments.get("dilations", (1, 1))),
        groups=int(call.arguments.get("group", 1)),
    )  # fmt: skip
    return {call.output: Dynamic(name, call.results[0])}


def _stride(call: OperatorCall) -> tuple[int, ...]:
    return tuple(call.arguments.get("strides", (1, 1)))


def _padding(
    trace: GraphRecorder, call: OperatorCall, kernel: tuple[int, ...], image: tuple[int, ...]
) -> tuple[int, ...]:
    """Return (top, left, bottom, right)."""
    mode = call.arguments.get("auto_pad", b"NOTSET").decode()
    if mode == "VALID":
        return (0, 0, 0, 0)
    if mode == "NOTSET":
        return tuple(call.arguments.get("pads", (0, 0, 0, 0)))
    dilation = call.arguments.get("dilations", (1, 1))
    if call.arguments.get("ceil_mode"):
        raise trace.refuse(call.name, "ceil_mode", instead="explicit padding")
    first, second = [], []
    for size, out, step, width, spread in zip(
        image[2:], call.shape[2:], _stride(call), kernel, dilation, strict=True
    ):
        total = max(0, (out - 1) * step + (width - 1) * spread + 1 - size)
        small, large = total // 2, total - total // 2
        first.append(small if mode == "SAME_UPPER" else large)
        second.append(large if mode == "SAME_UPPER" else small)
    return (*first, *second)


def _pool(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    image = _operand(call, 0)
    kernel = tuple(call["kernel_shape"])
    padding = _padding(trace, call, kernel, image.shape)
    if call.arguments.get("ceil_mode"):
        raise trace.refuse(call.name, "ceil_mode", instead="explicit padding")
    average = call.name == "AveragePool"
    if average and any(padding) and not call.arguments.get("count_include_pad"):
        raise trace.refuse(
            call.name, "its divisor depends on the place", instead="count_include_pad=1"
        )
    name = trace.emit(
        "avg_pool" if average else "max_pool", [image.name], call.output, call.shape,
        kernel=kernel, stride=_stride(call), padding=padding,
        dilation=tuple(call.arguments.get("dilations", (1, 1))),
    )  # fmt: skip
    return {call.output: Dynamic(name, call.results[0])}


def _global_pool(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    image = _operand(call, 0)
    kernel = image.shape[2:]
    name = trace.emit(
        "avg_pool" if call.name == "GlobalAveragePool" else "max_pool", [image.name], call.output,
        call.shape, kernel=kernel, stride=kernel, padding=(0, 0, 0, 0), dilation=(1, 1),
    )  # fmt: skip
    return {call.output: Dynamic(name, call.results[0])}


def _reduced(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {
        "self": _operand(call, 0),
        "dim": _ints(call, "axes", 1),
        "keepdim": call.arguments.get("keepdims", 1),
    }


def _concat(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"tensors": call[""], "dim": call["axis"]}


def _gather(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    """An embedding when ids are given and the table constant; a slice when one id is constant."""
    table, ids = _operand(call, 0), _operand(call, 1)
    axis = call.arguments.get("axis", 0)
    if isinstance(ids, Dynamic) and not isinstance(table, Dynamic) and axis == 0:
        return aten.CONVERTERS["embedding"](
            trace,
            OperatorCall(
                "embedding", {"weight": table, "indices": ids}, call.outputs, call.results
            ),
        )
    if isinstance(table, Dynamic) and not isinstance(ids, Dynamic) and ids.numel() == 1:
        axis %= len(table.shape)
        index = int(ids) % table.shape[axis]
        shape = [size if dim != axis else 1 for dim, size in enumerate(table.shape)]
        part = trace.emit(
            "slice", [table.name], trace.fresh(call.output), shape, dim=axis, start=index, step=1,
            size=1,
        )  # fmt: skip
        name = trace.emit("reshape", [part], call.output, call.shape, shape=call.shape)
        return {call.output: Dynamic(name, call.results[0])}
    raise trace.refuse("Gather", "it looks up several places", instead="Slice, or one index")


def _slice(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    given = _operand(call, 0)
    starts, ends = _ints(call, "starts", 1), _ints(call, "ends", 2)
    assert starts is not None
    assert ends is not None
    axes = _ints(call, "axes", 3) or list(range(len(starts)))
    steps = _ints(call, "steps", 4) or [1] * len(starts)
    name, shape = given.name, list(given.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise trace.refuse("Slice", f"a step of {step}", instead="positive steps")
        dim = axis % len(shape)
        places = range(shape[dim])[start:end:step]
        shape[dim] = len(places)
        name = trace.emit(
            "slice", [name], trace.fresh(call.output), shape, dim=dim, start=places.start,
            step=step, size=len(places),
        )  # fmt: skip
    return {call.output: Dynamic(name, call.results[0])}


def _split(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": _operand(call, 0), "dim": call.arguments.get("axis", 0)}


def _where(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    condition, a, b = (_operand(call, at) for at in range(3))
    return {"condition": condition, "self": a, "other": b}


def _layer_norm(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    given = _operand(call, 0)
    if call.arguments.get("axis", -1) not in (-1, len(given.shape) - 1):
        raise trace.refuse(call.name, "it is over several dimensions", instead="the last one")
    return {
        "input": given, "normalized_shape": [given.shape[-1]], "weight": _operand(call, 1),
        "bias": _operand(call, 2), "eps": call.arguments.get("epsilon", 1e-5),
    }  # fmt: skip


def _batch_norm(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    if call.arguments.get("training_mode"):
        raise trace.refuse(call.name, "it is in training mode", instead="export in eval mode")
    names = ("input", "weight", "bias", "running_mean", "running_var")
    arguments: dict[str, Any] = {name: _operand(call, at) for at, name in enumerate(names)}
    return {**arguments, "eps": call.arguments.get("epsilon", 1e-5)}


def _permuted(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    given = _operand(call, 0)
    return {"self": given, "dims": call.arguments.get("perm", range(len(given.shape))[::-1])}


def _softmax(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": _operand(call, 0), "dim": call.arguments.get("axis", -1)}


def _argmax(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": _operand(call, 0), "dim": call.arguments.get("axis", 0)}


def _only(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": _operand(call, 0)}


def _both(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    return {"self": _operand(call, 0), "other": _operand(call, 1)}


def _clip(call: OperatorCall) -> Expression:
    limits = [call.arguments.get(name, _operand(call, at)) for at, name in ((1, "min"), (2, "max"))]
    return clamp(X, *(None if limit is None else float(limit) for limit in limits))


def _function(make: Callable[[OperatorCall], Expression]) -> Converter:
    def convert(trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
        name = trace.emit(
            "pointwise", [_operand(call, 0).name], call.output, call.shape, expression=make(call)
        )
        return {call.output: Dynamic(name, call.results[0])}

    return convert


def _named(name: str) -> Converter:
    return _function(lambda _call: (name, X))


def _leaky(call: OperatorCall) -> Expression:
    return ("where", ("lt", X, 0.0), ("mul", X, call.arguments.get("alpha", 0.01)), X)


CONVERTERS: Mapping[str, Converter] = {
    "Gemm": _as_aten("linear", _gemm), "MatMul": _as_aten("matmul", _both), "Conv": _conv,
    "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool,
    "BatchNormalization": _as_aten("batch_norm", _batch_norm),
    "LayerNormalization": _as_aten("layer_norm", _layer_norm),
    "Softmax": _as_aten("softmax", _softmax), "ArgMax": _as_aten("argmax", _argmax),
    "ReduceMean": _as_aten("mean", _reduced), "ReduceSum": _as_aten("sum", _reduced),
    "ReduceL2": _as_aten("norm", _reduced),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _as_aten("reshape", _only)),
    "Transpose": _as_aten("permute", _permuted), "Expand": _as_aten("expand", _only),
    "Concat": _as_aten("cat", _concat), "Slice": _slice, "Split": _as_aten("split", _split),
    "Gather": _gather, "Where": _as_aten("where", _where),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _as_aten("clone", _only)),
    **{
        name: _as_aten(aten_name, _both)
        for name, aten_name in (
            ("Add", "add"), ("Sub", "sub"), ("Mul", "mul"), ("Div", "div"), ("Equal", "eq"),
            ("Less", "lt"), ("LessOrEqual", "le"), ("Greater", "gt"), ("GreaterOrEqual", "ge"),
        )
    },
    **{
        name: _named(function)
        for name, function in (
            ("Tanh", "tanh"), ("Sigmoid", "sigmoid"), ("Erf", "erf"), ("Exp", "exp"),
            ("Log", "log"), ("Sqrt", "sqrt"), ("Reciprocal", "reciprocal"), ("Abs", "abs"),
            ("Neg", "neg"), ("Not", "not"), ("HardSwish", "hardswish"), ("Mish", "mish"),
        )
    },
    "Relu": _function(lambda _call: clamp(X, 0.0, None)), "Clip": _function(_clip),
    "LeakyRelu": _function(_leaky),
    "Gelu": _function(
        lambda call: ("gelu_tanh" if call.arguments.get("approximate") == b"tanh" else "gelu", X)
    ),
    "Pow": _function(lambda call: ("pow", X, float(_operand(call, 1)))),
}  # fmt: skip
