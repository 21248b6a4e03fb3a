"""Operators of ONNX that are linear in their inputs, as one matrix each: resizing, borders, DFT.

A program has one shape, so such an operator is a matrix, whatever its many attributes say. The
library itself gives its columns: what it makes of each unit vector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from worker.errors import ModelUnsupported
from worker.exact.frontends.onnx_calls import Values
from worker.exact.frontends.tracing import Dynamic, GraphRecorder, OperatorCall
from worker.exact.graph import Array

MOST = 4096  # elements of the inputs, and so runs of the operator: a row is shown whole


def by_matrix(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Append the product with an operator's matrix.

    Raises:
        OperatorUnsupported: its inputs are too large for that, or it is not linear in them.
    """
    alone = call["alone"](reference=False)
    dynamic = [part for part in call[""] if isinstance(part, Dynamic)]
    sizes = [part.sample.numel() for part in dynamic]
    total = sum(sizes)
    if total > MOST:
        raise trace.refuse(
            call.name, f"{total} elements, {MOST} have a matrix here", instead="smaller inputs"
        )

    def run(flat: Array) -> Array:
        pieces = iter(np.split(flat, np.cumsum(sizes)[:-1]))
        parts = [
            next(pieces).reshape(part.shape) if isinstance(part, Dynamic) else part
            for part in call[""]
        ]
        return np.asarray(alone(parts), np.float64).ravel()

    offset = run(np.zeros(total))
    columns = np.stack([run(unit) - offset for unit in np.eye(total)], 1)
    probe = np.random.default_rng(0).integers(-3, 4, total).astype(np.float64)
    apart = np.abs(columns @ probe + offset - run(probe)).max(initial=0.0)
    if apart > 1e-3 * (1 + np.abs(columns).max(initial=0.0)):
        raise trace.refuse(
            call.name, "it is not linear in its inputs",
            instead="publish this model as a float one (judged by a committee)",
        )  # fmt: skip
    _require_agreed(trace, call, alone)
    rows = [trace.move("reshape", part, (1, -1)) for part in dynamic]
    x = rows[0] if len(rows) == 1 else trace.apply("concat", *rows, dim=1)
    blocks = _blocks(columns, offset)
    if blocks > 1:
        x = trace.move("reshape", x, (blocks, total // blocks))
        high, wide = (size // blocks for size in columns.shape)
        columns, offset = columns[:high, :wide], offset[:high]
    bias = torch.from_numpy(offset) if offset.any() else None
    return trace.done(call, trace.apply("linear", x, torch.from_numpy(columns), bias))


def _require_agreed(
    trace: GraphRecorder, call: OperatorCall, alone: Callable[[Sequence[Any]], Array]
) -> None:
    """Refuse what onnxruntime does otherwise than ONNX says: some resizing that aligns corners."""
    parts = [part.sample if isinstance(part, Dynamic) else part for part in call[""]]
    try:
        said = call["alone"](reference=True)(parts)
    except ModelUnsupported:  # an operator that only onnxruntime runs
        return
    ours = np.asarray(alone(parts), np.float64)
    if ours.shape != said.shape or not np.allclose(ours, said.astype(np.float64), 1e-2, 1e-2):
        raise trace.refuse(
            call.name, "onnxruntime and ONNX's reference differ in it",
            instead="other attributes, for which they agree",
        )  # fmt: skip


def _blocks(matrix: Array, offset: Array) -> int:
    """Return how many times the same block stands on a matrix's diagonal, and nothing else."""
    high, wide = matrix.shape
    held = np.count_nonzero(matrix)
    for count in range(wide, 1, -1):
        if high % count or wide % count:
            continue
        h, w = high // count, wide // count
        cut = matrix.reshape(count, h, count, w)
        blocks = cut[range(count), :, range(count)]
        rows = offset.reshape(count, h)
        same = bool((blocks == blocks[0]).all()) and bool((rows == rows[0]).all())
        if same and np.count_nonzero(blocks) == held:
            return count
    return 1
