"""What is computed of a round with a model: its base, an update, and weights of a state.

A job names files and numbers in JSON; hashes are hex without 0x.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from oracle.protocol.manifest import Manifest
from oracle.training.vectors import STATE, VectorTree
from worker.runtimes import architectures, safetensors_arch
from worker.runtimes.architectures import Architecture
from worker.training import hashing, states
from worker.training.local import LocalJob
from worker.training.participating import take_part
from worker.training.round_files import Job
from worker.training.vector_files import VectorFile, size_of, written

BASE, UPDATE, WEIGHTS = "base.safetensors", "update.safetensors", "model.safetensors"


def base(job: Job, folder: Path) -> dict[str, Any]:
    """Write the state of a version.

    Args:
        job: `manifest`, a file; `files`, paths by their names in it; `scale_bits`.

    Raises:
        ModelUnsupported: the version is no classifier of safetensors of a known architecture.
        StateUnfit: a weight does not fit 32 bits at this scale.
    """
    manifest = Manifest.parse(Path(job["manifest"]).read_bytes())
    files = {name: Path(path) for name, path in job["files"].items()}
    model = safetensors_arch.read(manifest, files, "cpu")
    state = states.of(model, int(job["scale_bits"]))
    shapes = {name: tuple(tensor.shape) for name, tensor in states.named(model)}
    with written(folder / BASE, shapes, np.int32) as file:
        file.write(0, state)
    tree = VectorTree(state, STATE, hashing=hashing.fastest())
    return {
        "root": tree.root.hex(), "parameters": len(state),
        "state_bytes": size_of(shapes, np.int32), "update_bytes": size_of(shapes, np.int16),
    }  # fmt: skip


def weights(job: Job, folder: Path) -> dict[str, Any]:
    """Write a state as the weights of a version: f32, of the names that its architecture has.

    Args:
        job: `manifest`; `state`, a file; `scale_bits`.

    Raises:
        StateUnfit, ModelUnsupported: the state is of another model.
    """
    model = _empty(job)
    with VectorFile(Path(job["state"])) as vector:
        states.fill(model, vector[: len(vector)], int(job["scale_bits"]))
    save_file({name: t.contiguous() for name, t in states.named(model)}, folder / WEIGHTS)
    return {"weights": str(folder / WEIGHTS)}


def update(job: Job, folder: Path) -> dict[str, Any]:
    """Train on a participant's rows and write its update.

    Args:
        job: `manifest`, `base`, `data`, and the fields of `LocalJob`. `left_over`: a file of what
            the last update left over, or null.

    Raises:
        StateUnfit, TrainingDiverged, TrainingDataInvalid, …: see `take_part`.
    """
    names = ("steps", "learning_rate", "batch", "seed", "scale_bits", "clip")
    found = take_part(
        _empty(job),
        LocalJob(**{name: job[name] for name in names}),
        base=Path(job["base"]),
        data=Path(job["data"]),
        into=folder / UPDATE,
        left_over=Path(job["left_over"]) if job.get("left_over") else None,
        report=lambda done, total, _: print(f"steps {done}/{total}", flush=True),
    )
    return {
        "root": found.root.hex(), "rows": found.rows, "clipped": found.update.clipped,
        "losses": [found.update.losses[0], found.update.losses[-1]],
    }  # fmt: skip


def _empty(job: Job) -> Architecture:
    """Return the model of a manifest, without its weights."""
    told = Manifest.parse(Path(job["manifest"]).read_bytes()).runtime
    return architectures.build(told.architecture or "", told.options)
