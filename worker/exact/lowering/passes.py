"""Rewrites the float graph into fewer, larger operators before any integer is chosen.

Every pass keeps the function that the graph computes, up to the rounding of float32.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from worker.exact.graph import Array, Graph, GraphNode, Pass, Sample
from worker.exact.lowering import expressions
from worker.exact.lowering.expressions import X

_FUSES_CLAMP = frozenset({"linear", "conv2d", "matmul", "add", "affine"})
_VIEWS = frozenset({"reshape", "expand", "permute"})
_DROWNED = -1e9  # beside which a score is no more than rounding
_KEPT = ("role", "alike")  # attributes of any node
MASKED_OUT = -1e3  # a score that low counts for nothing in a softmax
_LIMITS = ("low", "high")  # attributes of a clamp
_NEAR = 1 + 1e-6  # two ends of a range that float32 rounded
_ALIKE = 4  # columns whose largest values are that close share a scale


def simplify(graph: Graph) -> Graph:
    """Apply every pass, in an order in which one makes room for the next."""
    for step in PASSES:
        graph = step(graph)
    return graph


def scale_columns(graph: Graph, samples: Sequence[Sample]) -> Graph:
    """Give each column of a table a scale of its own, where one for all would cost small ones.

    The factors go into the layers that read the table (`merge_affine`), so nothing is lost there.
    """
    nodes: list[GraphNode] = []
    renamed: dict[str | None, str] = {}
    for name in graph.inputs if samples else ():
        shape = graph.shapes[name]
        if (
            not shape
            or math.prod(shape) != shape[-1]
            or any(sample[name].dtype.kind != "f" for sample in samples)
            or {node.op for node in graph.nodes if name in node.inputs} == {"grid"}
        ):
            continue
        seen = np.abs(np.stack([np.ravel(sample[name]) for sample in samples])).max(0)
        scale = np.where(seen > 0, seen, 1.0).astype(np.float64)
        if scale.max() < _ALIKE * scale.min() or any(
            name in node.inputs and node.op == "embedding" for node in graph.nodes
        ):
            continue
        one, back = f"{name}.columns", f"{name}.restored"
        renamed[name] = back
        nodes += [
            GraphNode("columns", (name,), one, {"scale": scale}, f"input {name}"),
            GraphNode(
                "affine", (one,), back, {"scale": scale, "offset": np.zeros(())}, f"input {name}"
            ),
        ]
        graph = replace(graph, shapes={**graph.shapes, one: shape, back: shape})
    read = [
        replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        for node in graph.nodes
    ]
    return graph.with_nodes([*nodes, *read]) if nodes else graph


def compose_pointwise(graph: Graph) -> Graph:
    """Make one node of every tree of functions of the same number: x·σ(x), the GELU of ONNX."""
    source: dict[str, tuple[str, Any]] = {}  # value → (the value it is a function of, expression)
    users, nodes = graph.users(), []
    for node in graph.nodes:
        alone = [len(users.get(name or "", ())) == 1 for name in node.inputs]
        parts = [
            source.get(name or "", (name, X)) if single else (name, X)
            for name, single in zip(node.inputs, alone, strict=True)
        ]
        names = {name for name, _ in parts}
        same = [graph.shapes[name] == graph.shapes[node.output] for name in names if name]
        if node.op == "pointwise":
            expression = expressions.substitute(node.attributes["expression"], parts[0][1])
        elif node.op in ("add", "sub", "mul", "div") and len(names) == 1 and all(same):
            expression = (node.op, *(expression for _, expression in parts))
        else:
            nodes.append(node)
            continue
        name = parts[0][0] or ""
        source[node.output] = (name, expression)
        kept = {name: node.attributes[name] for name in _KEPT if name in node.attributes}
        function = {**kept, "expression": expression}
        nodes.append(replace(node, op="pointwise", inputs=(name,), attributes=function))
    return graph.with_nodes(nodes)


def name_pointwise(graph: Graph) -> Graph:
    """Turn functions that need no table into what they are: `affine` and `clamp`."""
    return graph.with_nodes([named(node) for node in graph.nodes])


def named(node: GraphNode) -> GraphNode:
    """Return a function that needs no table as `affine` or `clamp`."""
    if node.op != "pointwise":
        return node
    expression = node.attributes["expression"]
    line, limits = expressions.as_affine(expression), expressions.as_clamp(expression)
    if line is not None:
        scale, offset = (np.asarray(value, np.float64) for value in line)
        return replace(node, op="affine", attributes={"scale": scale, "offset": offset})
    if limits is not None:
        return replace(node, op="clamp", attributes={"limits": limits})
    return node


def merge_affine(graph: Graph) -> Graph:
    """Fold scale and offset (BatchNorm is that) into the layer before, or the one after."""
    return _fold_forward(_fold_back(graph))


def _fold_back(graph: Graph) -> Graph:
    users = graph.users()
    constants: dict[str, Array] = {}
    done: dict[str, GraphNode] = {}
    for node in graph.nodes:
        before = done.get(node.inputs[0] or "") if node.op == "affine" else None
        folded = None
        if before is not None and len(users[before.output]) == 1:
            folded = _into(before, node, graph, constants)
        done[node.output] = folded or node  # `before` has no reader left, so it is dropped
    return graph.with_nodes(done.values(), constants)


def _into(
    before: GraphNode, node: GraphNode, graph: Graph, constants: dict[str, Array]
) -> GraphNode | None:
    """Return `before` with `node`'s scale and offset in its own numbers; None when they differ."""
    scale, offset = node.attributes["scale"], node.attributes["offset"]
    shape = graph.shapes[node.output]
    if before.op == "affine":
        return replace(
            before,
            output=node.output,
            attributes={
                "scale": np.asarray(before.attributes["scale"] * scale),
                "offset": np.asarray(before.attributes["offset"] * scale + offset),
            },
        )
    if before.op not in ("linear", "conv2d", "layer_norm"):
        return None
    axis = len(shape) - 3 if before.op == "conv2d" else len(shape) - 1
    scale, offset = (_along(value, shape, axis) for value in (scale, offset))
    if scale is None or offset is None:
        return None
    held = {**graph.constants, **constants}
    names = before.inputs[1:]
    weight = np.ones(shape[-1]) if names[0] is None else held[names[0]].astype(np.float64)
    bias = 0.0 if names[1] is None else held[names[1]].astype(np.float64)
    new = [f"{node.output}.weight", f"{node.output}.bias"]
    constants[new[0]] = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    constants[new[1]] = bias * scale + offset
    return replace(before, inputs=(before.inputs[0], *new), output=node.output)


def _along(value: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """Return an array that varies along one axis alone as a vector; None if it varies elsewhere."""
    full = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if any(size != 1 for dim, size in enumerate(full.shape) if dim != axis):
        return None
    return np.broadcast_to(full.ravel(), (shape[axis] if shape else 1,))


def _fold_forward(graph: Graph) -> Graph:
    """Fold an affine (the scaling of inputs) into the linear layers that read it."""
    users, nodes, constants = graph.users(), list(graph.nodes), dict[str, Array]()
    for node in graph.nodes:
        readers = users.get(node.output, [])
        if node.op != "affine" or node.output == graph.output or not readers:
            continue
        shape = graph.shapes[node.output]
        scale, offset = (
            _along(node.attributes[name], shape, len(shape) - 1) for name in ("scale", "offset")
        )
        linear = all(reader.op == "linear" for reader in readers)
        if scale is None or offset is None or not linear:
            continue
        for reader in readers:
            at = next(i for i, other in enumerate(nodes) if other.output == reader.output)
            _, weight_name, bias_name = nodes[at].inputs
            held = {**graph.constants, **constants}
            weight = held[weight_name or ""].astype(np.float64)
            bias = 0.0 if bias_name is None else held[bias_name].astype(np.float64)
            new = [f"{reader.output}.scaled_weight", f"{reader.output}.scaled_bias"]
            constants[new[0]], constants[new[1]] = weight * scale, bias + weight @ offset
            nodes[at] = replace(nodes[at], inputs=(node.inputs[0], *new))
    return graph.with_nodes(nodes, constants)


def fuse_clamp(graph: Graph) -> Graph:
    """Let the requantisation before a ReLU do it: an unsigned result cannot be negative."""
    users = graph.users()
    done: dict[str, GraphNode] = {}
    for node in graph.nodes:
        before = done.get(node.inputs[0] or "") if node.op == "clamp" else None
        low, high = node.attributes["limits"] if node.op == "clamp" else (None, None)
        if (
            before is not None
            and before.op in _FUSES_CLAMP
            and low == 0.0
            and (high is None or high > 0)
            and len(users[before.output]) == 1
            and "low" not in before.attributes
        ):
            done[node.output] = replace(before.also(low=low, high=high), output=node.output)
        else:
            done[node.output] = node
    return graph.with_nodes(done.values())


def adopt_grid(graph: Graph) -> Graph:
    """Let the requantisation of a layer round to the grid that the model puts its result on."""
    users = graph.users()
    done: dict[str, GraphNode] = {}
    for node in graph.nodes:
        before = done.get(node.inputs[0] or "") if node.op == "grid" else None
        if (
            before is not None
            and before.op in ("linear", "conv2d")
            and len(users[before.output]) == 1
            and "grid" not in before.attributes
            and _within(before, node.attributes)
        ):
            kept = {name: v for name, v in before.attributes.items() if name not in _LIMITS}
            one = {**kept, "grid": node.attributes}
            done[node.output] = replace(before, attributes=one, output=node.output)
        else:
            done[node.output] = node
    return graph.with_nodes(done.values())


def _within(node: GraphNode, grid: Mapping[str, Any]) -> bool:
    """Whether what a node was clamped to is clamped by a grid too."""
    low, high = (node.attributes.get(name) for name in _LIMITS)
    last = (grid["most"] - grid["zero"]) * grid["scale"]
    return (low is None or grid["zero"] == grid["least"]) and (high is None or last <= high * _NEAR)


def find_mask_sum(graph: Graph) -> Graph:
    """Recognise x + (kept ? 0 : −∞): scores of which those that are not kept count for nothing."""
    made, nodes, shapes = graph.producers(), list[GraphNode](), dict(graph.shapes)
    for node in graph.nodes:
        found = _mask_sum(graph, made, node) if node.op == "add" else None
        if found is None:
            nodes.append(node)
            continue
        scores, mask, views = found
        expression = mask.attributes["expression"]
        name = f"{node.output}.mask"
        nodes.append(
            replace(mask, output=name, attributes={"expression": ("ne", expression[1], 0.0)})
        )
        shapes[name] = shapes[mask.output]
        for at, view in enumerate(reversed(views)):
            moved = f"{name}.{at}"
            nodes.append(replace(view, inputs=(name,), output=moved))
            shapes[moved] = shapes[view.output]
            name = moved
        filled = {"where": int(expression[2] != 0.0), "value": min(expression[2:])}
        nodes.append(replace(node, op="masked_fill", inputs=(scores, name), attributes=filled))
    return replace(graph, shapes=shapes).with_nodes(nodes)


def _mask_sum(
    graph: Graph, made: dict[str, GraphNode], node: GraphNode
) -> tuple[str, GraphNode, list[GraphNode]] | None:
    """Return scores, the function that makes their mask, and the views between, last first."""
    for at in (0, 1):
        scores, views = node.inputs[at] or "", list[GraphNode]()
        mask = made.get(node.inputs[1 - at] or "")
        while mask is not None and mask.op in _VIEWS:
            views.append(mask)
            mask = made.get(mask.inputs[0] or "")
        if mask is None or mask.op != "pointwise" or scores in graph.constants:
            continue
        expression = mask.attributes["expression"]
        sides = expression[2:] if expression[0] == "where" else ()
        numbers = sorted(side for side in sides if isinstance(side, float))
        shaped = graph.shapes[scores] == graph.shapes[node.output]
        if len(numbers) == 2 and numbers[0] <= _DROWNED and numbers[1] == 0.0 and shaped:
            return scores, mask, views
    return None


def find_masked_mean(graph: Graph) -> Graph:
    """Recognise Σ(x·mask) / max(Σ mask, ε): the mean of the tokens that are there."""
    made = graph.producers()
    return graph.with_nodes([_masked_mean(graph, made, node) or node for node in graph.nodes])


def _masked_mean(graph: Graph, made: dict[str, GraphNode], node: GraphNode) -> GraphNode | None:
    if node.op != "div":
        return None
    above, below = (_through_views(made, name or "") for name in node.inputs)
    if above is None or below is None or above.op != "sum" or above.attributes["dims"] != (1,):
        return None
    product = _through_views(made, above.inputs[0] or "")
    if product is None or product.op != "mul" or not _is_count(made, below):
        return None
    x, mask = product.inputs
    if graph.shapes[x or ""] != graph.shapes[product.output]:
        x, mask = mask, x
    if not _is_mask(graph, made, mask or ""):
        return None
    return replace(node, op="masked_mean", inputs=(x, mask), attributes={})


def _through_views(made: dict[str, GraphNode], name: str) -> GraphNode | None:
    node = made.get(name)
    while node is not None and node.op in _VIEWS and node.inputs[0] in made:
        node = made.get(node.inputs[0] or "")
    return node


def _is_count(made: dict[str, GraphNode], node: GraphNode) -> bool:
    """Whether a node is a sum, perhaps clamped from below."""
    while node.op in ("clamp", "pointwise", "expand", "reshape"):
        before = made.get(node.inputs[0] or "")
        if before is None:
            return False
        node = before
    return node.op == "sum"


def _is_mask(graph: Graph, made: dict[str, GraphNode], name: str) -> bool:
    """Whether a value is an input seen through views and casts."""
    while name not in graph.inputs:
        node = made.get(name)
        if node is None or node.op not in _VIEWS:
            return False
        name = node.inputs[0] or ""
    return True


def find_normalise(graph: Graph) -> Graph:
    """Recognise an answer that is x / max(‖x‖, ε)."""
    made = graph.producers()
    last = made[graph.output]
    answers = last.inputs if last.op == "outputs" else (graph.output,)
    return graph.with_nodes([
        node if node.output not in answers else _normalise(made, node) or node
        for node in graph.nodes
    ])  # fmt: skip


def _normalise(made: dict[str, GraphNode], node: GraphNode) -> GraphNode | None:
    below = made.get(node.inputs[1] or "") if node.op == "div" else None
    while below is not None and below.op in ("clamp", "expand", "pointwise"):
        below = made.get(below.inputs[0] or "")
    if below is None or below.op != "norm" or below.inputs[0] != node.inputs[0]:
        return None
    return replace(node, op="normalise", inputs=node.inputs[:1])


def write_out_norm(graph: Graph) -> Graph:
    """Make a length of what no reader divides by what it is: √Σx²."""
    nodes = []
    for node in graph.nodes:
        if node.op != "norm":
            nodes.append(node)
            continue
        x = node.inputs[0] or ""
        square, total = f"{node.output}.square", f"{node.output}.sum"
        rank = len(graph.shapes[x])
        function = {"expression": ("mul", X, X)}
        nodes += [
            replace(node, op="pointwise", output=square, attributes=function),
            replace(
                node, op="sum", inputs=(square,), output=total,
                attributes={"dims": (rank - 1,), "keep": True},
            ),
            replace(
                node, op="pointwise", inputs=(total,), attributes={"expression": ("sqrt", X)}
            ),
        ]  # fmt: skip
        graph = replace(graph, shapes={
            **graph.shapes, square: graph.shapes[x], total: graph.shapes[node.output],
        })  # fmt: skip
    return graph.with_nodes(nodes)


PASSES: tuple[Pass, ...] = (
    compose_pointwise, find_mask_sum, name_pointwise, merge_affine, fuse_clamp, adopt_grid,
    find_masked_mean, find_normalise, write_out_norm,
)  # fmt: skip
