"""Checkpoints of a run: one file of safetensors each, whole or not there at all.

```
 RUN/checkpoint-00000100.safetensors
     model/NAME                     parameters and buffers
     optimizer/GROUP/NAME/KEY       of the group that holds it; 0 where there is one
     outer/NAME                     momentum between groups (DiLoCo)
     __metadata__                   CheckpointMeta, and the digest over all of it
```
The random numbers of a step follow from the job's seed, the step and the rank: the step is enough.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from oracle import whole_file
from oracle.errors import TallystickError
from worker.runtimes import guard
from worker.training.distributed import digests
from worker.training.distributed.errors import CheckpointDamaged, CheckpointForeign
from worker.training.distributed.job import TrainingJob

FORM = 1
_KEPT = 2  # checkpoints: the last, and the one before it
_PATTERN = "checkpoint-*.safetensors"


@dataclass(frozen=True, slots=True)
class CheckpointMeta:
    """What a checkpoint says beside its tensors.

    Attributes:
        identity: of the job (`TrainingJob.identity`).
        mode, ranks, groups: how the run divides its data.
        step: steps that were done.
        order: of each part of the data, a chain of SHA-256 over the row numbers it took, in hex.
        losses: (step, mean loss) as far as they were reported.
        data: fingerprint of the files of rows.
    """

    identity: dict[str, Any]
    mode: str
    ranks: int
    groups: int
    step: int
    order: tuple[str, ...]
    losses: tuple[tuple[int, float], ...]
    data: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that was read and held to its digest."""

    path: Path
    meta: CheckpointMeta


def write(folder: Path, tensors: Mapping[str, Tensor], meta: CheckpointMeta) -> Path:
    """Write a checkpoint, and remove those that are older than the one before it.

    Raises:
        OSError: the disk is full or broken; the older ones are kept.
    """
    told = json.dumps(asdict(meta), sort_keys=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    named = {name: digests.of_tensor(tensor) for name, tensor in whole.items()}
    root = digests.of_all({**named, "": told.encode()}).hex()
    body = safetensors.torch.save(whole, {"form": str(FORM), "meta": told, "digest": root})
    path = folder / f"checkpoint-{meta.step:08d}.safetensors"
    whole_file.write(path, body)
    for old in sorted(folder.glob(_PATTERN))[:-_KEPT]:
        old.unlink()
    return path


def latest(folder: Path) -> Checkpoint | None:
    """Return the last checkpoint of a folder, every byte of it checked; None when there is none.

    Raises:
        CheckpointDamaged: it is cut short or was changed.
    """
    paths = sorted(folder.glob(_PATTERN))
    if not paths:
        return None
    try:
        return read(paths[-1])
    except TallystickError as error:
        before = f"the run goes on from {paths[-2].name}" if paths[1:] else "the run begins anew"
        raise CheckpointDamaged(
            str(error), hint=f"move {paths[-1]} away: {before}"
        ) from error  # fmt: skip


def meta_of(path: Path) -> CheckpointMeta:
    """Return what a checkpoint says beside its tensors, which are not looked at.

    Raises:
        CheckpointDamaged: it is none.
    """
    return _head(path)[0]


def read(path: Path) -> Checkpoint:
    """Read what a checkpoint says, and hold its tensors to its digest.

    Raises:
        CheckpointDamaged, WeightsInvalid: it is cut short, was changed, or is no checkpoint.
    """
    meta, told, digest = _head(path)
    with safe_open(path, "pt") as file:
        names = file.keys()
        named = {name: digests.of_tensor(file.get_tensor(name)) for name in names}
    if digests.of_all({**named, "": told.encode()}).hex() != digest:
        raise CheckpointDamaged(f"{path.name} holds other bytes than were written")
    return Checkpoint(path, meta)


def _head(path: Path) -> tuple[CheckpointMeta, str, str]:
    """Return what a checkpoint says, the same as it is written, and its digest."""
    guard.read_safetensors_header(path)
    try:
        with safe_open(path, "pt") as file:
            head = file.metadata() or {}
        told = json.loads(head["meta"])
        told |= {"order": tuple(told["order"]), "losses": tuple(map(tuple, told["losses"]))}
        return CheckpointMeta(**told), head["meta"], head["digest"]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointDamaged(f"{path.name} is no checkpoint: {error}") from error


def require_same(found: Checkpoint, job: TrainingJob, mode: str, ranks: int, groups: int) -> None:
    """Hold a checkpoint to the job and the way it is to be gone on with.

    Raises:
        CheckpointForeign: it is of another job, or its data were divided in another way.
    """
    theirs, ours = found.meta.identity, job.identity()
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise CheckpointForeign(
                f"{found.path.name} is of another job: {name} was {theirs.get(name)!r:.100}, and "
                f"is {ours.get(name)!r:.100}",
                hint="give another --out, or the job that the run began with",
            )
    alike = ("ddp", "fsdp")  # one order of rows, one optimizer: they go on with each other's
    same = mode == found.meta.mode or (mode in alike and found.meta.mode in alike)
    if not same or (ranks, groups) != (found.meta.ranks, found.meta.groups):
        raise CheckpointForeign(
            f"{found.path.name} was written by {found.meta.ranks} ranks in {found.meta.groups} "
            f"groups of mode {found.meta.mode}, not {ranks} in {groups} of {mode}",
            hint="the data are divided by ranks: go on with as many, or give another --out",
        )
    if found.meta.step > job.steps:
        raise CheckpointForeign(
            f"{found.path.name} has done {found.meta.step} steps, the job asks for {job.steps}",
            hint="give another --out, or more steps",
        )
