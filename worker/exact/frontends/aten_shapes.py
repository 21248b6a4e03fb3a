"""ATen's views, copies and concatenations in the float graph."""

from collections.abc import Mapping

import torch

from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
)
from worker.exact.lowering.expressions import Expression, X


def _reshape(trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call["self"]
    return first(
        call, trace.emit("reshape", [given.name], call.output, call.shape, shape=call.shape)
    )


def _permute(trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call["self"]
    rank = len(given.shape)
    marks = torch.empty([1] * rank).as_strided([1] * rank, list(range(1, rank + 1)))
    arguments = {k: v for k, v in call.arguments.items() if k != "self"}
    turned = getattr(torch, call.name)(marks, *arguments.values())
    dims = tuple(stride - 1 for stride in turned.stride())
    return first(call, trace.emit("permute", [given.name], call.output, call.shape, dims=dims))


def _expand(trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call["self"]
    return first(
        call, trace.emit("expand", [given.name], call.output, call.shape, shape=call.shape)
    )


def _part(trace: GraphRecorder, given: Dynamic, dim: int, places: range, output: str) -> str:
    """Append a slice of one dimension."""
    shape = list(given.shape)
    shape[dim] = len(places)
    return trace.emit(
        "slice", [given.name], output, shape, dim=dim, start=places.start, step=places.step,
        size=len(places),
    )  # fmt: skip


def _slice(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    places = range(given.shape[dim])[call["start"] : call["end"] : call["step"]]
    return first(call, _part(trace, given, dim, places, call.output))


def _select(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    index = call["index"] % given.shape[dim]
    part = _part(trace, given, dim, range(index, index + 1), trace.fresh(call.output))
    return first(call, trace.emit("reshape", [part], call.output, call.shape, shape=call.shape))


def _split(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    values, start = {}, 0
    for output, result in zip(call.outputs, call.results, strict=True):
        if call.name == "unbind":
            part = _part(trace, given, dim, range(start, start + 1), trace.fresh(output))
            trace.emit("reshape", [part], output, result.shape, shape=tuple(result.shape))
            start += 1
        else:
            stop = start + result.shape[dim]
            _part(trace, given, dim, range(start, stop), output)
            start = stop
        values[output] = Dynamic(output, result)
    return values


def _concat(trace: GraphRecorder, call: OperatorCall) -> Values:
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
    return first(call, trace.emit("concat", names, call.output, call.shape, dim=dim))


def _same(_trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call.arguments.get("self", call.arguments.get("input"))
    return {call.output: Dynamic(given.name, call.results[0])}


def _cast(trace: GraphRecorder, call: OperatorCall) -> Values:
    """A change of dtype: towards zero for whole numbers, 0 and 1 for truth values."""
    given = call.arguments.get("self", call.arguments.get("input"))
    before, after = given.sample.dtype, call.results[0].dtype
    if after == before or after.is_floating_point or before == torch.bool:
        return _same(trace, call)
    if after == torch.bool:
        expression: Expression = ("ne", X, 0.0)
    elif before.is_floating_point:
        expression = ("trunc", X)
    else:
        return _same(trace, call)
    name = trace.emit("pointwise", [given.name], call.output, call.shape, expression=expression)
    return first(call, name)


_RESHAPES = (
    "flatten", "reshape", "view", "_unsafe_view", "unsqueeze", "squeeze", "unflatten", "view_as",
)  # fmt: skip
_CASTS = ("to", "_to_copy", "type_as")
_COPIES = (
    "contiguous", "clone", "dropout", "feature_dropout", "detach",
    "detach_", "lift_fresh_copy", "alias",
)  # fmt: skip
SHAPES: Mapping[str, Converter] = {
    **dict.fromkeys(_RESHAPES, _reshape),
    **dict.fromkeys(_COPIES, _same),
    **dict.fromkeys(_CASTS, _cast),
    **dict.fromkeys(("permute", "transpose", "t", "movedim"), _permute),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(("split", "chunk", "split_with_sizes", "unbind"), _split),
    **dict.fromkeys(("cat", "stack"), _concat),
    "slice": _slice,
    "select": _select,
}
