"""A participant's part of a round, from files to files: base state and own rows in, update out."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oracle import whole_file
from oracle.training.vectors import STATE, VectorTree
from oracle.types import Bytes32
from worker.runtimes.architectures import Architecture
from worker.training import examples, hashing, local, states
from worker.training.errors import StateUnfit
from worker.training.local import LocalJob, LocalUpdate
from worker.training.vector_files import VectorFile, written


@dataclass(frozen=True, slots=True)
class Participation:
    """What a participant commits to, and what it keeps.

    Attributes:
        root: of the update's tree.
        rows: its own; the weight, where a round weighs by rows.
    """

    root: Bytes32
    rows: int
    update: LocalUpdate


def take_part(
    model: Architecture,
    job: LocalJob,
    *,
    base: Path,
    data: Path,
    into: Path,
    left_over: Path | None = None,
    device: str = "cpu",
    report: Callable[[int, int, float], None] = local.silent,
) -> Participation:
    """Train on own data from a base state; write the update.

    Args:
        model: of the round; its weights are not read.
        base: safetensors, i32: the state that the round starts from.
        data: .npz or .safetensors (`examples.read`).
        into: safetensors, i16, of the update; it appears when it is whole.
        left_over: .npy, f32: of the last update if it is there, and replaced by this one's.

    Raises:
        StateUnfit: the base has other tensors than the model; what is left over is of another one.
        TrainingDiverged, ModelUnsupported: see `local.train`.
        TrainingDataInvalid, InputInvalid, WeightsInvalid, PickleRefused: see `examples.read`.
        VectorInvalid: the base holds other than i32.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in states.named(model)}
    with VectorFile(base) as vector:
        if vector.shapes != shapes:
            odd = min(name for name, _ in vector.shapes.items() ^ shapes.items())
            raise StateUnfit(
                f"tensor {odd} has shape {vector.shapes.get(odd)} in {base.name}, the model wants "
                f"{shapes.get(odd)}",
                hint="the base is the state of the version that the round names",
            )
        state = vector[: len(vector)]
    rows = examples.read(data, model)
    carried = _carried(left_over) if left_over is not None and left_over.exists() else None
    update = local.train(model, state, rows, job, left_over=carried, device=device, report=report)
    with written(into, shapes, np.int16) as file:
        file.write(0, update.values)
    if left_over is not None:
        kept = io.BytesIO()
        np.save(kept, update.left_over)
        whole_file.write(left_over, kept.getvalue())
    tree = VectorTree(update.values, STATE, hashing=hashing.fastest())
    return Participation(tree.root, len(rows), update)


def _carried(path: Path) -> NDArray[np.float32]:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise StateUnfit(
            f"{path.name} does not hold what an update left over: {error}",
            hint="delete it: the next update starts without",
        ) from error
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        raise StateUnfit(f"{path.name} does not hold f32", hint="delete it")
    return found
