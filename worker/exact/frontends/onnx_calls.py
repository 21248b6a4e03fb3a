"""How the converters of ONNX's operators read a call: operands by place, lists, other axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from worker.exact.frontends import aten
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import Expression, X

Values = Mapping[str, Any]


def operand(call: OperatorCall, at: int) -> Any:
    """Return an operand; None where it is left out."""
    parts = call[""]
    return parts[at] if at < len(parts) else None


def ints(call: OperatorCall, name: str, at: int) -> list[int] | None:
    """Return a list that older opsets keep in an attribute, newer ones in an operand."""
    if name in call.arguments:
        value = call[name]
        return [int(item) for item in (value if isinstance(value, list) else [value])]
    part = operand(call, at)
    return None if part is None else [int(value) for value in torch.as_tensor(part).flatten()]


def as_aten(
    name: str, make: Callable[[GraphRecorder, OperatorCall], Mapping[str, Any]]
) -> Converter:
    """Return the ATen converter `name`, with the arguments that `make` gives it."""

    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        return aten.CONVERTERS[name](
            trace, OperatorCall(name, make(trace, call), call.outputs, call.results)
        )

    return convert


def only(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    """Return the one operand as ATen's `self`."""
    return {"self": operand(call, 0)}


def both(_trace: GraphRecorder, call: OperatorCall) -> Mapping[str, Any]:
    """Return two operands as ATen's `self` and `other`."""
    return {"self": operand(call, 0), "other": operand(call, 1)}


def composed(make: Callable[[GraphRecorder, OperatorCall], Any]) -> Converter:
    """Return the converter of an operator that is made of others."""

    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        return trace.done(call, make(trace, call))

    return convert


def function(make: Callable[[OperatorCall], Expression]) -> Converter:
    """Return the converter of a function of each element."""
    return composed(lambda trace, call: trace.function(make(call), operand(call, 0)))


def named(name: str) -> Converter:
    """Return the converter of a function that has a name."""
    return function(lambda _call: (name, X))


def last(trace: GraphRecorder, x: Any, axes: Sequence[int]) -> tuple[Any, list[int]]:
    """Return `x` with these dimensions last, and the permutation that undoes it."""
    rank = len(x.shape)
    moved = [axis % rank for axis in axes]
    order = [*(dim for dim in range(rank) if dim not in moved), *moved]
    back = [order.index(dim) for dim in range(rank)]
    return (x if order == list(range(rank)) else trace.move("permute", x, order)), back


def flip(trace: GraphRecorder, x: Any, dim: int) -> Any:
    """Return `x` in reverse along one dimension."""
    if not isinstance(x, Dynamic):
        return torch.as_tensor(x).flip(dim)
    size = x.shape[dim]
    turned, back = last(trace, x, [dim])
    flipped = trace.apply("linear", turned, torch.eye(size).flip(0), None)
    return trace.move("permute", flipped, back)
