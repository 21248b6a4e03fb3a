"""A participant's own examples: arrays by the names of the model's inputs, and `labels`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from oracle.errors import NotFound
from oracle.protocol import npz
from worker.runtimes import guard
from worker.runtimes.architectures import Architecture
from worker.training.errors import TrainingDataInvalid

LABELS = "labels"
MOST_BYTES = 1 << 34  # that an archive may unpack to
_DTYPES = {"F32": torch.float32, "F64": torch.float32, "I64": torch.int64, "I32": torch.int32}


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows with their classes.

    Attributes:
        inputs: by the model's names; rows are the first axis.
        labels: i64, rows.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.labels)

    def rows(self, chosen: Tensor) -> "Examples":
        """Return some of them, in the order of `chosen` (i64)."""
        return Examples({k: v[chosen] for k, v in self.inputs.items()}, self.labels[chosen])

    def parts(self, size: int) -> Iterator["Examples"]:
        """Yield all rows, at most `size` at a time."""
        for at in range(0, len(self), size):
            yield self.rows(torch.arange(at, min(at + size, len(self))))


def read(path: Path, model: Architecture) -> Examples:
    """Return the examples of an .npz or .safetensors file. Errors as in `of`, and:

    Raises:
        NotFound: there is no such file.
        InputInvalid: it is no NPZ of plain arrays.
        WeightsInvalid, PickleRefused: it is no safetensors file.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="name the participant's own rows")
    if path.suffix == ".safetensors":
        guard.read_safetensors_header(path)
        try:
            return of(load_file(path), model, where=path.name)
        except SafetensorError as error:
            raise TrainingDataInvalid(f"{path.name}: {error}") from error
    with path.open("rb") as file:
        return of(npz.read(file, most=MOST_BYTES), model, where=path.name)


def of(
    arrays: Mapping[str, NDArray[Any]], model: Architecture, *, where: str = "the data"
) -> Examples:
    """Return examples of arrays.

    Raises:
        TrainingDataInvalid: an input or the labels are missing, have another shape or number of
            rows than the model takes, or hold NaN; there are no rows; labels are not 0, 1 …
    """
    wanted = [spec.name for spec in model.inputs] + [LABELS]
    if missing := [name for name in wanted if name not in arrays]:
        raise TrainingDataInvalid(
            f"{where} has no array {missing[0]}", hint=f"it needs {', '.join(wanted)}"
        )
    labels = arrays[LABELS]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise TrainingDataInvalid(f"{where}: labels are {labels.dtype} {labels.shape}, not 0, 1 …")
    if not len(labels):
        raise TrainingDataInvalid(f"{where} has no rows")
    if int(labels.min()) < 0 or int(labels.max()) >= 2**31:
        raise TrainingDataInvalid(f"{where}: label {labels.min()} … {labels.max()}, not 0, 1 …")
    inputs = {}
    for spec in model.inputs:
        array = arrays[spec.name]
        fits = array.ndim == len(spec.shape) and all(
            axis is None or axis == length
            for axis, length in zip(spec.shape, array.shape, strict=False)
        )
        if not fits or len(array) != len(labels):
            raise TrainingDataInvalid(
                f"{where}: {spec.name} has shape {list(array.shape)} with {len(labels)} labels, "
                f"the model takes {[axis or 'n' for axis in spec.shape]}"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise TrainingDataInvalid(f"{where}: {spec.name} holds what is not a finite number")
        inputs[spec.name] = torch.from_numpy(np.ascontiguousarray(array)).to(_DTYPES[spec.dtype])
    return Examples(inputs, torch.from_numpy(labels.astype(np.int64)))
