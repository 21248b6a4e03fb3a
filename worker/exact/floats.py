"""Runs the float graph, one sample at a time: for calibration, and to compare accuracy with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from worker.errors import ModelUnsupported
from worker.exact.graph import Array, Graph, GraphNode, Sample
from worker.exact.lowering import expressions

Observe = Callable[[str, torch.Tensor], torch.Tensor | None]


def run(graph: Graph, inputs: Sample, observe: Observe | None = None) -> Array:
    """Return the output for one sample, in float32.

    Args:
        graph: any float graph.
        inputs: one array per input, with the shapes of the graph.
        observe: is shown every input and every node's result, and may give another result.
    """
    values = {name: _constant(array) for name, array in graph.constants.items()}
    with torch.inference_mode():
        given = one_sample(inputs)
        for name in graph.inputs:
            values[name] = given[name].reshape(graph.shapes[name])
            if observe:
                observe(name, values[name])
        for node in graph.nodes:
            arguments = [None if name is None else values[name] for name in node.inputs]
            values[node.output] = evaluate(node, arguments)
            if observe and (other := observe(node.output, values[node.output])) is not None:
                values[node.output] = other
    return values[graph.output].numpy()


def evaluate(node: GraphNode, arguments: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Return one node's result."""
    if node.op not in _ANY_DTYPE:
        arguments = [_floating(value) for value in arguments]
    return _limit(node, _OPERATORS[node.op](node, *arguments))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the same bytes on every run, and faster for one small sample."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def one_sample(inputs: Sample) -> dict[str, torch.Tensor]:
    """Return a sample's arrays as tensors: float32 and int64, as exported models take them.

    Raises:
        ModelUnsupported: text.
    """
    for name, array in inputs.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiubV":
            raise ModelUnsupported(
                f"input {name} holds no numbers", hint="an exact program takes one tensor of them"
            )
    return {
        name: torch.from_numpy(
            np.array(array, np.float32 if array.dtype.kind in "fV" else np.int64, order="C")
        )
        for name, array in inputs.items()
    }


def _constant(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype("f4") if array.dtype.kind == "f" else array)


def _floating(value: torch.Tensor | None) -> torch.Tensor | None:
    return None if value is None else value.float()


def _limit(node: GraphNode, value: torch.Tensor) -> torch.Tensor:
    low, high = node.attributes.get("low"), node.attributes.get("high")
    if low is not None or high is not None:
        value = torch.clamp(value, low, high)
    return _on_grid(node.attributes["grid"], value) if "grid" in node.attributes else value


def _on_grid(grid: Mapping[str, Any], x: torch.Tensor) -> torch.Tensor:
    """Return scale · (q − zero); as ONNX, ties go to the even q / scale."""
    zero, scale = int(grid["zero"]), float(grid["scale"])
    steps = torch.clamp(torch.round(x / scale), grid["least"] - zero, grid["most"] - zero)
    return steps * scale


def _pad(node: GraphNode, x: torch.Tensor, value: float) -> torch.Tensor:
    top, left, bottom, right = node.attributes["padding"]
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv2d(
    node: GraphNode, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    a = node.attributes
    return functional.conv2d(
        _pad(node, x, 0.0), weight, bias, a["stride"], 0, a["dilation"], a["groups"]
    )


def _affine(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
    scale, offset = (torch.as_tensor(node.attributes[name]) for name in ("scale", "offset"))
    return (x * scale + offset).to(torch.float32)


def _products(_node: GraphNode, *parts: torch.Tensor) -> torch.Tensor:
    total = parts[0] * parts[1]
    for a, b in zip(parts[2::2], parts[3::2], strict=True):
        total = total + a * b
    return total


def _max_pool(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
    a = node.attributes
    padded = _pad(node, x, -torch.inf)
    return functional.max_pool2d(padded, a["kernel"], a["stride"], 0, a["dilation"])


def _slice(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
    a = node.attributes
    stop = a["start"] + (a["size"] - 1) * a["step"] + 1
    return x[(slice(None),) * a["dim"] + (slice(a["start"], stop, a["step"]),)]


def _masked_mean(_node: GraphNode, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    keep = mask.reshape(1, -1, 1).to(x.dtype)
    return (x * keep).sum(1) / keep.sum(1).clamp(min=1e-9)


def _masked_fill(node: GraphNode, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where((mask != 0) == bool(node.attributes["where"]), node.attributes["value"], x)


_OPERATORS: Mapping[str, Callable[..., torch.Tensor]] = {
    "linear": lambda _node, x, weight, bias: functional.linear(x, weight, bias),
    "conv2d": _conv2d,
    "matmul": lambda _node, a, b: torch.matmul(a, b),
    "add": lambda _node, a, b: a + b,
    "sub": lambda _node, a, b: a - b,
    "mul": lambda _node, a, b: a * b,
    "div": lambda _node, a, b: a / b,
    "products": _products,
    "affine": _affine,
    "columns": lambda node, x: x / torch.as_tensor(node.attributes["scale"], dtype=torch.float32),
    "clamp": lambda node, x: torch.clamp(
        x, node.attributes["limits"][0], node.attributes["limits"][1]
    ),
    "grid": lambda node, x: _on_grid(node.attributes, x),
    "pointwise": lambda node, x: expressions.evaluate(node.attributes["expression"], x).to(
        torch.float32
    ),
    "layer_norm": lambda node, x, weight, bias: functional.layer_norm(
        x, x.shape[-1:], weight, bias, node.attributes["eps"]
    ),
    "softmax": lambda _node, x: torch.softmax(x, -1),
    "embedding": lambda _node, ids, table: functional.embedding(ids.long(), table),
    "max_pool": _max_pool,
    "avg_pool": lambda node, x: functional.avg_pool2d(
        _pad(node, x, 0.0), node.attributes["kernel"], node.attributes["stride"]
    ),
    "mean": lambda node, x: x.mean(node.attributes["dims"], node.attributes["keep"]),
    "sum": lambda node, x: x.sum(node.attributes["dims"], node.attributes["keep"]),
    "masked_mean": _masked_mean,
    "masked_fill": _masked_fill,
    "reshape": lambda node, x: x.reshape(node.attributes["shape"]),
    "expand": lambda node, x: x.expand(node.attributes["shape"]),
    "permute": lambda node, x: x.permute(node.attributes["dims"]),
    "slice": _slice,
    "concat": lambda node, *parts: torch.cat(parts, node.attributes["dim"]),
    "max": lambda node, x: x.amax(node.attributes["dims"]),
    "argmax": lambda _node, x: x.argmax(-1),
    "norm": lambda _node, x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "normalise": lambda _node, x: functional.normalize(x, dim=-1),
    "outputs": lambda _node, *parts: torch.cat([part.reshape(-1) for part in parts]),
}
_ANY_DTYPE = frozenset(
    {"embedding", "masked_fill", "masked_mean", "reshape", "expand", "permute", "slice", "concat"}
)
