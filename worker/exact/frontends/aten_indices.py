"""ATen's look-ups and movements in the float graph, and truth values that are joined."""

from collections.abc import Mapping

import torch

from worker.exact.frontends import lookups
from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
)
from worker.exact.lowering.expressions import X


def _embedding(trace: GraphRecorder, call: OperatorCall) -> Values:
    """GATHER for ids of an input; a product with ones for ids that are computed."""
    table, ids = call["weight"], call["indices"]
    if trace.is_ids(ids) and not isinstance(table, Dynamic):
        inputs = [ids.name, trace.constant(table, "table")]
        return first(call, trace.emit("embedding", inputs, call.output, call.shape))
    return trace.done(call, lookups.rows(trace, table, ids))


def _index(trace: GraphRecorder, call: OperatorCall) -> Values:
    """x[i, j, ...] where the places are constants."""
    if any(isinstance(part, Dynamic) for part in call["indices"]):
        raise trace.refuse(
            "index", "its places depend on the inputs", instead="torch.nn.functional.embedding"
        )
    given = call["self"]
    marks = torch.arange(given.sample.numel()).reshape(given.shape)
    places = torch.ops.aten.index.Tensor(marks, call["indices"])
    return trace.done(call, lookups.moved(trace, given, places))


def _gather(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Elements along one dimension; a table that holds one number gives it for every place."""
    table, ids, dim = call["self"], call["index"], call["dim"]
    if not isinstance(ids, Dynamic):
        marks = torch.arange(table.sample.numel()).reshape(table.shape)
        return trace.done(call, lookups.moved(trace, table, marks.gather(dim, ids)))
    if isinstance(table, Dynamic):
        raise trace.refuse("gather", "table and places depend on the inputs", instead="a constant")
    if bool((table == table.flatten()[0]).all()):
        return {call.output: call.results[0]}
    turned = table.movedim(dim, -1)
    lines = turned.reshape(-1, turned.shape[-1])
    if not bool((lines == lines[:1]).all()):
        raise trace.refuse("gather", "its rows differ", instead="torch.nn.functional.embedding")
    return trace.done(call, lookups.rows(trace, lines[0].float(), ids))


def _moved(trace: GraphRecorder, call: OperatorCall) -> Values:
    """What the operator does to the places of the elements says where each comes from."""
    given = call["self"]
    marks = torch.arange(given.sample.numel(), dtype=torch.float64).reshape(given.shape)
    arguments = {name: value for name, value in call.arguments.items() if name != "self"}
    places = getattr(torch.ops.aten, call.name)(marks, **arguments)
    return trace.done(call, lookups.moved(trace, given, places))


def _cumulative(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, rank = call["self"], len(call["self"].shape)
    dim = call["dim"] % rank
    order = [*(at for at in range(rank) if at != dim), dim]
    rows = trace.move("permute", given, order)
    summed = trace.apply("linear", rows, torch.ones(rows.shape[-1], rows.shape[-1]).tril(), None)
    return trace.done(call, trace.move("permute", summed, [order.index(at) for at in range(rank)]))


def _joined(trace: GraphRecorder, call: OperatorCall) -> Values:
    """And, or: of truth values alone. A constant side that decides nothing leaves the other."""
    a, b = call["self"], call["other"]
    for side in (a, b):
        sample = side.sample if isinstance(side, Dynamic) else torch.as_tensor(side)
        if sample.dtype != torch.bool:
            raise trace.refuse(call.name, "of whole numbers", instead="truth values")
    both = "and" in call.name
    for held, other in ((a, b), (b, a)):
        if not isinstance(held, Dynamic) and bool((torch.as_tensor(held) == both).all()):
            return trace.done(call, trace.move("expand", other, call.shape))
    made = trace.calculate("mul" if both else "add", a, b)
    return trace.done(call, made if both else trace.function(("ne", X, 0.0), made))


def _repeat(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Copies one after another along each dimension."""
    given, counts = call["self"], list(call.arguments.get("repeats", call.arguments.get("dims")))
    sizes = [1] * (len(counts) - len(given.shape)) + list(given.shape)
    tall: list[int] = []
    wide: list[int] = []
    for count, size in zip(counts, sizes, strict=True):
        tall += [1, size]
        wide += [count, size]
    made = trace.move("expand", trace.move("reshape", given, tall), wide)
    return trace.done(call, trace.move("reshape", made, call.shape))


INDICES: Mapping[str, Converter] = {
    "embedding": _embedding, "index": _index, "gather": _gather, "cumsum": _cumulative,
    **dict.fromkeys(("index_select", "flip", "roll"), _moved),
    **dict.fromkeys(
        ("__and__", "__or__", "bitwise_and", "bitwise_or", "logical_and", "logical_or"), _joined
    ),
    "repeat": _repeat,
}  # fmt: skip
