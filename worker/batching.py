"""Which waiting inputs share one forward pass, and how its outputs are taken apart again.

```
 a [1,8,8]  b [3,8,8]  c [1,8,8] ──concatenate──▶ [5,8,8] ──run──▶ [5,10] ──split──▶ 1, 3, 1 rows
```
Inputs may share a pass when the manifest leaves the first dimension of every input and output open
and all other dimensions agree. Where the runtime has a mask that hides padding, sentences of other
lengths may join: the shortest go first, and a pass is an eighth padding at most. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from oracle.protocol import text
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from worker.errors import OutputInvalid

Tensors = Mapping[str, Array]
_PADDING = 1 / 8  # of a pass: beyond that, a pass more costs less


def can_batch(manifest: Manifest) -> bool:
    """Whether the first dimension of everything is open, or counts samples (exact versions).

    Of a text it counts bytes.
    """
    if manifest.runtime.format == text.FORMAT:
        return False
    if manifest.exact is not None:
        return True
    specs = [*manifest.inputs, *manifest.outputs]
    return all(spec.shape and spec.shape[0] is None for spec in specs)


def plan(
    manifest: Manifest, inputs: Sequence[Tensors], max_rows: int, mask: str = ""
) -> Iterator[list[int]]:
    """Yield groups of indices of inputs that run together; every input is in one of them.

    A group has at most `max_rows` rows, or a single input.

    Args:
        mask: input whose zeros hide padding from the model (see `runtimes.mask_of`); "" = none.
    """
    if not can_batch(manifest):
        yield from ([index] for index in range(len(inputs)))
        return
    padded = bool(mask) and _can_pad(manifest)
    alike: dict[object, list[int]] = {}
    lengths = [1] * len(inputs)
    for index, tensors in enumerate(inputs):
        key: object = tuple((name, tensors[name].shape[1:]) for name in sorted(tensors))
        if _rows(tensors) is None:
            key = index  # its inputs disagree about the number of rows: by itself
        elif padded and _hides(tensors, mask):
            key, lengths[index] = mask, tensors[mask].shape[1]
        alike.setdefault(key, []).append(index)
    for members in alike.values():
        group: list[int] = []
        rows = tokens = 0
        for index in sorted(members, key=lengths.__getitem__):
            count, length = _rows(inputs[index]) or 0, lengths[index]
            full = (rows + count) * length
            if group and (
                rows + count > max_rows or full - tokens - count * length > _PADDING * full
            ):
                yield group
                group, rows, tokens = [], 0, 0
            group.append(index)
            rows += count
            tokens += count * length
        yield group


def join(inputs: Sequence[Tensors]) -> dict[str, Array]:
    """Concatenate along the first dimension, padded with zeros; a single input passes through."""
    if len(inputs) == 1:
        return dict(inputs[0])
    return {name: _joined([tensors[name] for tensors in inputs]) for name in inputs[0]}


def padded_to(tensors: Tensors, length: int) -> dict[str, Array]:
    """Return sentences with so many tokens, of which the last ones are zeros."""
    return {
        name: np.pad(array, ((0, 0), (0, length - array.shape[1])))
        for name, array in tensors.items()
    }


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


def _joined(arrays: Sequence[Array]) -> Array:
    longest = max(array.shape[1:2] for array in arrays)
    return np.concatenate(
        [a if a.shape[1:2] == longest else padded_to({"": a}, *longest)[""] for a in arrays]
    )


def _can_pad(manifest: Manifest) -> bool:
    """Whether inputs are rows of tokens, and no output has a number for each token."""
    return all(spec.shape == (None, None) for spec in manifest.inputs) and all(
        None not in spec.shape[1:] for spec in manifest.outputs
    )


def _hides(tensors: Tensors, mask: str) -> bool:
    """Whether one length is all inputs', and a mask of zeros and ones shows a token of each row."""
    shown = tensors[mask]
    one_length = len({array.shape for array in tensors.values()}) == 1
    return one_length and bool(((shown == 0) | (shown == 1)).all() and shown.any(axis=1).all())
