"""Rules for what multiplies or reduces: layers, attention, pools, norms, embeddings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from oracle.exact.builder import Ref
from oracle.exact.dtypes import DType
from oracle.exact.rules import MAX_ACCUMULATOR
from worker.exact.graph import Array, GraphNode
from worker.exact.lowering.layout import Quantised, dense
from worker.exact.lowering.lower import Lowering, Masked, Rule
from worker.exact.lowering.policy import IntegerRange
from worker.exact.lowering.scaling import quantise_rows, quantise_tensor, requantisation

EXP_REACH = 12.0  # e^-12 · 65,535 rounds to 0


def channels(
    lowering: Lowering, factor: Array | float, offset: Array | float, bound: Array | float
) -> Ref:
    """Return the constant of requantisation channels (see `scaling.requantisation`)."""
    return lowering.builder.constant(requantisation(factor, offset, bound), DType.CHANNEL)


def linear(lowering: Lowering, node: GraphNode) -> Quantised:
    """DOT of rows with weight rows; BatchNorm is already in the weights."""
    x = lowering.on_grid(node)
    rank = len(x.shape)
    a = lowering.layout.matrix(x, range(rank - 1), [rank - 1])
    choice = lowering.choice(node)
    weights, bias = _weights(lowering, node)
    ref = _dot(lowering, node, a, x, weights=weights, bias=bias, choice=choice, group=a.spec.rows)
    return replace(dense(ref, choice.scale, lowering.shape(node)), zero=_zero(node))


def _zero(node: GraphNode) -> int:
    """Return which integer stands for 0 in a node's result."""
    return int(node.attributes["grid"]["zero"]) if "grid" in node.attributes else 0


def _weights(lowering: Lowering, node: GraphNode) -> tuple[Array, Array | float]:
    weights = lowering.constant(node, 1)
    if weights is None:
        raise node.refuse("its weights depend on the input", instead="use constant weights")
    return weights, _bias(lowering, node)


def _bias(lowering: Lowering, node: GraphNode) -> Array | float:
    bias = lowering.constant(node, 2)
    if bias is None and node.inputs[2] is not None:
        raise node.refuse("its bias depends on the input", instead="add it after the layer")
    return 0.0 if bias is None else bias


def _dot(
    lowering: Lowering, node: GraphNode, a: Ref, x: Quantised, *, weights: Array,
    bias: Array | float, choice: IntegerRange, group: int,
) -> Ref:  # fmt: skip
    """DOT with constant weights [rows of b, K]; real factors and zeros go into the channels."""
    dtype = lowering.policy.weight(node)
    integers, scales = quantise_rows(weights, DType.I8)
    lossless = np.allclose(integers * scales[:, None], weights, rtol=1e-6, atol=0)
    largest = max(a.spec.dtype.maximum, -a.spec.dtype.minimum)
    fits = a.spec.cols * largest * 2**15 < MAX_ACCUMULATOR
    if dtype == DType.I16 and fits and not lossless:
        integers, scales = quantise_rows(weights, dtype)
    b = lowering.builder.constant(integers, DType.I16 if integers.itemsize == 2 else DType.I8)
    bound = np.abs(integers.astype(np.int64)).sum(1) * largest
    factor = x.scale * scales / choice.scale
    offset = bias / choice.scale - factor * integers.sum(1, np.int64) * x.zero + _zero(node)
    c = channels(lowering, factor, offset, bound)
    return lowering.builder.dot(a, b, c, dtype=choice.dtype, group=group)


def matmul(lowering: Lowering, node: GraphNode) -> Quantised:
    """DOT of two activations by groups: QKᵀ and PV by heads."""
    shape = lowering.shape(node)
    batch, rank = shape[:-2], len(shape)
    a, b = (_operand(lowering, node, at) for at in (0, 1))
    a = a.expanded((*batch, *a.shape[-2:]))
    b = b.expanded((*batch, *b.shape[-2:]))
    left = lowering.layout.matrix(a, range(rank - 1), [rank - 1])
    right = lowering.layout.matrix(b, [*range(rank - 2), rank - 1], [rank - 2])
    choice = lowering.choice(node)
    bound = left.spec.cols * a.bound * b.bound
    c = channels(lowering, a.scale * b.scale / choice.scale, 0.0, bound)
    ref = lowering.builder.dot(left, right, c, dtype=choice.dtype, group=shape[-2])
    return dense(ref, choice.scale, shape)


def _operand(lowering: Lowering, node: GraphNode, at: int) -> Quantised:
    constant = lowering.constant(node, at)
    return lowering.quantised(node, at) if constant is None else as_constant(lowering, constant)


def as_constant(lowering: Lowering, values: Array, dtype: DType = DType.I8) -> Quantised:
    """Return an array as a constant with one scale."""
    integers, scale = quantise_tensor(values, dtype)
    width = values.shape[-1] if values.ndim else 1
    ref = lowering.builder.constant(integers.reshape(-1, width), dtype)
    return dense(ref, scale, values.shape)


def conv2d(lowering: Lowering, node: GraphNode) -> Quantised:
    """PAD, a VIEW that makes one row of each window, DOT; groups are groups of DOT."""
    a = node.attributes
    out, _, *kernel = lowering.graph.shapes[lowering.name(node, 1)]
    groups = a["groups"]
    _, _, rows, cols = lowering.shape(node)
    given = lowering.constant(node, 1) is None
    x = lowering.quantised(node) if given else lowering.on_grid(node)
    if x.shape[0] != 1:
        raise node.refuse(f"a batch of {x.shape[0]} images", instead="a sample with a batch of 1")
    image = padded(lowering, x, a["padding"], x.zero)
    windows = _windows(lowering, image, a, kernel=kernel, size=(rows, cols), groups=groups)
    choice = lowering.choice(node)
    if given:
        w = lowering.quantised(node, 1)
        b = lowering.layout.matrix(w, (0,), (2, 3, 1))  # (C, kh, kw) → (kh, kw, C)
        bound = windows.spec.cols * image.bound * w.bound
        offset = _bias(lowering, node) / choice.scale
        c = channels(lowering, image.scale * w.scale / choice.scale, offset, bound)
        ref = lowering.builder.dot(windows, b, c, dtype=choice.dtype, group=rows * cols)
    else:
        weights, bias = _weights(lowering, node)
        flat = weights.transpose(0, 2, 3, 1).reshape(out, -1)
        ref = _dot(
            lowering, node, windows, x, weights=flat, bias=bias, choice=choice, group=rows * cols
        )
    made = dense(ref, choice.scale, (1, groups, rows, cols, out // groups))
    if groups > 1:
        ref = lowering.layout.matrix(made, (0, 2, 3), (1, 4))
    image = dense(ref, choice.scale, (1, out, rows, cols), (0, 2, 3, 1))
    return replace(image, zero=_zero(node))


def _windows(
    lowering: Lowering, image: Quantised, a: Mapping[str, tuple[int, int]], *,
    kernel: Sequence[int], size: tuple[int, int], groups: int,
) -> Ref:  # fmt: skip
    """Return groups · rows · cols rows of kh · kw · C/groups elements."""
    _, channel_count, height, width = image.shape
    part = channel_count // groups
    dilation, stride = a["dilation"], a["stride"]
    if groups > 1 and part > 1:  # six dimensions: make each group an image of its own first
        shape = (1, groups, part, height, width)
        grouped = lowering.layout.reshaped(image, shape)
        ref = lowering.layout.matrix(grouped, (0, 1, 3, 4), (2,))
        per_group, row, pixel = height * width * part, width * part, part
        base = 0
    else:
        ref, base = image.ref, image.base
        per_group, row, pixel = (image.strides[dim] for dim in (1, 2, 3))
    element = 1 if part > 1 and groups > 1 else image.strides[1]
    return lowering.layout.strided(
        ref,
        groups * math.prod(size),
        math.prod(kernel) * part,
        sizes=[groups, *size, *kernel, part],
        strides=[
            per_group, stride[0] * row, stride[1] * pixel, dilation[0] * row, dilation[1] * pixel,
            element,
        ],
        base=base,
    )  # fmt: skip


def padded(
    lowering: Lowering, image: Quantised, padding: tuple[int, int, int, int], value: int = 0
) -> Quantised:
    """Return an image [1, C, H, W] with a border, as rows of pixels."""
    if not any(padding):
        return image
    _, count, height, width = image.shape
    top, left, bottom, right = padding
    ref = lowering.layout.matrix(image, (0, 2, 3), (1,))
    ref = lowering.builder.pad(
        ref, height, width, top=top, left=left, bottom=bottom, right=right, value=value
    )
    shape = (1, count, height + top + bottom, width + left + right)
    return replace(dense(ref, image.scale, shape, (0, 2, 3, 1)), zero=image.zero)


def layer_norm(lowering: Lowering, node: GraphNode) -> Quantised:
    """LAYERNORM: γ in units of 2⁻¹⁶ deviations, β in the channels' bias."""
    x = signed(lowering, lowering.quantised(node), narrow=True)
    width, rank = x.shape[-1], len(x.shape)
    gamma, beta = (lowering.constant(node, at) for at in (1, 2))
    choice = lowering.choice(node)
    dtype = choice.dtype if choice.dtype in (DType.I8, DType.I16) else DType.I16
    choice = IntegerRange(dtype, choice.limit)
    factor = (np.ones(width) if gamma is None else gamma) / choice.scale / 2**16
    offset = np.zeros(width) if beta is None else beta / choice.scale
    eps = round(node.attributes["eps"] * width**2 / x.scale**2)
    c = channels(lowering, factor, offset, np.full(width, 2**16 * math.sqrt(width)))
    ref = lowering.layout.matrix(x, range(rank - 1), [rank - 1])
    ref = lowering.builder.layernorm(ref, c, eps=min(eps, 2**52 - 1), dtype=choice.dtype)
    return dense(ref, choice.scale, x.shape)


def softmax(lowering: Lowering, node: GraphNode) -> Quantised:
    """SOFTMAX with a table of e^−d; masked scores bring their mask."""
    value = lowering.value(node)
    keep = value.keep if isinstance(value, Masked) else None
    scores = value.scores if isinstance(value, Masked) else lowering.quantised(node)
    x = signed(lowering, scores, narrow=True)
    rank = len(x.shape)
    rows = lowering.layout.matrix(x, range(rank - 1), [rank - 1])
    entries = lowering.policy.exp_entries
    shift = 0
    span = x.dtype.maximum - x.dtype.minimum
    while min(EXP_REACH / x.scale, span) / 2**shift >= entries - 1:
        shift += 1
    count = math.ceil(min(EXP_REACH / x.scale, span) / 2**shift) + 1
    middle = (2**shift - 1) / 2  # of the differences that share an entry
    steps = (np.arange(count) * 2.0**shift + middle * (np.arange(count) > 0)) * x.scale
    table = np.rint(np.exp(-steps) * 65_535).astype(np.uint16)
    if span * x.scale > EXP_REACH:
        table[-1] = 0
    exp = lowering.builder.constant(table.reshape(1, -1), DType.U16)
    mask = None
    if keep is not None:
        keep = keep.expanded(x.shape)
        if any(keep.strides[dim] for dim in range(rank - 1) if x.shape[dim] > 1):
            mask = lowering.layout.matrix(keep, range(rank - 1), [rank - 1])
        else:
            one = keep
            for dim in range(rank - 1):
                one = one.sliced(dim, 0, 1, 1)
            mask = lowering.layout.laid_out(one, 1, x.shape[-1])
    choice = lowering.choice(node)
    dtype = DType.U16 if choice.dtype.size == 2 else DType.U8
    ref = lowering.builder.softmax(rows, exp, dtype=dtype, mask=mask, shift=shift)
    return dense(ref, 1.0 / dtype.maximum, x.shape)


def embedding(lowering: Lowering, node: GraphNode) -> Quantised:
    """GATHER; the range is the table's, not that of the tokens seen."""
    ids, table = lowering.quantised(node), lowering.constant(node, 1)
    if table is None:
        raise node.refuse("its table depends on the input", instead="use a constant table")
    if len(table) > 2**16:
        raise node.refuse(f"{len(table)} ids do not fit u16", instead="a table of 65,536 rows")
    dtype = lowering.choice(node).dtype
    dtype = {DType.U8: DType.I8, DType.U16: DType.I16}.get(dtype, dtype)
    held = as_constant(lowering, table, dtype)
    row = lowering.layout.laid_out(ids, 1, math.prod(ids.shape))
    return dense(lowering.builder.gather(row, held.ref), held.scale, lowering.shape(node))


def signed(lowering: Lowering, value: Quantised, *, narrow: bool = False) -> Quantised:
    """Return an unsigned value in a signed dtype: without loss, unless i32 is too wide."""
    if value.dtype in (DType.I8, DType.I16, DType.I32):
        return value
    wide, factor = (DType.I16, 2.0**7) if value.dtype == DType.U8 else (DType.I32, 2.0**8)
    if narrow and wide == DType.I32:
        wide, factor = DType.I16, 0.5
    c = requantisation(factor, 0.0, value.bound)
    return lowering.rescaled(value, wide, value.scale / factor, c)


LAYERS: Mapping[str, Rule] = {
    "linear": linear,
    "matmul": matmul,
    "conv2d": conv2d,
    "layer_norm": layer_norm,
    "softmax": softmax,
    "embedding": embedding,
}
