"""Samples of what a model is asked, in three parts: to tune with, to choose with, to report on.

```
 │ tune, 2/5 │ choose, 1/10 │ report, 1/2 │      in the order of the file
```
What is reported is of samples that no method saw. The first half is what `--exact` calibrates
with, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oracle.errors import InputInvalid, NotFound
from oracle.protocol import npz
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import DTYPES
from worker.runtimes.base import Array

LABELS = "labels"
LEAST = 20  # samples
_CHOOSING = 5  # one of so many of the first half
_HINT = (
    "an NPZ with one array for each input (samples first), and `labels` where they are known: "
    "numpy.savez(file, image=images, labels=classes)"
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs by name, samples first, and the true answers where they are known."""

    inputs: Mapping[str, Array]
    labels: Array | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, places: slice | Array) -> "Samples":
        """Return some of them."""
        labels = None if self.labels is None else self.labels[places]
        return Samples({name: array[places] for name, array in self.inputs.items()}, labels)

    def split(self) -> "Split":
        """Return the three parts."""
        half = len(self) // 2
        choosing = np.arange(half) % _CHOOSING == _CHOOSING - 1
        return Split(
            self.part(np.flatnonzero(~choosing)),
            self.part(np.flatnonzero(choosing)),
            self.part(slice(half, len(self))),
        )

    def save(self, path: Path) -> None:
        """Write an NPZ of them."""
        labels = {} if self.labels is None else {LABELS: self.labels}
        arrays: dict[str, Any] = {**self.inputs, **labels}
        np.savez(path, **arrays)


@dataclass(frozen=True, slots=True)
class Split:
    """Samples by what they are for."""

    tune: Samples
    choose: Samples
    report: Samples


def joined(first: Samples, then: Samples) -> Samples:
    """Return the samples of both."""
    inputs = {n: np.concatenate([first.inputs[n], then.inputs[n]]) for n in first.inputs}
    if first.labels is None or then.labels is None:
        return Samples(inputs, None)
    return Samples(inputs, np.concatenate([first.labels, then.labels]))


def require(path: Path) -> None:
    """Return if there is a file of samples.

    Raises:
        NotFound: there is none.
    """
    if not path.is_file():
        raise NotFound(f"there are no samples {path}", hint=_HINT)


def read(path: Path, manifest: Manifest) -> Samples:
    """Read samples and hold them to what a model takes.

    Raises:
        NotFound: there is no such file.
        InputInvalid: no NPZ of plain arrays; an input is missing, or has another shape or dtype;
            fewer than 20 samples; not as many labels.
    """
    require(path)
    try:
        with path.open("rb") as file:
            arrays = npz.read(file)
    except (OSError, InputInvalid) as error:
        raise InputInvalid(f"the samples {path} cannot be read: {error}", hint=_HINT) from error
    wanted = [spec.name for spec in manifest.inputs]
    if missing := [name for name in wanted if name not in arrays]:
        raise InputInvalid(
            f"{path} has no input {missing[0]}; it has {', '.join(arrays) or 'nothing'}",
            hint=f"the model takes {', '.join(f'{s.name} {s}' for s in manifest.inputs)}",
        )
    counts = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in wanted}
    labels = arrays.get(LABELS)
    if labels is not None:
        counts[LABELS] = len(labels) if labels.ndim == 1 and labels.dtype.kind in "iuf" else 0
    if len(set(counts.values())) != 1 or min(counts.values()) < LEAST:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputInvalid(f"{path} has {told}; {LEAST} of each are needed", hint=_HINT)
    inputs = {
        spec.name: _as(arrays[spec.name], DTYPES[spec.dtype], spec.name) for spec in manifest.inputs
    }
    found = Samples(inputs, labels)
    first = {name: array[:1] for name, array in inputs.items()}
    manifest.validate_inputs(first)
    return found


def _as(array: Array, dtype: np.dtype[np.generic], name: str) -> Array:
    """Return an array of the input's dtype, if its values are of that kind."""
    if array.dtype.kind not in ("biuf" if dtype.kind == "f" else "biu"):
        raise InputInvalid(f"samples of {name} hold {array.dtype} values, {dtype} are wanted")
    return array.astype(dtype)
