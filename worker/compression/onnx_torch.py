"""An ONNX graph in torch, differentiable in its weights: for tuning, nothing is served with it.

Operators of common exports of convolutional, dense and attention networks, with the meaning of
https://onnx.ai/onnx/operators since opset 13. A caller holds the answers to onnxruntime's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from worker.errors import ModelUnsupported

OLDEST = 13  # opset: older operators take as attributes what are inputs here
_INSTEAD = "export the model with torch.export, and compress that"
Attributes = Mapping[str, Any]
Given = Sequence[Any]  # tensors; None where an optional one is left out
Operator = Callable[[Given, Attributes], Any]  # a tensor, or several


class OnnxInTorch:
    """A graph that torch can run.

    Raises:
        ModelUnsupported: an operator that is not known here, an opset before 13.
    """

    def __init__(self, model: onnx.ModelProto, output: str) -> None:
        opset = max((o.version for o in model.opset_import if not o.domain), default=0)
        unknown = sorted(
            {node.op_type for node in model.graph.node if node.domain or node.op_type not in _KNOWN}
        )
        if unknown or opset < OLDEST:
            raise ModelUnsupported(
                f"torch does not run {unknown[0] if unknown else f'opset {opset}'} of this graph",
                hint=_INSTEAD,
            )
        self._output = output
        self._constants = {
            one.name: torch.from_numpy(numpy_helper.to_array(one).copy())
            for one in model.graph.initializer
        }
        self._nodes = [
            (_KNOWN[node.op_type], tuple(node.input), tuple(node.output), _attributes(node))
            for node in model.graph.node
        ]

    def run(self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the output; `weights` take the place of initializers of their names."""
        values: dict[str, Tensor] = {**self._constants, **weights, **inputs}
        for operator, given, names, attributes in self._nodes:
            try:
                made = operator([values.get(name) for name in given], attributes)
            except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise ModelUnsupported(
                    f"torch does not compute {names[0]}: {error!s:.200}", hint=_INSTEAD
                ) from error
            several = [made] if isinstance(made, Tensor) else made
            values.update(zip(names, several, strict=False))  # a dropout's mask has no reader
        return values[self._output]


def _attributes(node: onnx.NodeProto) -> Attributes:
    found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {
        name: torch.from_numpy(numpy_helper.to_array(value).copy())
        if isinstance(value, onnx.TensorProto)
        else value
        for name, value in found.items()
    }


def _whole(tensor: Tensor | None) -> list[int]:
    """Return a tensor of sizes, axes or places as numbers."""
    return [] if tensor is None else [int(n) for n in tensor.reshape(-1)]


# ── Layers ──────────────────────────────────────────────────────────────────────────────────────
def _gemm(given: Given, a: Attributes) -> Any:
    x, w, *rest = given
    x, w = (x.T if a.get("transA") else x), (w.T if a.get("transB") else w)
    found = a.get("alpha", 1.0) * (x @ w)
    return found if not rest or rest[0] is None else found + a.get("beta", 1.0) * rest[0]


def _padded(x: Tensor, a: Attributes, value: float = 0.0) -> Tensor:
    """Return x with the borders that a window's attributes name: begins, then ends."""
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelUnsupported("auto_pad is not read for tuning", hint=_INSTEAD)
    pads = list(a.get("pads", ()))
    sides = len(pads) // 2
    around = [n for k in reversed(range(sides)) for n in (pads[k], pads[k + sides])]
    return functional.pad(x, around, value=value) if any(around) else x


def _conv(given: Given, a: Attributes) -> Any:
    x, w, *rest = given
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[w.dim() - 3]
    ones = [1] * (w.dim() - 2)
    found: Tensor = run(
        _padded(x, a), w, rest[0] if rest else None, a.get("strides", ones), 0,
        a.get("dilations", ones), a.get("group", 1),
    )  # fmt: skip
    return found


def _pool(given: Given, a: Attributes, *, largest: bool) -> Any:
    (x,) = given
    kernel, strides = list(a["kernel_shape"]), list(a.get("strides", [1] * len(a["kernel_shape"])))
    if a.get("ceil_mode") or any(n != 1 for n in a.get("dilations", ())) or len(kernel) > 2:
        raise ModelUnsupported(
            "ceil_mode, dilations and volumes of a pool are not read for tuning", hint=_INSTEAD
        )
    if largest:
        pool = functional.max_pool1d if len(kernel) == 1 else functional.max_pool2d
        return pool(_padded(x, a, -math.inf), kernel, strides)
    if any(a.get("pads", ())) and not a.get("count_include_pad"):
        raise ModelUnsupported("borders of an average pool are not read for tuning", hint=_INSTEAD)
    mean = functional.avg_pool1d if len(kernel) == 1 else functional.avg_pool2d
    return mean(_padded(x, a), kernel, strides)


def _batch_norm(given: Given, a: Attributes) -> Any:
    x, scale, bias, mean, variance = given
    if a.get("training_mode"):
        raise ModelUnsupported("a batch normalisation that trains is not tuned", hint=_INSTEAD)
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def _layer_norm(given: Given, a: Attributes) -> Any:
    x, scale, *rest = given
    shape = x.shape[a.get("axis", -1) :]
    return functional.layer_norm(x, shape, scale, rest[0] if rest else None, a.get("epsilon", 1e-5))


# ── Shapes ──────────────────────────────────────────────────────────────────────────────────────
def _reshape(given: Given, a: Attributes) -> Any:
    x, sizes = given
    kept = _whole(sizes)
    if not a.get("allowzero"):
        kept = [x.shape[place] if n == 0 else n for place, n in enumerate(kept)]
    return x.reshape(kept)


def _slice(given: Given, _: Attributes) -> Any:
    x, starts, ends, axes, steps = [*given, None, None][:5]
    places = _whole(axes) or range(len(_whole(starts)))
    for at, start, end, step in zip(
        places, _whole(starts), _whole(ends), _whole(steps) or [1] * x.dim(), strict=False
    ):
        if step < 0:
            raise ModelUnsupported("slices backwards are not read for tuning", hint=_INSTEAD)
        chosen = [slice(None)] * x.dim()
        chosen[at] = slice(start, end, step)
        x = x[tuple(chosen)]
    return x


def _gather(given: Given, a: Attributes) -> Any:
    x, places = given
    axis = a.get("axis", 0) % x.dim()
    at = torch.where(places < 0, places + x.shape[axis], places).long()
    found = x.index_select(axis, at.reshape(-1))
    return found.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _unsqueeze(given: Given, _: Attributes) -> Any:
    x, axes = given
    rank = x.dim() + len(_whole(axes))
    for axis in sorted(n % rank for n in _whole(axes)):
        x = x.unsqueeze(axis)
    return x


def _squeeze(given: Given, _: Attributes) -> Any:
    x, axes = [*given, None][:2]
    return x.squeeze() if axes is None else x.squeeze(_whole(axes))


def _expand(given: Given, _: Attributes) -> Any:
    x, sizes = given
    return x * torch.ones(_whole(sizes), dtype=x.dtype)


def _cast(given: Given, a: Attributes) -> Any:
    (x,) = given
    zero = onnx.helper.tensor_dtype_to_np_dtype(a["to"]).type(0)
    return x.to(torch.as_tensor(zero).dtype)


def _split(given: Given, a: Attributes) -> Any:
    x, sizes = [*given, None][:2]
    axis = a.get("axis", 0)
    if sizes is not None:
        return x.split(_whole(sizes), axis)
    return x.chunk(a["num_outputs"], axis)


def _reduced(run: Callable[..., Tensor]) -> Operator:
    def operator(given: Given, a: Attributes) -> Any:
        x, axes = [*given, None][:2]
        places = list(a.get("axes", ())) or _whole(axes)
        if not places and a.get("noop_with_empty_axes"):
            return x
        return run(x, places or list(range(x.dim())), keepdim=bool(a.get("keepdims", 1)))

    return operator


def _each(run: Callable[..., Tensor]) -> Operator:
    """Return an operator without attributes."""
    return lambda given, _: run(*given)


def _clip(given: Given, _: Attributes) -> Any:
    x, low, high = [*given, None, None][:3]
    return x.clamp(low, high)


def _constant(_: Given, a: Attributes) -> Any:
    if "value" in a:
        return a["value"]
    ((name, value),) = a.items()
    return torch.tensor(value, dtype=torch.float32 if "float" in name else torch.int64)


def _filled(given: Given, a: Attributes) -> Any:
    (sizes,) = given
    value = a.get("value", torch.zeros(1))
    return value.reshape(()).expand(_whole(sizes))


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


_KNOWN: Mapping[str, Operator] = {
    "Gemm": _gemm, "Conv": _conv, "MatMul": _each(torch.matmul),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "MaxPool": lambda given, a: _pool(given, a, largest=True),
    "AveragePool": lambda given, a: _pool(given, a, largest=False),
    "GlobalAveragePool": _each(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)),
    "Add": _each(torch.add), "Sub": _each(torch.sub), "Mul": _each(torch.mul),
    "Div": _each(_divided), "Pow": _each(torch.pow), "Neg": _each(torch.neg),
    "Sqrt": _each(torch.sqrt), "Exp": _each(torch.exp), "Log": _each(torch.log),
    "Abs": _each(torch.abs), "Reciprocal": _each(torch.reciprocal), "Erf": _each(torch.erf),
    "Relu": _each(torch.relu), "Tanh": _each(torch.tanh), "Sigmoid": _each(torch.sigmoid),
    "Gelu": lambda given, a: functional.gelu(
        given[0], approximate=a.get("approximate", b"none").decode()
    ),
    "LeakyRelu": lambda given, a: functional.leaky_relu(given[0], a.get("alpha", 0.01)),
    "Clip": _clip, "Min": _each(torch.minimum), "Max": _each(torch.maximum),
    "Softmax": lambda given, a: given[0].softmax(a.get("axis", -1)),
    "LogSoftmax": lambda given, a: given[0].log_softmax(a.get("axis", -1)),
    "ReduceMean": _reduced(torch.mean), "ReduceSum": _reduced(torch.sum),
    "ReduceMax": _reduced(torch.amax), "ReduceL2": _reduced(
        lambda x, dim, keepdim: torch.linalg.vector_norm(x, 2, dim, keepdim)
    ),
    "Identity": lambda given, _: given[0],
    "Dropout": lambda given, _: given[0],
    "Constant": _constant, "ConstantOfShape": _filled, "Cast": _cast,
    "Shape": lambda given, a: torch.tensor(
        given[0].shape[a.get("start", 0) : a.get("end")], dtype=torch.int64
    ),
    "Reshape": _reshape, "Slice": _slice, "Gather": _gather, "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze, "Expand": _expand, "Split": _split,
    "Flatten": lambda given, a: given[0].reshape(
        math.prod(given[0].shape[: a.get("axis", 1)]), -1
    ),
    "Transpose": lambda given, a: given[0].permute(
        a.get("perm", list(range(given[0].dim()))[::-1])
    ),
    "Concat": lambda given, a: torch.cat(list(given), a["axis"]),
    "Where": _each(torch.where), "Equal": _each(torch.eq), "Less": _each(torch.lt),
    "Greater": _each(torch.gt), "Not": _each(torch.logical_not), "And": _each(torch.logical_and),
    "Range": _each(lambda low, high, step: torch.arange(int(low), int(high), int(step))),
}  # fmt: skip
