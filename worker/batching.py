"""Which waiting inputs share one forward pass, and how its outputs are taken apart again.

```
 a [1,8,8]  b [3,8,8]  c [1,8,8] ──concatenate──▶ [5,8,8] ──run──▶ [5,10] ──split──▶ 1, 3, 1 rows
```
Inputs may share a pass when the manifest leaves the first dimension of every input and output open
and all other dimensions agree. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from worker.errors import OutputInvalid

Tensors = Mapping[str, Array]


def can_batch(manifest: Manifest) -> bool:
    """Whether the first dimension of everything is open, or counts samples (exact versions)."""
    if manifest.exact is not None:
        return True
    specs = [*manifest.inputs, *manifest.outputs]
    return all(spec.shape and spec.shape[0] is None for spec in specs)


def plan(manifest: Manifest, inputs: Sequence[Tensors], max_rows: int) -> Iterator[list[int]]:
    """Yield groups of indices of inputs that run together, in order of their first member.

    A group has at most `max_rows` rows, or a single input.
    """
    if not can_batch(manifest):
        yield from ([index] for index in range(len(inputs)))
        return
    alike: dict[object, list[int]] = {}
    for index, tensors in enumerate(inputs):
        key: object = tuple((name, tensors[name].shape[1:]) for name in sorted(tensors))
        if _rows(tensors) is None:
            key = index  # its inputs disagree about the number of rows: by itself
        alike.setdefault(key, []).append(index)
    for members in alike.values():
        group: list[int] = []
        rows = 0
        for index in members:
            count = _rows(inputs[index]) or 0
            if group and rows + count > max_rows:
                yield group
                group, rows = [], 0
            group.append(index)
            rows += count
        yield group


def join(inputs: Sequence[Tensors]) -> dict[str, Array]:
    """Concatenate along the first dimension; a single input passes through."""
    if len(inputs) == 1:
        return dict(inputs[0])
    return {name: np.concatenate([tensors[name] for tensors in inputs]) for name in inputs[0]}


def split(outputs: Tensors, inputs: Sequence[Tensors]) -> list[dict[str, Array]]:
    """Give every input its rows of the outputs.

    Raises:
        OutputInvalid: an output has another number of rows than went in.
    """
    if len(inputs) == 1:
        return [dict(outputs)]
    counts = [_rows(tensors) or 0 for tensors in inputs]
    ends = np.cumsum(counts)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != ends[-1]:
            raise OutputInvalid(
                f"output {name} has shape {list(array.shape)} for a batch of {ends[-1]} rows",
                hint="a model whose outputs are not one row per input row must fix its batch size",
            )
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for count, end in zip(counts, ends, strict=True)
    ]


def _rows(tensors: Tensors) -> int | None:
    counts = {array.shape[0] for array in tensors.values()}
    return counts.pop() if len(counts) == 1 else None
