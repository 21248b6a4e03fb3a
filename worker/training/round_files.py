"""What people of a round compute and keep in files: base, update, aggregate, weights.

A job names files and numbers in JSON; hashes are hex without 0x. Updates that do not count have no
file (null): they are zeros here, and of weight 0.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from oracle.protocol.manifest import Manifest
from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums
from oracle.training.vectors import STATE, Vector, VectorTree, in_batches
from oracle.types import Bytes32
from worker.runtimes import architectures, safetensors_arch
from worker.runtimes.architectures import Architecture
from worker.training import aggregator, hashing, states
from worker.training.local import LocalJob
from worker.training.participating import take_part
from worker.training.vector_files import VectorFile, size_of, written

Job = Mapping[str, Any]
BASE, UPDATE, STATE_FILE = "base.safetensors", "update.safetensors", "state.safetensors"
SUMS_FILE, WEIGHTS, LEFT_OVER = "sums.bin", "model.safetensors", "left-over.npy"
AT_ONCE = 1 << 20  # running sums that are written together: 8 MiB


class Zeros:
    """A vector that stands for an update which does not count."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        """Return P."""
        return self._length

    def __getitem__(self, part: slice, /) -> NDArray[np.int16]:
        """Return zeros."""
        start, stop, _ = part.indices(self._length)
        return np.zeros(max(stop - start, 0), np.int16)


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


def aggregate(job: Job, folder: Path) -> dict[str, Any]:
    """Hold updates to what was revealed; write the next state and the running sums.

    Args:
        job: `base`; `updates`, files; `roots`; `weights`, `clip`, `rule`, `trim`; `most_sums`:
            bytes of running sums, beyond which they are not written.

    Raises:
        UpdateMismatch: a file is not what was revealed.
    """
    with ExitStack() as opened:
        told, start, updates = vectors(job, opened)
        revealed = [
            Bytes32(bytes.fromhex(root)) if path else _zeros_root(len(start))
            for root, path in zip(job["roots"], job["updates"], strict=True)
        ]
        found = aggregator.aggregate_files(
            told, start, updates, revealed, path=folder / STATE_FILE, shapes=start.shapes
        )
        sums = RunningSums(told, updates)
        kept = told.rule == AggregationRule.MEAN and 8 * len(sums) <= int(job["most_sums"])
        if kept:
            _write_sums(folder / SUMS_FILE, sums)
    return {
        "sums_root": found.sums.hex(), "state_root": found.state.hex(),
        "state": str(folder / STATE_FILE), "sums": str(folder / SUMS_FILE) if kept else None,
    }  # fmt: skip


def vectors(job: Job, opened: ExitStack) -> tuple[Aggregation, VectorFile, list[Vector]]:
    """Return how a round aggregates, its base and its updates, which `opened` closes."""
    start = opened.enter_context(VectorFile(Path(job["base"])))
    updates: list[Vector] = [
        opened.enter_context(VectorFile(Path(path))) if path else Zeros(len(start))
        for path in job["updates"]
    ]
    told = Aggregation(
        len(start), int(job["clip"]), tuple(job["weights"]), AggregationRule(job["rule"]),
        int(job["trim"]),
    )  # fmt: skip
    return told, start, updates


def _zeros_root(length: int) -> Bytes32:
    return aggregator.update_roots([Zeros(length)])[0]


def _write_sums(path: Path, sums: RunningSums) -> None:
    """Write running sums: i64, little-endian."""
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        for starts in in_batches(range(0, len(sums), AT_ONCE)):
            for at in starts:
                file.write(sums[at : min(at + AT_ONCE, len(sums))].astype("<i8").tobytes())
    partial.replace(path)


def _empty(job: Job) -> Architecture:
    """Return the model of a manifest, without its weights."""
    told = Manifest.parse(Path(job["manifest"]).read_bytes()).runtime
    return architectures.build(told.architecture or "", told.options)
