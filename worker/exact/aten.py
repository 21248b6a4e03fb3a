"""What each ATen operator is in the float graph: one small converter a family.

A converter appends nodes and returns the values of the call's outputs by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.exact.expressions import Expression, X, clamp
from worker.exact.tracing import Call, Dynamic, Trace

Values = Mapping[str, Any]
Converter = Callable[[Trace, Call], Values]

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


def _first(call: Call, name: str) -> Values:
    return {call.output: Dynamic(name, call.results[0])}


def _linear(trace: Trace, call: Call) -> Values:
    inputs = [trace.name_of(call["input"]), *_weights(trace, call)]
    return _first(call, trace.emit("linear", inputs, call.output, call.shape))


def _weights(trace: Trace, call: Call) -> list[str | None]:
    for name in ("weight", "bias"):
        if isinstance(call[name], Dynamic):
            raise trace.refuse(
                call.name, f"its {name} depends on the input", instead="use constant weights"
            )
    return [trace.name_of(call["weight"], "weight"), trace.name_of(call["bias"], "bias")]


def _addmm(trace: Trace, call: Call) -> Values:
    if call["alpha"] != 1 or call["beta"] != 1 or isinstance(call["mat2"], Dynamic):
        raise trace.refuse("addmm", "it is not a linear layer", instead="write x @ w + b")
    weight = trace.constant(call["mat2"].t().contiguous(), "weight")
    inputs = [trace.name_of(call["mat1"]), weight, trace.name_of(call["self"], "bias")]
    return _first(call, trace.emit("linear", inputs, call.output, call.shape))


def _matmul(trace: Trace, call: Call) -> Values:
    a = call.arguments.get("self")
    b = call.arguments.get("other", call.arguments.get("mat2"))
    if not isinstance(b, Dynamic) and b.ndim == 2:
        weight = trace.constant(b.t().contiguous(), "weight")
        inputs = [trace.name_of(a), weight, None]
        return _first(call, trace.emit("linear", inputs, call.output, call.shape))
    inputs = [trace.name_of(a, "operand"), trace.name_of(b, "operand")]
    return _first(call, trace.emit("matmul", inputs, call.output, call.shape))


def _convolution(trace: Trace, call: Call) -> Values:
    if call.arguments.get("transposed"):
        raise trace.refuse(
            "transposed convolution", "it has no integer form here",
            instead="use nearest-neighbour upsampling before an ordinary convolution",
        )  # fmt: skip
    if len(call["input"].shape) != 4 or call["input"].shape[0] != 1:
        raise trace.refuse(call.name, "only 2-d images are convolved", instead="use conv2d")
    padding = call["padding"]
    vertical, horizontal = _pair(padding)
    inputs = [trace.name_of(call["input"]), *_weights(trace, call)]
    name = trace.emit(
        "conv2d", inputs, call.output, call.shape, stride=_pair(call["stride"]),
        padding=(vertical, horizontal, vertical, horizontal),
        dilation=_pair(call["dilation"]), groups=int(call["groups"]),
    )  # fmt: skip
    return _first(call, name)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, second = int(value[0]), int(value[-1])
    return first, second


def _batch_norm(trace: Trace, call: Call) -> Values:
    mean, var = (call[name].to(torch.float64) for name in ("running_mean", "running_var"))
    scale = 1 / torch.sqrt(var + call["eps"])
    if call["weight"] is not None:
        scale = scale * call["weight"]
    offset = -mean * scale + (0 if call["bias"] is None else call["bias"])
    rank = len(call["input"].shape)
    shape = (-1, *(1,) * (rank - 2))
    name = trace.emit(
        "affine", [call["input"].name], call.output, call.shape,
        scale=scale.reshape(shape).numpy(), offset=offset.reshape(shape).numpy(),
    )  # fmt: skip
    return _first(call, name)


def _layer_norm(trace: Trace, call: Call) -> Values:
    if len(call["normalized_shape"]) != 1:
        raise trace.refuse(
            "layer_norm", "it is over several dimensions", instead="normalise the last one"
        )
    inputs = [call["input"].name, *_weights(trace, call)]
    name = trace.emit("layer_norm", inputs, call.output, call.shape, eps=float(call["eps"]))
    return _first(call, name)


def _softmax(trace: Trace, call: Call) -> Values:
    given = call["self"]
    if call["dim"] not in (-1, len(given.shape) - 1):
        raise trace.refuse("softmax", "it is not over the last dimension", instead="transpose")
    return _first(call, trace.emit("softmax", [given.name], call.output, call.shape))


def _attention(trace: Trace, call: Call) -> Values:
    """Scaled dot-product attention as its parts: scores, mask, softmax, mixture."""
    query, key, value, mask = (call[name] for name in ("query", "key", "value", "attn_mask"))
    if call.arguments.get("is_causal"):
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    factor = call["scale"] or query.shape[-1] ** -0.5
    *batch, tokens, width = key.shape
    turned = trace.emit(
        "permute", [key.name], trace.fresh("key"), (*batch, width, tokens),
        dims=(*range(len(batch)), len(batch) + 1, len(batch)),
    )  # fmt: skip
    shape = (*query.shape[:-1], tokens)
    scores = trace.emit("matmul", [query.name, turned], trace.fresh("scores"), shape)
    sample = query.sample @ key.sample.transpose(-1, -2)
    scores = trace.arithmetic("mul", Dynamic(scores, sample), factor, trace.fresh("scores"), shape)
    sample = sample * factor
    if mask is not None:
        scores = _masked(trace, Dynamic(scores, sample), mask, trace.fresh("scores"))
    weights = trace.emit("softmax", [scores], trace.fresh("weights"), shape)
    return _first(call, trace.emit("matmul", [weights, value.name], call.output, call.shape))


def _masked(trace: Trace, scores: Dynamic, mask: Any, output: str) -> str:
    sample = mask.sample if isinstance(mask, Dynamic) else mask
    if sample.dtype != torch.bool:
        return trace.arithmetic("add", scores, mask, output, scores.shape)
    keep = mask if isinstance(mask, Dynamic) else Dynamic(trace.constant(mask, "mask"), mask)
    return trace.emit(
        "masked_fill", [scores.name, keep.name], output, scores.shape, where=0, value=-1e30
    )


def _embedding(trace: Trace, call: Call) -> Values:
    inputs = [call["indices"].name, trace.constant(call["weight"], "table")]
    return _first(call, trace.emit("embedding", inputs, call.output, call.shape))


def _max_pool(trace: Trace, call: Call) -> Values:
    padding = _pair(call["padding"])
    name = trace.emit(
        "max_pool", [call["self"].name], call.output, call.shape,
        kernel=_pair(call["kernel_size"]), stride=_pair(call["stride"] or call["kernel_size"]),
        padding=padding * 2, dilation=_pair(call["dilation"]),
    )  # fmt: skip
    return _first(call, name)


def _avg_pool(trace: Trace, call: Call) -> Values:
    padding = _pair(call["padding"])
    if (padding != (0, 0) and not call["count_include_pad"]) or call["divisor_override"]:
        raise trace.refuse(
            "avg_pool2d", "its divisor depends on the place", instead="count_include_pad=True"
        )
    name = trace.emit(
        "avg_pool", [call["self"].name], call.output, call.shape, padding=padding * 2,
        kernel=_pair(call["kernel_size"]), stride=_pair(call["stride"] or call["kernel_size"]),
    )  # fmt: skip
    return _first(call, name)


def _adaptive_pool(trace: Trace, call: Call) -> Values:
    rows, cols = call["self"].shape[-2:]
    out_rows, out_cols = call.shape[-2:]
    if rows % out_rows or cols % out_cols:
        raise trace.refuse(
            "adaptive pooling", f"{rows} × {cols} is no multiple of {out_rows} × {out_cols}",
            instead="use avg_pool2d with a kernel and a stride",
        )  # fmt: skip
    kernel = (rows // out_rows, cols // out_cols)
    name = trace.emit(
        "avg_pool", [call["self"].name], call.output, call.shape,
        kernel=kernel, stride=kernel, padding=(0, 0, 0, 0),
    )  # fmt: skip
    return _first(call, name)


def _reduce(trace: Trace, call: Call) -> Values:
    given = call["self"]
    dims = call["dim"]
    dims = range(len(given.shape)) if dims in (None, []) else dims
    dims = [dims] if isinstance(dims, int) else dims
    dims = tuple(sorted(dim % len(given.shape) for dim in dims))
    name = trace.emit(
        call.name, [given.name], call.output, call.shape, dims=dims, keep=bool(call["keepdim"])
    )
    return _first(call, name)


def _norm(trace: Trace, call: Call) -> Values:
    given, dims = call["self"], call["dim"]
    if call.arguments.get("ord", call.arguments.get("p", 2)) not in (2, 2.0) or dims not in (
        [-1],
        [len(given.shape) - 1],
    ):
        raise trace.refuse(
            "norm", "only a final division by the length of the last dimension is known",
            instead="torch.nn.functional.normalize(x, dim=-1)",
        )  # fmt: skip
    return _first(call, trace.emit("norm", [given.name], call.output, call.shape))


def _reshape(trace: Trace, call: Call) -> Values:
    given = call.arguments.get("self")
    return _first(
        call, trace.emit("reshape", [given.name], call.output, call.shape, shape=call.shape)
    )


def _permute(trace: Trace, call: Call) -> Values:
    given = call["self"]
    rank = len(given.shape)
    marks = torch.empty([1] * rank).as_strided([1] * rank, list(range(1, rank + 1)))
    arguments = {k: v for k, v in call.arguments.items() if k != "self"}
    turned = getattr(torch, call.name)(marks, *arguments.values())
    dims = tuple(stride - 1 for stride in turned.stride())
    return _first(call, trace.emit("permute", [given.name], call.output, call.shape, dims=dims))


def _expand(trace: Trace, call: Call) -> Values:
    given = call["self"]
    return _first(
        call, trace.emit("expand", [given.name], call.output, call.shape, shape=call.shape)
    )


def _part(
    trace: Trace, given: Dynamic, dim: int, start: int, step: int, size: int, output: str
) -> str:
    shape = list(given.shape)
    shape[dim] = size
    return trace.emit(
        "slice", [given.name], output, shape, dim=dim, start=start, step=step, size=size
    )


def _slice(trace: Trace, call: Call) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    start = min(int(call["start"] or 0) % (2**63), given.shape[dim])
    if call["start"] is not None and call["start"] < 0:
        start = max(0, given.shape[dim] + call["start"])
    name = _part(trace, given, dim, start, int(call["step"]), call.shape[dim], call.output)
    return _first(call, name)


def _select(trace: Trace, call: Call) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    index = call["index"] % given.shape[dim]
    part = _part(trace, given, dim, index, 1, 1, trace.fresh(call.output))
    return _first(call, trace.emit("reshape", [part], call.output, call.shape, shape=call.shape))


def _split(trace: Trace, call: Call) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    values, start = {}, 0
    for output, result in zip(call.outputs, call.results, strict=True):
        if call.name == "unbind":
            part = _part(trace, given, dim, start, 1, 1, trace.fresh(output))
            trace.emit("reshape", [part], output, result.shape, shape=tuple(result.shape))
            start += 1
        else:
            _part(trace, given, dim, start, 1, result.shape[dim], output)
            start += result.shape[dim]
        values[output] = Dynamic(output, result)
    return values


def _concat(trace: Trace, call: Call) -> Values:
    parts, dim = call["tensors"], call["dim"]
    dim = dim % len(call.shape)
    names = []
    for part in parts:
        name = trace.name_of(part, "operand")
        if call.name == "stack":
            shape = list(part.shape)
            shape.insert(dim, 1)
            name = trace.emit("reshape", [name], trace.fresh(call.output), shape, shape=shape)
        names.append(name)
    return _first(call, trace.emit("concat", names, call.output, call.shape, dim=dim))


def _argmax(trace: Trace, call: Call) -> Values:
    given, dim = call["self"], call["dim"]
    if dim not in (-1, len(given.shape) - 1):
        raise trace.refuse("argmax", "it is not over the last dimension", instead="transpose")
    return _first(call, trace.emit("argmax", [given.name], call.output, call.shape))


def _same(_trace: Trace, call: Call) -> Values:
    given = call.arguments.get("self", call.arguments.get("input"))
    return {call.output: Dynamic(given.name, call.results[0])}


def _pointwise(make: Callable[[Call], Expression]) -> Converter:
    def convert(trace: Trace, call: Call) -> Values:
        given = call.arguments.get("self", call.arguments.get("input"))
        name = trace.emit("pointwise", [given.name], call.output, call.shape, expression=make(call))
        return _first(call, name)

    return convert


def _named(name: str) -> Converter:
    return _pointwise(lambda _call: (name, X))


def _binary(name: str) -> Converter:
    def convert(trace: Trace, call: Call) -> Values:
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
        return _first(call, trace.arithmetic(name, a, b, call.output, call.shape))

    return convert


def _where(trace: Trace, call: Call) -> Values:
    condition, a, b = call["condition"], call["self"], call["other"]
    if not isinstance(a, Dynamic) and not isinstance(b, Dynamic):
        parts = [float(torch.as_tensor(side).flatten()[0]) for side in (a, b)]
        name = trace.emit(
            "pointwise", [condition.name], trace.fresh("where"), condition.shape,
            expression=("where", X, *parts),
        )  # fmt: skip
        name = trace.emit("expand", [name], call.output, call.shape, shape=call.shape)
        return _first(call, name)
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
    return _first(call, name)


def _masked_fill(trace: Trace, call: Call) -> Values:
    inputs = [trace.name_of(call["self"], "operand"), trace.name_of(call["mask"], "mask")]
    value = float(call["value"])
    name = trace.emit("masked_fill", inputs, call.output, call.shape, where=1, value=value)
    return _first(call, name)


def _clamp(call: Call) -> Expression:
    low, high = call.arguments.get("min"), call.arguments.get("max")
    if call.name == "hardtanh":
        low, high = call["min_val"], call["max_val"]
    return clamp(X, low, high)


def _elu(call: Call) -> Expression:
    grown = ("mul", ("sub", ("exp", ("minimum", X, 0.0)), 1.0), float(call["alpha"]))
    return ("where", ("lt", X, 0.0), grown, X)


CONVERTERS: Mapping[str, Converter] = {
    "linear": _linear, "addmm": _addmm,
    **dict.fromkeys(("mm", "bmm", "matmul"), _matmul),
    **dict.fromkeys(("conv2d", "convolution"), _convolution),
    **dict.fromkeys(
        ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm"), _batch_norm
    ),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    "scaled_dot_product_attention": _attention, "embedding": _embedding,
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), _max_pool),
    "avg_pool2d": _avg_pool,
    **dict.fromkeys(("adaptive_avg_pool2d", "_adaptive_avg_pool2d"), _adaptive_pool),
    **dict.fromkeys(("mean", "sum"), _reduce),
    **dict.fromkeys(("linalg_vector_norm", "norm"), _norm),
    **dict.fromkeys(
        ["flatten", "reshape", "view", "_unsafe_view", "unsqueeze", "squeeze", "unflatten", "view_as"], _reshape
    ),
    **dict.fromkeys(("permute", "transpose", "t", "movedim"), _permute),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    "slice": _slice, "select": _select,
    **dict.fromkeys(("split", "chunk", "split_with_sizes", "unbind"), _split),
    **dict.fromkeys(("cat", "stack"), _concat),
    "argmax": _argmax,
    **dict.fromkeys(
        ["to", "_to_copy", "type_as", "contiguous", "clone", "dropout", "feature_dropout", "detach", "detach_", "lift_fresh_copy", "alias"],
        _same,
    ),
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
