"""ATen's layers in the float graph: what has weights, and attention."""

from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
    pair,
)


def _linear(trace: GraphRecorder, call: OperatorCall) -> Values:
    inputs = [trace.name_of(call["input"]), *_weights(trace, call)]
    return first(call, trace.emit("linear", inputs, call.output, call.shape))


def _weights(trace: GraphRecorder, call: OperatorCall) -> list[str | None]:
    for name in ("weight", "bias"):
        if isinstance(call[name], Dynamic):
            raise trace.refuse(
                call.name, f"its {name} depends on the input", instead="use constant weights"
            )
    return [trace.name_of(call["weight"], "weight"), trace.name_of(call["bias"], "bias")]


def _addmm(trace: GraphRecorder, call: OperatorCall) -> Values:
    if call["alpha"] != 1 or call["beta"] != 1 or isinstance(call["mat2"], Dynamic):
        raise trace.refuse("addmm", "it is not a linear layer", instead="write x @ w + b")
    weight = trace.constant(call["mat2"].t().contiguous(), "weight")
    inputs = [trace.name_of(call["mat1"]), weight, trace.name_of(call["self"], "bias")]
    return first(call, trace.emit("linear", inputs, call.output, call.shape))


def _matmul(trace: GraphRecorder, call: OperatorCall) -> Values:
    a = call.arguments.get("self")
    b = call.arguments.get("other", call.arguments.get("mat2"))
    if not isinstance(b, Dynamic) and b.ndim == 2:
        weight = trace.constant(b.t().contiguous(), "weight")
        inputs = [trace.name_of(a), weight, None]
        return first(call, trace.emit("linear", inputs, call.output, call.shape))
    inputs = [trace.name_of(a, "operand"), trace.name_of(b, "operand")]
    return first(call, trace.emit("matmul", inputs, call.output, call.shape))


def _convolution(trace: GraphRecorder, call: OperatorCall) -> Values:
    if call.arguments.get("transposed"):
        raise trace.refuse(
            "transposed convolution", "it has no integer form here",
            instead="use nearest-neighbour upsampling before an ordinary convolution",
        )  # fmt: skip
    if len(call["input"].shape) != 4 or call["input"].shape[0] != 1:
        raise trace.refuse(call.name, "only 2-d images are convolved", instead="use conv2d")
    padding = call["padding"]
    vertical, horizontal = pair(padding)
    inputs = [trace.name_of(call["input"]), *_weights(trace, call)]
    name = trace.emit(
        "conv2d", inputs, call.output, call.shape, stride=pair(call["stride"]),
        padding=(vertical, horizontal, vertical, horizontal),
        dilation=pair(call["dilation"]), groups=int(call["groups"]),
    )  # fmt: skip
    return first(call, name)


def _batch_norm(trace: GraphRecorder, call: OperatorCall) -> Values:
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
    return first(call, name)


def _layer_norm(trace: GraphRecorder, call: OperatorCall) -> Values:
    if len(call["normalized_shape"]) != 1:
        raise trace.refuse(
            "layer_norm", "it is over several dimensions", instead="normalise the last one"
        )
    inputs = [call["input"].name, *_weights(trace, call)]
    name = trace.emit("layer_norm", inputs, call.output, call.shape, eps=float(call["eps"]))
    return first(call, name)


def _softmax(trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call["self"]
    if call["dim"] not in (-1, len(given.shape) - 1):
        raise trace.refuse("softmax", "it is not over the last dimension", instead="transpose")
    return first(call, trace.emit("softmax", [given.name], call.output, call.shape))


def _attention(trace: GraphRecorder, call: OperatorCall) -> Values:
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
    return first(call, trace.emit("matmul", [weights, value.name], call.output, call.shape))


def _masked(trace: GraphRecorder, scores: Dynamic, mask: Any, output: str) -> str:
    sample = mask.sample if isinstance(mask, Dynamic) else mask
    if sample.dtype != torch.bool:
        return trace.arithmetic("add", scores, mask, output, scores.shape)
    keep = mask if isinstance(mask, Dynamic) else Dynamic(trace.constant(mask, "mask"), mask)
    return trace.emit(
        "masked_fill", [scores.name, keep.name], output, scores.shape, where=0, value=-1e30
    )


LAYERS: Mapping[str, Converter] = {
    "linear": _linear,
    "addmm": _addmm,
    **dict.fromkeys(("mm", "bmm", "matmul"), _matmul),
    **dict.fromkeys(("conv2d", "convolution"), _convolution),
    **dict.fromkeys(
        ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm"), _batch_norm
    ),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    "scaled_dot_product_attention": _attention,
}
