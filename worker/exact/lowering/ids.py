"""Which ids an input may hold: one limit for each place, from the tables that read it.

A table looks up `min(id, rows − 1)` in a program, so an id that a table does not have must be
refused where the input is made. Fields of a recommender have a table each, or share one with an
offset for each field; so places differ.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch

from worker.exact import floats
from worker.exact.graph import Array, Graph, GraphNode

VIEWS = frozenset({"reshape", "permute", "slice", "expand"})
MOST = 2**16  # ids of u16


def limits(graph: Graph, name: str) -> Array | None:
    """Return how many ids each place of an input has [elements]; None where no table reads it.

    Raises:
        OperatorUnsupported: an offset that is below zero.
    """
    shape = graph.shapes[name]
    places = torch.arange(math.prod(shape)).reshape(shape)
    found = np.full(math.prod(shape), MOST, np.int64)
    tables = list(_tables(graph, name, places, torch.zeros(shape)))
    for at, most in tables:
        np.minimum.at(found, at, most)
    return found if tables else None


def is_shift(node: GraphNode) -> bool:
    """Whether a node adds whole numbers, which leaves ids what they are."""
    if node.op != "affine":
        return False
    scale, offset = (np.asarray(node.attributes[part]) for part in ("scale", "offset"))
    return bool((scale == 1).all() and (offset == np.rint(offset)).all())


def _tables(
    graph: Graph, name: str, places: torch.Tensor, offsets: torch.Tensor
) -> Iterable[tuple[Array, Array]]:
    """Yield, for every table that reads a value: the input's places, and how many ids each has."""
    for node in graph.users().get(name, ()):
        if node.op in VIEWS and node.inputs[0] == name:
            moved = (floats.evaluate(node, [part]) for part in (places, offsets))
            yield from _tables(graph, node.output, *moved)
        elif is_shift(node):
            added = offsets + torch.as_tensor(node.attributes["offset"])
            wide = places.expand(added.shape)
            yield from _tables(graph, node.output, wide, added)
        elif node.op == "embedding" and node.inputs[0] == name:
            if offsets.min() < 0:
                raise node.refuse("it reads ids less a number", instead="ids that start at 0")
            rows = graph.shapes[node.inputs[1] or ""][0]
            most = rows - offsets.numpy().astype(np.int64).ravel()
            if most.min() < 1:
                raise node.refuse("an offset is beyond its table", instead="a larger table")
            yield places.numpy().ravel(), most
