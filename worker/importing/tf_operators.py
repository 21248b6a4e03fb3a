"""Operators of ONNX in TensorFlow, each with the meaning of https://onnx.ai/onnx/operators.

Of opset 13 and newer. Runs in TensorFlow's own Python. What a graph answers is held to the served
model afterwards, so an operator may be narrow; it must never be wrong in silence.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf  # type: ignore[import-untyped]  # of its own Python

from worker.errors import ModelUnsupported

Attributes = Mapping[str, Any]
Given = Sequence[Any]  # tensors; None where an optional one is left out
Operator = Callable[[Given, Attributes], Any]  # a tensor, or several


def whole(tensor: Any) -> list[int]:
    """Return sizes, axes or places that must be known when the graph is written.

    Raises:
        ModelUnsupported: they are computed from an input.
    """
    found = None if tensor is None else tf.get_static_value(tensor)
    if tensor is not None and found is None:
        raise ModelUnsupported("axes that are computed from an input have no form in TensorFlow")
    return [] if found is None else [int(n) for n in np.ravel(found)]


def padded(given: Given, count: int) -> list[Any]:
    """Return so many inputs; None stands for those that are left out."""
    return [*given, *[None] * (count - len(given))]


def rank(x: Any) -> int:
    """Return how many axes a tensor has.

    Raises:
        ModelUnsupported: it is not known.
    """
    if x.shape.rank is None:
        raise ModelUnsupported("a tensor whose number of axes is open has no form in TensorFlow")
    return int(x.shape.rank)


def sizes(x: Any) -> Any:
    """Return the shape as int64."""
    return tf.shape(x, out_type=tf.int64)


def _kind(number: int) -> Any:
    return tf.as_dtype(onnx.helper.tensor_dtype_to_np_dtype(number))


def _broadcast(a: Any, b: Any) -> list[Any]:
    shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
    return [tf.broadcast_to(a, shape), tf.broadcast_to(b, shape)]


# ── Products ────────────────────────────────────────────────────────────────────────────────────
def _gemm(given: Given, a: Attributes) -> Any:
    x, w, bias = padded(given, 3)
    found = tf.matmul(x, w, transpose_a=bool(a.get("transA")), transpose_b=bool(a.get("transB")))
    if (alpha := a.get("alpha", 1.0)) != 1.0:
        found = found * tf.cast(alpha, x.dtype)
    if bias is None:
        return found
    beta = a.get("beta", 1.0)
    return found + (bias if beta == 1.0 else bias * tf.cast(beta, x.dtype))


def _matmul(given: Given, _: Attributes) -> Any:
    a, b = given
    if rank(a) == 1 and rank(b) == 1:
        return tf.reduce_sum(a * b)
    if rank(a) == 1:
        return tf.squeeze(tf.matmul(a[None], b), -2)
    if rank(b) == 1:
        return tf.linalg.matvec(a, b)
    return tf.matmul(a, b)


# ── Windows: ONNX has channels before places, TensorFlow computes with channels last ────────────
def _last(x: Any) -> Any:
    n = rank(x)
    return tf.transpose(x, [0, *range(2, n), 1])


def _first(x: Any) -> Any:
    n = rank(x)
    return tf.transpose(x, [0, n - 1, *range(1, n - 1)])


def _borders(x: Any, a: Attributes, kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Return the border before and after each place's axis.

    Raises:
        ModelUnsupported: SAME of a size that is open.
    """
    places, kind = len(kernel), a.get("auto_pad", b"NOTSET")
    if kind in (b"NOTSET", b"VALID"):
        pads = list(a.get("pads", ())) if kind == b"NOTSET" else []
        pads = pads or [0] * 2 * places
        return list(zip(pads[:places], pads[places:], strict=True))
    strides, dilations = (a.get(name, [1] * places) for name in ("strides", "dilations"))
    found = []
    for axis in range(places):
        size = x.shape[2 + axis]
        if size is None:
            raise ModelUnsupported(f"auto_pad {kind.decode()} of an open size")
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
        half = (total // 2, total - total // 2)
        found.append(half if kind == b"SAME_UPPER" else half[::-1])
    return found


def _bordered(x: Any, borders: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    if not any(map(any, borders)):
        return x
    if any(side < 0 for border in borders for side in border):
        raise ModelUnsupported("negative borders have no form in TensorFlow")
    return tf.pad(x, [(0, 0), (0, 0), *borders], constant_values=tf.cast(value, x.dtype))


def _conv(given: Given, a: Attributes) -> Any:
    x, w, bias = padded(given, 3)
    kernel = list(w.shape[2:])
    places, groups = len(kernel), a.get("group", 1)
    strides, dilations = (list(a.get(name, [1] * places)) for name in ("strides", "dilations"))
    x = _last(_bordered(x, _borders(x, a, kernel), 0.0))
    filters = tf.transpose(w, [*range(2, places + 2), 1, 0])  # places, in, out

    def one(part: Any, weights: Any) -> Any:
        return tf.nn.convolution(part, weights, strides, "VALID", dilations=dilations)

    if groups == 1:
        found = one(x, filters)
    else:  # no kernel of TensorFlow's for groups runs everywhere
        depthwise = w.shape[1] == 1 and places == 2 and max(dilations) == 1
        if depthwise and strides[0] == strides[1]:
            filters = tf.reshape(filters, [*kernel, groups, w.shape[0] // groups])
            found = tf.nn.depthwise_conv2d(x, filters, [1, *strides, 1], "VALID")
        else:
            parts = zip(tf.split(x, groups, -1), tf.split(filters, groups, -1), strict=True)
            found = tf.concat([one(*part) for part in parts], -1)
    return _first(found if bias is None else found + bias)


def _conv_transpose(given: Given, a: Attributes) -> Any:
    x, w, bias = padded(given, 3)
    kernel = list(w.shape[2:])
    places = len(kernel)
    strides = list(a.get("strides", [1] * places))
    extra, pads = (list(a.get(name, [0] * n * places)) for name, n in
                   (("output_padding", 1), ("pads", 2)))  # fmt: skip
    plain = a.get("group", 1) == 1 and not any(n != 1 for n in a.get("dilations", ()))
    if places != 2 or not plain or "output_shape" in a or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ModelUnsupported("ConvTranspose with groups, dilations or a shape of its own")
    full = [
        (tf.shape(x)[2 + n] - 1) * strides[n] + kernel[n] + extra[n] for n in range(places)
    ]  # fmt: skip
    shape = tf.stack([tf.shape(x)[0], *full, w.shape[1]])
    filters = tf.transpose(w, [2, 3, 1, 0])
    rest = [max(0, strides[n] - kernel[n]) for n in range(places)]
    if any(extra[n] > rest[n] + kernel[n] - 1 for n in range(places)):
        raise ModelUnsupported("ConvTranspose with so much output_padding")
    found = tf.nn.conv2d_transpose(_last(x), filters, shape, strides, "VALID")
    found = found[:, pads[0] : full[0] - pads[2], pads[1] : full[1] - pads[3], :]
    found = tf.ensure_shape(found, [None, None, None, w.shape[1]])
    return _first(found if bias is None else found + bias)


def _pool(given: Given, a: Attributes, *, largest: bool) -> Any:
    (x,) = given
    kernel = list(a["kernel_shape"])
    places = len(kernel)
    strides = list(a.get("strides", [1] * places))
    if a.get("ceil_mode") or any(n != 1 for n in a.get("dilations", ())):
        raise ModelUnsupported("a pool with ceil_mode or dilations has no form in TensorFlow")
    borders = _borders(x, a, kernel)
    lowest = x.dtype.min if x.dtype.is_integer else -math.inf
    bordered = _last(_bordered(x, borders, lowest if largest else 0.0))
    kind = "MAX" if largest else "AVG"
    found = tf.nn.pool(bordered, kernel, kind, strides=strides, padding="VALID")
    if not largest and not a.get("count_include_pad") and any(map(any, borders)):
        ones = _last(_bordered(tf.ones_like(x), borders))
        found = found / tf.nn.pool(ones, kernel, "AVG", strides=strides, padding="VALID")
    return _first(found)


def _over_places(run: Callable[..., Any]) -> Operator:
    return lambda given, _: run(given[0], list(range(2, rank(given[0]))), keepdims=True)


# ── Normalisations ──────────────────────────────────────────────────────────────────────────────
def _by_channel(x: Any, numbers: Any) -> Any:
    return tf.reshape(numbers, [-1, *[1] * (rank(x) - 2)])


def _batch_norm(given: Given, a: Attributes) -> Any:
    x = given[0]
    scale, bias, mean, variance = (_by_channel(x, one) for one in given[1:5])
    if a.get("training_mode"):
        raise ModelUnsupported("a batch normalisation that trains answers nothing")
    return (x - mean) * scale / tf.sqrt(variance + tf.cast(a.get("epsilon", 1e-5), x.dtype)) + bias


def _standard(x: Any, axes: Sequence[int], epsilon: float) -> Any:
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return centred / tf.sqrt(variance + tf.cast(epsilon, x.dtype))


def _layer_norm(given: Given, a: Attributes) -> Any:
    x, scale, bias = padded(given, 3)
    axis = a.get("axis", -1) % rank(x)
    found = _standard(x, list(range(axis, rank(x))), a.get("epsilon", 1e-5)) * scale
    return found if bias is None else found + bias


def _rms_norm(given: Given, a: Attributes) -> Any:
    x, scale = given
    axes = list(range(a.get("axis", -1) % rank(x), rank(x)))
    mean = tf.reduce_mean(tf.square(x), axes, keepdims=True)
    return x / tf.sqrt(mean + tf.cast(a.get("epsilon", 1e-5), x.dtype)) * scale


def _instance_norm(given: Given, a: Attributes) -> Any:
    x, scale, bias = given
    found = _standard(x, list(range(2, rank(x))), a.get("epsilon", 1e-5))
    return found * _by_channel(x, scale) + _by_channel(x, bias)


def _group_norm(given: Given, a: Attributes) -> Any:
    x, scale, bias = given
    groups = tf.reshape(x, [tf.shape(x)[0], a["num_groups"], -1])
    found = _standard(groups, [2], a.get("epsilon", 1e-5))
    if scale.shape[0] != x.shape[1]:  # of groups, before opset 21
        many = x.shape[1] // a["num_groups"]
        scale, bias = tf.repeat(scale, many), tf.repeat(bias, many)
    return tf.reshape(found, tf.shape(x)) * _by_channel(x, scale) + _by_channel(x, bias)


def _lp_norm(given: Given, a: Attributes) -> Any:
    (x,) = given
    axis = a.get("axis", -1)
    if a.get("p", 2) == 1:
        return tf.math.divide_no_nan(x, tf.reduce_sum(tf.abs(x), axis, keepdims=True))
    return tf.math.divide_no_nan(x, tf.sqrt(tf.reduce_sum(tf.square(x), axis, keepdims=True)))


# ── Shapes ──────────────────────────────────────────────────────────────────────────────────────
def _reshape(given: Given, a: Attributes) -> Any:
    x, shape = given
    if not a.get("allowzero"):
        known = tf.get_static_value(shape)
        if known is None:
            known = [None] * shape.shape[0]
        parts = [
            (sizes(x)[n] if x.shape.rank is None or x.shape[n] is None else x.shape[n])
            if value == 0 else shape[n] if value is None else int(value)
            for n, value in enumerate(known)
        ]  # fmt: skip
        shape = tf.stack([tf.cast(part, tf.int64) for part in parts]) if parts else shape
    return tf.reshape(x, shape)


def _flatten(given: Given, a: Attributes) -> Any:
    (x,) = given
    axis = a.get("axis", 1)
    rest = x.shape[axis % rank(x) if axis < 0 else axis :]
    if rest.is_fully_defined():
        return tf.reshape(x, [-1, rest.num_elements()])
    shape = sizes(x)
    return tf.reshape(x, [tf.reduce_prod(shape[:axis]), tf.reduce_prod(shape[axis:])])


def _slice(given: Given, _: Attributes) -> Any:
    x, starts, ends, axes, steps = padded(given, 5)
    places = whole(axes) or list(range(starts.shape[0]))
    walks = whole(steps) or [1] * len(places)
    chosen: list[Any] = [slice(None)] * rank(x)
    for n, axis in enumerate(places):
        start, end = (_clamped(one, n, x, axis % rank(x), walks[n]) for one in (starts, ends))
        chosen[axis % rank(x)] = slice(start, end, walks[n])
    return x[tuple(chosen)]


def _clamped(ends: Any, n: int, x: Any, axis: int, step: int) -> Any:
    """Return a start or an end as Python's slices take it: None for "as far as it goes"."""
    known = tf.get_static_value(ends)
    if known is None:
        if step < 0:
            raise ModelUnsupported("a slice backwards whose ends are computed")
        return tf.cast(tf.clip_by_value(ends[n], -(2**31) + 1, 2**31 - 1), tf.int32)
    value, size = int(np.ravel(known)[n]), x.shape[axis]
    if abs(value) < 2**31 - 1 and (step > 0 or size is None or -size <= value < size):
        return value
    return None


def _gather(given: Given, a: Attributes) -> Any:
    x, places = given
    axis = a.get("axis", 0) % rank(x)
    return tf.gather(x, _counted(places, sizes(x)[axis]), axis=axis)


def _counted(places: Any, size: Any) -> Any:
    """Return places from the front: negative ones count from the end."""
    return tf.where(places < 0, places + tf.cast(size, places.dtype), places)


def _gather_elements(given: Given, a: Attributes) -> Any:
    x, places = given
    axis = a.get("axis", 0) % rank(x)
    shape = sizes(places)
    grid = tf.meshgrid(*[tf.range(shape[n]) for n in range(rank(x))], indexing="ij")
    grid[axis] = tf.cast(_counted(places, sizes(x)[axis]), tf.int64)
    return tf.gather_nd(x, tf.stack(grid, -1))


def _gather_nd(given: Given, a: Attributes) -> Any:
    x, places = given
    return tf.gather_nd(x, places, batch_dims=a.get("batch_dims", 0))


def _scatter_nd(given: Given, a: Attributes) -> Any:
    x, places, updates = given
    if a.get("reduction", b"none") != b"none":
        raise ModelUnsupported("ScatterND that reduces has no form in TensorFlow here")
    return tf.tensor_scatter_nd_update(x, places, updates)


def _unsqueeze(given: Given, _: Attributes) -> Any:
    x, axes = given
    places = whole(axes)
    for axis in sorted(n % (rank(x) + len(places)) for n in places):
        x = tf.expand_dims(x, axis)
    return x


def _squeeze(given: Given, _: Attributes) -> Any:
    x, axes = padded(given, 2)
    return tf.squeeze(x, whole(axes) or None)


def _expand(given: Given, _: Attributes) -> Any:
    x, shape = given
    found = tf.broadcast_dynamic_shape(sizes(x), tf.cast(shape, tf.int64))
    if (known := tf.get_static_value(shape)) is not None and x.shape.is_fully_defined():
        found = np.broadcast_shapes(tuple(x.shape), tuple(int(n) for n in known))
    return tf.broadcast_to(x, found)


def _split(given: Given, a: Attributes) -> Any:
    x, parts = padded(given, 2)
    axis = a.get("axis", 0)
    if parts is not None:
        return tf.split(x, whole(parts), axis)
    size, count = x.shape[axis], a["num_outputs"]
    if size is None or size % count == 0:
        return tf.split(x, count, axis)
    each = -(-size // count)
    return tf.split(x, [each] * (count - 1) + [size - each * (count - 1)], axis)


def _pad(given: Given, a: Attributes) -> Any:
    x, pads, value, axes = padded(given, 4)
    places = whole(axes) or list(range(rank(x)))
    counts, borders = whole(pads), [(0, 0)] * rank(x)
    for n, axis in enumerate(places):
        borders[axis % rank(x)] = (counts[n], counts[n + len(places)])
    if any(side < 0 for border in borders for side in border):
        raise ModelUnsupported("negative borders have no form in TensorFlow")
    kind = a.get("mode", b"constant")
    if kind == b"constant":
        filled = tf.zeros((), x.dtype) if value is None else tf.reshape(value, ())
        return tf.pad(x, borders, constant_values=filled)
    if kind == b"reflect":
        return tf.pad(x, borders, "REFLECT")
    raise ModelUnsupported(f"Pad with {kind.decode()} has no form in TensorFlow")


def _trilu(given: Given, a: Attributes) -> Any:
    x, by = padded(given, 2)
    offset = whole(by)[0] if by is not None else 0
    shape = sizes(x)
    across, down = tf.range(shape[-1])[None], tf.range(shape[-2])[:, None]
    kept = across - down >= offset if a.get("upper", 1) else across - down <= offset
    return tf.where(kept, x, tf.zeros((), x.dtype))


def _depth_to_space(given: Given, a: Attributes) -> Any:
    (x,) = given
    side, shape = a["blocksize"], tf.shape(x)
    depth = x.shape[1] // side**2
    column_first = a.get("mode", b"DCR") == b"DCR"
    parts = [side, side, depth] if column_first else [depth, side, side]
    found = tf.reshape(x, [shape[0], *parts, shape[2], shape[3]])
    found = tf.transpose(found, [0, 3, 4, 1, 5, 2] if column_first else [0, 1, 4, 2, 5, 3])
    return tf.reshape(found, [shape[0], depth, shape[2] * side, shape[3] * side])


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────
def _reduced(run: Callable[..., Any]) -> Operator:
    def operator(given: Given, a: Attributes) -> Any:
        x, axes = padded(given, 2)
        places = list(a.get("axes", ())) or whole(axes)
        if not places and a.get("noop_with_empty_axes"):
            return x
        return run(x, places or None, keepdims=bool(a.get("keepdims", 1)))

    return operator


def _best(run: Callable[..., Any]) -> Operator:
    def operator(given: Given, a: Attributes) -> Any:
        (x,) = given
        axis = a.get("axis", 0)
        if a.get("select_last_index"):
            found = sizes(x)[axis] - 1 - run(tf.reverse(x, [axis % rank(x)]), axis)
        else:
            found = run(x, axis, output_type=tf.int64)
        return tf.expand_dims(found, axis) if a.get("keepdims", 1) else found

    return operator


def _top(given: Given, a: Attributes) -> Any:
    x, count = given
    axis, n = a.get("axis", -1) % rank(x), rank(x)
    turned = [*(i for i in range(n) if i != axis), axis]
    back = [turned.index(i) for i in range(n)]
    moved = tf.transpose(x, turned)
    many = tf.cast(tf.reshape(count, ()), tf.int32)
    largest = a.get("largest", 1)
    values, places = tf.math.top_k(moved if largest else -moved, many)
    values = values if largest else -values
    return [tf.transpose(values, back), tf.transpose(tf.cast(places, tf.int64), back)]


def _clip(given: Given, _: Attributes) -> Any:
    x, low, high = padded(given, 3)
    x = x if low is None else tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def _divided(a: Any, b: Any) -> Any:
    return tf.truncatediv(a, b) if a.dtype.is_integer else a / b


def _power(a: Any, b: Any) -> Any:
    if a.dtype.is_integer and not b.dtype.is_integer:
        return tf.cast(tf.pow(tf.cast(a, b.dtype), b), a.dtype)
    return tf.pow(a, tf.cast(b, a.dtype))


def _modulo(given: Given, a: Attributes) -> Any:
    x, y = given
    return tf.truncatemod(x, y) if a.get("fmod") else tf.math.floormod(x, y)


def _gelu(given: Given, a: Attributes) -> Any:
    return tf.nn.gelu(given[0], approximate=a.get("approximate", b"none") == b"tanh")


def _infinite(given: Given, a: Attributes) -> Any:
    (x,) = given
    found = tf.math.is_inf(x)
    found = found if a.get("detect_positive", 1) else found & (x < 0)
    return found if a.get("detect_negative", 1) else found & (x > 0)


def _constant(_: Given, a: Attributes) -> Any:
    ((name, value),) = a.items()
    if isinstance(value, onnx.TensorProto):
        return tf.constant(onnx.numpy_helper.to_array(value))
    return tf.constant(np.array(value, np.float32 if "float" in name else np.int64))


def _dropout(given: Given, _: Attributes) -> Any:
    x, _ratio, trains = padded(given, 3)
    if any(whole(trains)):
        raise ModelUnsupported("a dropout that trains answers nothing")
    return x


def _filled(given: Given, a: Attributes) -> Any:
    (shape,) = given
    value = onnx.numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, np.float32)
    return tf.fill(shape, tf.constant(value.reshape(())))


def _one_hot(given: Given, a: Attributes) -> Any:
    places, depth, values = given
    size = tf.cast(tf.reshape(depth, ()), places.dtype)
    places = tf.where(places < 0, places + size, places)
    if not places.dtype.is_integer:
        places = tf.cast(places, tf.int64)
    return tf.one_hot(
        places, tf.cast(size, tf.int32), values[1], values[0], axis=a.get("axis", -1),
        dtype=values.dtype,
    )  # fmt: skip


def _cumulated(given: Given, a: Attributes) -> Any:
    x, axis = given
    reverse, exclusive = bool(a.get("reverse")), bool(a.get("exclusive"))
    return tf.cumsum(x, whole(axis)[0], exclusive=exclusive, reverse=reverse)


def _dequantised(given: Given, a: Attributes) -> Any:
    x, scale, zero = padded(given, 3)
    if a.get("block_size"):
        raise ModelUnsupported("DequantizeLinear in blocks has no form in TensorFlow here")
    found = tf.cast(x, tf.int32)
    if rank(scale) == 1 and rank(x) > 1:
        along = [1] * rank(x)
        along[a.get("axis", 1)] = -1
        scale = tf.reshape(scale, along)
        zero = None if zero is None else tf.reshape(zero, along)
    if zero is not None:
        found = found - tf.cast(zero, tf.int32)
    return tf.cast(found, scale.dtype) * scale


def _all(run: Callable[..., Any]) -> Operator:
    """Return an operator without attributes."""
    return lambda given, _: run(*given)


def _folded(run: Callable[..., Any]) -> Operator:
    """Return an operator of any number of inputs."""

    def operator(given: Given, _: Attributes) -> Any:
        found = given[0]
        for one in given[1:]:
            found = run(found, one)
        return found

    return operator


def _scaled(run: Callable[[Any, Attributes, Callable[[str, float], Any]], Any]) -> Operator:
    """Return an operator whose attributes are numbers with a value of their own."""
    return lambda given, a: run(
        given[0], a, lambda name, usual: tf.cast(a.get(name, usual), given[0].dtype)
    )


OPERATORS: Mapping[str, Operator] = {
    "Gemm": _gemm, "MatMul": _matmul, "Conv": _conv, "ConvTranspose": _conv_transpose,
    "Einsum": lambda given, a: tf.einsum(a["equation"].decode(), *given),
    "MaxPool": lambda given, a: _pool(given, a, largest=True),
    "AveragePool": lambda given, a: _pool(given, a, largest=False),
    "GlobalAveragePool": _over_places(tf.reduce_mean),
    "GlobalMaxPool": _over_places(tf.reduce_max),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm, "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm, "LpNormalization": _lp_norm,
    "Add": _all(tf.add), "Sub": _all(tf.subtract), "Mul": _all(tf.multiply),
    "Div": _all(_divided), "Pow": _all(_power), "Mod": _modulo,
    "Min": _folded(tf.minimum), "Max": _folded(tf.maximum), "Sum": _folded(tf.add),
    "Mean": lambda given, a: _folded(tf.add)(given, a) / tf.cast(len(given), given[0].dtype),
    "Neg": _all(tf.negative), "Abs": _all(tf.abs), "Sign": _all(tf.sign),
    "Floor": _all(tf.floor), "Ceil": _all(tf.math.ceil), "Round": _all(tf.round),
    "Sqrt": _all(tf.sqrt), "Exp": _all(tf.exp), "Log": _all(tf.math.log), "Erf": _all(tf.math.erf),
    "Reciprocal": _all(lambda x: 1 / x), "Sin": _all(tf.sin), "Cos": _all(tf.cos),
    "Tan": _all(tf.tan), "Asin": _all(tf.asin), "Acos": _all(tf.acos), "Atan": _all(tf.atan),
    "Sinh": _all(tf.sinh), "Cosh": _all(tf.cosh), "Asinh": _all(tf.asinh),
    "Acosh": _all(tf.acosh), "Atanh": _all(tf.atanh),
    "Relu": _all(tf.nn.relu), "Tanh": _all(tf.tanh), "Sigmoid": _all(tf.sigmoid),
    "Softplus": _all(tf.math.softplus), "Softsign": _all(tf.math.softsign), "Gelu": _gelu,
    "LeakyRelu": _scaled(lambda x, a, n: tf.where(x < 0, x * n("alpha", 0.01), x)),
    "PRelu": _all(lambda x, slope: tf.where(x < 0, x * slope, x)),
    "ThresholdedRelu": _scaled(
        lambda x, a, n: tf.where(x > n("alpha", 1.0), x, tf.zeros((), x.dtype))
    ),
    "Elu": _scaled(lambda x, a, n: tf.where(x < 0, n("alpha", 1.0) * tf.math.expm1(x), x)),
    "Celu": _scaled(
        lambda x, a, n: tf.maximum(x, 0) + tf.minimum(
            n("alpha", 1.0) * tf.math.expm1(x / n("alpha", 1.0)), 0)
    ),
    "Selu": _scaled(
        lambda x, a, n: n("gamma", 1.0507010221481323) * tf.where(
            x <= 0, n("alpha", 1.6732631921768188) * tf.math.expm1(x), x)
    ),
    "HardSigmoid": _scaled(
        lambda x, a, n: tf.clip_by_value(n("alpha", 0.2) * x + n("beta", 0.5), 0, 1)
    ),
    "HardSwish": _all(lambda x: x * tf.clip_by_value(x / 6 + 0.5, 0, 1)),
    "Swish": _scaled(lambda x, a, n: x * tf.sigmoid(n("alpha", 1.0) * x)),
    "Mish": _all(lambda x: x * tf.tanh(tf.math.softplus(x))),
    "Clip": _clip, "Dropout": _dropout, "Identity": lambda given, _: given[0],
    "Softmax": lambda given, a: tf.nn.softmax(given[0], a.get("axis", -1)),
    "LogSoftmax": lambda given, a: tf.nn.log_softmax(given[0], a.get("axis", -1)),
    "ReduceMean": _reduced(tf.reduce_mean), "ReduceSum": _reduced(tf.reduce_sum),
    "ReduceMax": _reduced(tf.reduce_max), "ReduceMin": _reduced(tf.reduce_min),
    "ReduceProd": _reduced(tf.reduce_prod), "ReduceLogSumExp": _reduced(tf.reduce_logsumexp),
    "ReduceL1": _reduced(lambda x, *n, **k: tf.reduce_sum(tf.abs(x), *n, **k)),
    "ReduceL2": _reduced(lambda x, *n, **k: tf.sqrt(tf.reduce_sum(tf.square(x), *n, **k))),
    "ReduceSumSquare": _reduced(lambda x, *n, **k: tf.reduce_sum(tf.square(x), *n, **k)),
    "ReduceLogSum": _reduced(lambda x, *n, **k: tf.math.log(tf.reduce_sum(x, *n, **k))),
    "ArgMax": _best(tf.argmax), "ArgMin": _best(tf.argmin), "TopK": _top,
    "CumSum": _cumulated, "DequantizeLinear": _dequantised,
    "Constant": _constant, "ConstantOfShape": _filled, "OneHot": _one_hot,
    "Cast": lambda given, a: tf.cast(given[0], _kind(a["to"])),
    "CastLike": lambda given, _: tf.cast(given[0], given[1].dtype),
    "Shape": lambda given, a: sizes(given[0])[a.get("start", 0) : a.get("end")],
    "Size": lambda given, _: tf.size(given[0], tf.int64),
    "Reshape": _reshape, "Flatten": _flatten, "Slice": _slice, "Gather": _gather,
    "GatherElements": _gather_elements, "GatherND": _gather_nd, "ScatterND": _scatter_nd,
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Expand": _expand, "Split": _split,
    "Pad": _pad, "Trilu": _trilu, "DepthToSpace": _depth_to_space,
    "Tile": _all(tf.tile), "Concat": lambda given, a: tf.concat(list(given), a["axis"]),
    "Transpose": lambda given, a: tf.transpose(given[0], a.get("perm")),
    "Range": _all(lambda low, high, step: tf.range(
        *(tf.reshape(one, ()) for one in (low, high, step)))),
    "NonZero": _all(lambda x: tf.transpose(tf.where(tf.cast(x, tf.bool)))),
    "Where": _all(tf.where), "Equal": _all(tf.equal), "Less": _all(tf.less),
    "LessOrEqual": _all(tf.less_equal), "Greater": _all(tf.greater),
    "GreaterOrEqual": _all(tf.greater_equal), "Not": _all(tf.logical_not),
    "And": _all(tf.logical_and), "Or": _all(tf.logical_or), "Xor": _all(tf.math.logical_xor),
    "IsNaN": _all(tf.math.is_nan), "IsInf": _infinite,
}  # fmt: skip
