"""Look-ups in the float graph: by places that depend on the inputs, and by constant ones.

A place among K becomes a row of K zeros with a one in it, and a look-up a product of matrices:
exact, and cheap for the few places that a model chooses between. What only moves elements is a view
where strides can say it.
"""

import math
from typing import Any

import torch

from worker.exact.frontends.tracing import Dynamic, GraphRecorder
from worker.exact.lowering.expressions import Expression, X

NEAR_ZERO: Expression = ("lt", ("abs", X), 0.5)  # of whole numbers: zero
MOST = 2**12  # places


def one_hot(trace: GraphRecorder, ids: Any, count: int) -> Any:
    """Return [..., count]: 1 at the place that each id names, from the end where it is negative."""
    if count > MOST:
        raise trace.refuse("a look-up", f"{count} places", instead=f"{MOST} at the most")
    wrapped = trace.function(("where", ("lt", X, 0.0), ("add", X, float(count)), X), ids)
    wide = trace.move("reshape", wrapped, (*ids.shape, 1))
    wide = trace.move("expand", wide, (*ids.shape, count))
    apart = trace.calculate("sub", wide, torch.arange(count).float())
    return trace.function(NEAR_ZERO, apart)


def rows(trace: GraphRecorder, table: Any, ids: Dynamic) -> Any:
    """Return the rows of a table [K, ...] that ids [...] name."""
    rest = table.shape[1:]
    flat = trace.move("reshape", table, (table.shape[0], math.prod(rest)))
    places = trace.move("reshape", ids, (ids.sample.numel(),))
    found = trace.apply("matmul", one_hot(trace, places, table.shape[0]), flat)
    return trace.move("reshape", found, (*ids.shape, *rest))


def moved(trace: GraphRecorder, x: Dynamic, places: torch.Tensor) -> Dynamic:
    """Return the elements of `x` at constant places, which count its flat elements.

    Raises:
        OperatorUnsupported: too many elements that no view reaches.
    """
    shape, size = tuple(places.shape), x.sample.numel()
    flat = places.flatten().long()
    steps = flat.diff()
    even = bool((steps == steps[:1]).all()) and (flat.numel() == 1 or int(steps[0]) > 0)
    row = trace.move("reshape", x, (size,))
    if even:
        step = int(steps[0]) if flat.numel() > 1 else 1
        if flat.numel() < size:
            row = trace.apply("slice", row, dim=0, start=int(flat[0]), step=step, size=flat.numel())
        made: Dynamic = trace.move("reshape", row, shape)
        return made
    if size > MOST or flat.numel() > MOST:
        raise trace.refuse(
            "a look-up", f"{size} elements in another order", instead=f"{MOST} at the most"
        )
    chosen = torch.zeros(flat.numel(), size)
    chosen[range(flat.numel()), flat] = 1
    picked = trace.apply("linear", trace.move("reshape", x, (1, size)), chosen, None)
    made = trace.move("reshape", picked, shape)
    assert isinstance(made, Dynamic)
    return made
