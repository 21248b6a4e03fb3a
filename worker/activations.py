"""The activation that a committee's voter shows: what only who runs the model can know.

```
 keccak(seed ‖ i) ─▶ node_i = high half mod nodes, element_i = low half mod its size   i = 0 … 3
 activation = Σ value(node_i, element_i), in 1e-9, rounded half to even
```
Nodes are those of a `torch.export` graph that return one float tensor and depend on the input, in
the order of the graph. What follows from weights alone, whoever has the file knows. Elements are in
row-major order. Formats whose inside cannot be looked at have their outputs as nodes, in the order
of their names. Four places, as one alone is often zero and easily guessed.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from oracle.protocol.canonical import keccak
from oracle.types import Activation, Bytes32
from worker.runtimes.base import Array, Params, Runtime

PLACES = 4
UNIT = 10**9
_BOUND = 1e30  # more than the contract takes, and no float overflows
LEAST, MOST = -(2**127), 2**127 - 1  # what the contract's int128 holds


def run(
    runtime: Runtime, inputs: Mapping[str, Array], params: Params, seed: Bytes32
) -> tuple[dict[str, Array], Activation]:
    """Answer one input and return the outputs with the activation that the seed draws.

    Raises what `Runtime.run` raises.
    """
    if not hasattr(runtime, "observed"):
        outputs = runtime.run(inputs, params)
        return outputs, of_outputs(outputs, seed)
    count = _Count()
    runtime.observed(inputs, params, count)  # how many nodes there are shows only in running
    pick = _Pick(seed, count.nodes)
    outputs = runtime.observed(inputs, params, pick)
    return outputs, _of(pick.found)


def of_outputs(outputs: Mapping[str, Array], seed: Bytes32) -> Activation:
    """Return the activation of a model whose inside cannot be looked at."""
    named = [outputs[name] for name in sorted(outputs)]
    return _of([float(named[n].flat[e]) for n, e in _places(seed, named)])


def _of(values: list[float]) -> Activation:
    """Return the sum as the contract takes it; what is no number is the least there is."""
    if not all(map(math.isfinite, values)):
        return Activation(LEAST)
    bounded = [min(_BOUND, max(-_BOUND, value)) for value in values]
    return Activation(min(MOST, max(LEAST, round(math.fsum(bounded) * UNIT))))


def _halves(seed: Bytes32, place: int) -> tuple[int, int]:
    return divmod(int.from_bytes(keccak(seed + bytes([place]))), 2**128)


def _places(seed: Bytes32, nodes: list[Array]) -> list[tuple[int, int]]:
    nodes = [np.atleast_1d(node) for node in nodes]
    if not any(node.size for node in nodes):
        return []
    drawn = []
    for place in range(PLACES):
        high, low = _halves(seed, place)
        filled = [n for n, node in enumerate(nodes) if node.size]
        node = filled[high % len(filled)]
        drawn.append((node, low % nodes[node].size))
    return drawn


def _is_node(result: Any) -> bool:
    return hasattr(result, "is_floating_point") and result.is_floating_point() and result.numel()


class _Count:
    """Counts the nodes that can be drawn."""

    def __init__(self) -> None:
        self.nodes = 0

    def __call__(self, result: Any) -> None:
        self.nodes += bool(_is_node(result))


class _Pick:
    """Takes the drawn elements as the graph runs past them."""

    def __init__(self, seed: Bytes32, nodes: int) -> None:
        self._wanted: dict[int, list[int]] = {}
        for place in range(PLACES if nodes else 0):
            high, low = _halves(seed, place)
            self._wanted.setdefault(high % nodes, []).append(low)
        self._node = 0
        self.found: list[float] = []

    def __call__(self, result: Any) -> None:
        if not _is_node(result):
            return
        for low in self._wanted.get(self._node, []):
            self.found.append(float(result.reshape(-1)[low % result.numel()].double()))
        self._node += 1
