"""The float graph between a framework and the integers: two dozen operators on named values.

Frontends write it, passes rewrite it, `floats` runs it, `lowering` turns it into a program. Shapes
are concrete, for one sample, with whatever leading ones the framework keeps for the batch.

| op | inputs | attributes |
|---|---|---|
| linear | x [..., K], w [N, K], b [N] or None | |
| conv2d | x [1, C, H, W], w, b or None | stride, padding (4: t, l, b, r), dilation, groups |
| matmul | a [..., M, K], b [..., K, N] | |
| add, sub, mul, div | a, b (broadcast) | |
| products | a, b, c, d, ...: a·b + c·d + ... (one shape) | |
| affine | x | scale, offset: arrays that broadcast to x |
| clamp | x | low, high: number or None |
| pointwise | x | expression: see `expressions` |
| grid | x | scale, zero, least, most: scale · (q − zero) of a whole q in least … most |
| layer_norm | x, w or None, b or None (the last dimension) | eps |
| softmax | x (the last dimension) | |
| embedding | ids, table | |
| max_pool | x [1, C, H, W] | kernel, stride, padding (4), dilation |
| avg_pool | x [1, C, H, W] | kernel, stride, padding (4; counted) |
| mean, sum | x | dims, keep |
| masked_mean | x [1, S, D], mask | |
| columns | x (an input), of which each column has a scale of its own | scale |
| reshape, expand | x | shape |
| permute | x | dims |
| slice | x | dim, start, step, size |
| concat | x, ... | dim |
| max | x | dims |
| argmax | x (the last dimension) | |
| normalise | x (to length 1; the last dimension) | |
| outputs | x, ... (the answers of a model; the last node, where there are several) | names |

linear, conv2d, matmul, add and affine may carry `low` and `high`: a clamp that was fused into them;
linear and conv2d a `grid`: the attributes of one that was.
Any node may carry `role` (see `policy.Site`) and `alike`: nodes of one name share a range.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worker.errors import ModelUnsupported

Array = np.ndarray[Any, np.dtype[Any]]
Sample = Mapping[str, Array]  # one input per name, with a batch of one


class OperatorUnsupported(ModelUnsupported):
    """A node has no integer form; the message says which, where, and what to use instead."""

    def __init__(self, operator: str, where: str, why: str, *, instead: str) -> None:
        super().__init__(f"{operator} at {where or 'the top level'}: {why}", hint=instead)
        self.operator = operator
        self.where = where


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operator. `where` is its place in the model: module path and source line."""

    op: str
    inputs: tuple[str | None, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def refuse(self, why: str, *, instead: str) -> OperatorUnsupported:
        """Return the error that names this node."""
        return OperatorUnsupported(self.op, f"{self.where} ({self.output})", why, instead=instead)

    def also(self, **attributes: Any) -> "GraphNode":
        """Return this node with more attributes."""
        return replace(self, attributes={**self.attributes, **attributes})


@dataclass(frozen=True, slots=True)
class Original:
    """A model in its library.

    Attributes:
        values: every value by the library's name, for one sample.
        outputs: the names of the answers.
    """

    values: Callable[[Sample], Mapping[str, Array]]
    outputs: tuple[str, ...]

    def run(self, sample: Sample) -> Array:
        """Return the answer to one sample; several one after another."""
        return self.answer(self.values(sample))

    def answer(self, values: Mapping[str, Array]) -> Array:
        """Return the answer among all values; several one after another."""
        if len(self.outputs) == 1:
            return values[self.outputs[0]]
        return np.concatenate([np.ravel(values[name]) for name in self.outputs])


@dataclass(frozen=True, slots=True)
class Graph:
    """A model as data: `nodes` are in topological order, `shapes` has every value."""

    inputs: tuple[str, ...]
    output: str
    nodes: tuple[GraphNode, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    original: Original | None = field(default=None, compare=False)  # what it is a reading of

    def users(self) -> dict[str, list[GraphNode]]:
        """Return who reads each value."""
        users: dict[str, list[GraphNode]] = {}
        for node in self.nodes:
            for name in {name for name in node.inputs if name is not None}:
                users.setdefault(name, []).append(node)
        return users

    def producers(self) -> dict[str, GraphNode]:
        """Return which node writes each value."""
        return {node.output: node for node in self.nodes}

    def with_nodes(
        self, nodes: Iterable[GraphNode], constants: Mapping[str, Array] | None = None
    ) -> "Graph":
        """Return the graph with other nodes, without what no longer reaches the output."""
        everything = {**self.constants, **(constants or {})}
        needed, kept = {self.output}, []
        for node in reversed(list(nodes)):
            if node.output in needed:
                kept.append(node)
                needed.update(name for name in node.inputs if name is not None)
        return replace(
            self,
            nodes=tuple(reversed(kept)),
            constants={name: value for name, value in everything.items() if name in needed},
            shapes={
                **{name: value.shape for name, value in (constants or {}).items()}, **self.shapes
            },
        )  # fmt: skip


Pass = Callable[[Graph], Graph]
