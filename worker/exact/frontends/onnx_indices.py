"""ONNX's look-ups in the float graph, where the places depend on the inputs.

A place among K becomes a row of K zeros with a one in it, and a look-up a product of matrices:
exact, and cheap for the few places that a model chooses between.
"""

import math
from typing import Any

import numpy as np
import torch

from worker.exact.frontends import aten
from worker.exact.frontends.lookups import one_hot
from worker.exact.frontends.onnx_calls import Values, composed, last, operand
from worker.exact.frontends.onnx_matrix import by_matrix
from worker.exact.frontends.tracing import Dynamic, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import X


def _chosen(trace: GraphRecorder, chosen: Any, x: Any) -> Dynamic:
    """Return the product of [..., n, K] with [..., K, m]."""
    return trace.apply("matmul", chosen, x)


def gather(trace: GraphRecorder, call: OperatorCall) -> Values:
    """An embedding, parts of a tensor, or a product with ones."""
    table, ids = operand(call, 0), operand(call, 1)
    axis = call.arguments.get("axis", 0) % len(table.shape)
    if not isinstance(ids, Dynamic):
        return _parts(trace, call, table, ids, axis)
    if trace.is_ids(ids) and not isinstance(table, Dynamic) and axis == 0 and table.ndim == 2:
        return aten.CONVERTERS["embedding"](
            trace,
            OperatorCall(
                "embedding", {"weight": table, "indices": ids}, call.outputs, call.results
            ),
        )
    rest = [size for dim, size in enumerate(table.shape) if dim != axis]
    order = [axis, *(dim for dim in range(len(table.shape)) if dim != axis)]
    rows = trace.move("permute", table, order)
    rows = trace.move("reshape", rows, (table.shape[axis], math.prod(rest)))
    flat = trace.move("reshape", ids, (ids.sample.numel(),))
    found = _chosen(trace, one_hot(trace, flat, table.shape[axis]), rows)
    found = trace.move("reshape", found, (*ids.shape, *rest))
    rank = len(ids.shape)
    places = [*range(rank, rank + axis), *range(rank), *range(rank + axis, rank + len(rest))]
    return trace.done(call, trace.move("permute", found, places))


def _parts(
    trace: GraphRecorder, call: OperatorCall, table: Dynamic, ids: torch.Tensor, axis: int
) -> Values:
    places = [int(place) % table.shape[axis] for place in ids.flatten()]
    if len(places) > 64:
        return by_matrix(trace, call)
    parts = [trace.apply("slice", table, dim=axis, start=place, step=1, size=1) for place in places]
    found = parts[0] if len(parts) == 1 else trace.apply("concat", *parts, dim=axis)
    shape = (*table.shape[:axis], *ids.shape, *table.shape[axis + 1 :])
    return trace.done(call, trace.move("reshape", found, shape))


def _gather_elements(trace: GraphRecorder, call: OperatorCall) -> Any:
    table, ids = operand(call, 0), operand(call, 1)
    axis = call.arguments.get("axis", 0)
    table, _ = last(trace, _cut(trace, table, ids.shape, axis), [axis])
    ids, back = last(trace, ids, [axis])
    chosen = one_hot(trace, ids, table.shape[-1])
    found = _chosen(trace, chosen, trace.move("reshape", table, (*table.shape, 1)))
    return trace.move("permute", trace.move("reshape", found, ids.shape), back)


def _cut(trace: GraphRecorder, x: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Return the front of every dimension but one, as long as `shape` says."""
    for dim, size in enumerate(shape):
        if dim != axis % len(shape) and x.shape[dim] > size:
            if isinstance(x, Dynamic):
                x = trace.apply("slice", x, dim=dim, start=0, step=1, size=size)
            else:
                x = x.narrow(dim, 0, size)
    return x


def _flat_places(trace: GraphRecorder, ids: Any, shape: tuple[int, ...]) -> Any:
    """Return the place in the flat elements that each row of indices names: [n]."""
    rows = trace.move("reshape", ids, (-1, ids.shape[-1]))
    steps = torch.tensor([math.prod(shape[at + 1 :]) for at in range(rows.shape[-1])]).float()
    sizes = torch.tensor(shape[: rows.shape[-1]]).float()
    if isinstance(rows, Dynamic):
        below = trace.calculate("mul", trace.function(("lt", X, 0.0), rows), sizes)
        rows = trace.calculate("add", rows, below)
        return trace.apply("sum", trace.calculate("mul", rows, steps), dims=(1,), keep=False)
    return ((rows + (rows < 0) * sizes) * steps).sum(1)


def _gather_nd(trace: GraphRecorder, call: OperatorCall) -> Any:
    table, ids = operand(call, 0), operand(call, 1)
    if call.arguments.get("batch_dims", 0):
        raise trace.refuse("GatherND", "it has batch_dims", instead="batch_dims=0")
    depth = ids.shape[-1]
    front = math.prod(table.shape[:depth])
    rows = trace.move("reshape", table, (front, math.prod(table.shape[depth:])))
    chosen = one_hot(trace, _flat_places(trace, ids, table.shape[:depth]), front)
    return _chosen(trace, chosen, rows)


def _scattered(trace: GraphRecorder, call: OperatorCall, x: Any, chosen: Any, new: Any) -> Any:
    """Return x [..., K, m] with new [..., n, m] where chosen [..., n, K] says."""
    kind = call.arguments.get("reduction", b"none")
    if kind not in (b"none", b"add"):
        raise trace.refuse(call.name, f"reduction {kind.decode()}", instead="none, or add")
    rank = len(chosen.shape)
    turned = trace.move("permute", chosen, (*range(rank - 2), rank - 1, rank - 2))
    put = _chosen(trace, turned, new)
    if kind == b"add":
        return trace.calculate("add", x, put)
    ones = torch.ones((*new.shape[:-1], 1))
    kept = trace.function(("eq", X, 0.0), _chosen(trace, turned, ones))
    return trace.calculate("add", trace.calculate("mul", x, kept), put)


def _scatter_elements(trace: GraphRecorder, call: OperatorCall) -> Any:
    x, ids, new = (operand(call, at) for at in range(3))
    axis = call.arguments.get("axis", 0)
    rest = [size for dim, size in enumerate(x.shape) if dim != axis % len(x.shape)]
    if rest != [size for dim, size in enumerate(ids.shape) if dim != axis % len(x.shape)]:
        raise trace.refuse(call.name, "it leaves out rows", instead="indices for every row")
    (x, back), (ids, _), (new, _) = (last(trace, part, [axis]) for part in (x, ids, new))
    chosen = one_hot(trace, ids, x.shape[-1])
    tall = [trace.move("reshape", part, (*part.shape, 1)) for part in (x, new)]
    made = _scattered(trace, call, tall[0], chosen, tall[1])
    return trace.move("permute", trace.move("reshape", made, x.shape), back)


def _scatter_nd(trace: GraphRecorder, call: OperatorCall) -> Any:
    x, ids, new = (operand(call, at) for at in range(3))
    depth = ids.shape[-1]
    front, width = math.prod(x.shape[:depth]), math.prod(x.shape[depth:])
    chosen = one_hot(trace, _flat_places(trace, ids, x.shape[:depth]), front)
    rows = trace.move("reshape", new, (-1, width))
    return _scattered(trace, call, trace.move("reshape", x, (front, width)), chosen, rows)


def _one_hot(trace: GraphRecorder, call: OperatorCall) -> Any:
    ids, values = operand(call, 0), operand(call, 2)
    depth = int(np.ravel(operand(call, 1))[0])
    chosen = one_hot(trace, ids, depth)
    off, on = (_element(trace, values, at) for at in (0, 1))
    made = trace.calculate("mul", chosen, trace.calculate("sub", on, off))
    made = trace.calculate("add", made, off)
    rank = len(made.shape)
    axis = call.arguments.get("axis", -1) % rank
    order = [*range(axis), rank - 1, *range(axis, rank - 1)]
    return trace.move("permute", made, order)


def _element(trace: GraphRecorder, values: Any, at: int) -> Any:
    if not isinstance(values, Dynamic):
        return values.flatten()[at].float()
    return trace.apply("slice", values, dim=0, start=at, step=1, size=1)


INDICES = {
    "Gather": gather,
    "GatherElements": composed(_gather_elements),
    "GatherND": composed(_gather_nd),
    **dict.fromkeys(("ScatterElements", "Scatter"), composed(_scatter_elements)),
    "ScatterND": composed(_scatter_nd),
    "OneHot": composed(_one_hot),
}
