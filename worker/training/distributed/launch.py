"""Starts the ranks of a job, again from the last checkpoint when one dies, and reads the result."""

import fcntl
import hashlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from oracle import whole_file
from oracle.errors import InputInvalid, PermanentError, TallystickError, Unavailable
from oracle.private_files import make_folder, open_log
from oracle.protocol import training_history
from oracle.protocol.training_history import MadeByRun, Mode, TrainingHistory
from oracle.types import Bytes32
from worker.errors import DeviceFull, ModelFailed
from worker.training.distributed import checkpoint, data, digests, job, model
from worker.training.distributed.checkpoint import Checkpoint, CheckpointMeta
from worker.training.distributed.data import RowFiles
from worker.training.distributed.errors import CheckpointForeign, RankVanished
from worker.training.distributed.job import TrainingJob
from worker.training.distributed.modes import MODES, stages
from worker.training.distributed.order import Numbers

_TRIAL = 2  # rows that the module is tried with before ranks start
_EVALUATED = 256  # rows at a time


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be run, and how.

    Attributes:
        job: path of the job.
        run: folder of checkpoints and of the result.
        nproc: ranks, all on this machine.
        groups: of DiLoCo, else 1.
        timeout: seconds that ranks wait for each other.
        max_restarts: in a row, without a new checkpoint between two.
    """

    job: Path
    run: Path
    mode: str
    nproc: int
    groups: int
    timeout: float
    max_restarts: int
    trust_builder: bool


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        weights: path of parameters and buffers, safetensors.
        digest, optimizer_digest, order_digest: SHA-256 over parameters and buffers, over the
            optimizer's state, and over the rows in the order they were taken, in hex.
        losses: (step, mean loss of the ranks' last batch).
        held_out_loss, accuracy: on the job's held-out rows; None where there are none.
        restarts: why ranks were started again, in this call.
        microbatches: that a rank's part of a step was taken in.
    """

    mode: str
    ranks: int
    steps: int
    weights: Path
    digest: str
    optimizer_digest: str
    order_digest: str
    losses: tuple[tuple[int, float], ...]
    held_out_loss: float | None
    accuracy: float | None
    restarts: tuple[str, ...] = ()
    microbatches: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return it for `json`."""
        return {**asdict(self), "weights": str(self.weights)}


def run(launch: Launch) -> TrainingResult:
    """Run a job from its last checkpoint, or from the start, to its end.

    Raises:
        InputInvalid (or a subclass), NotFound, ModelRefused, ModelFailed: job, data, module or
            checkpoint do not fit.
        RanksDiffer, RunDiverged: see `rank.RankTrainer`.
        RankVanished: ranks died too often without a new checkpoint.
        DeviceFull: one row at a time does not fit into memory.
        Unavailable: the folder is in use by another run.
    """
    told = job.read(launch.job)
    model.trust(told.model, launch.trust_builder)
    base = launch.job.parent
    rows = data.open_rows([base / one for one in told.data], [*told.inputs, told.target])
    _require_shares(told, launch, rows)
    net = model.build(told, base)
    model.require_fit(net, told, rows.read(_numbers((told.rows or (0, 0))[0], _TRIAL, rows)))
    if launch.mode == "pipeline":
        stages(net, launch.nproc)
    with _alone(make_folder(launch.run)):
        start = checkpoint.latest(launch.run) or _begin(launch, told, net, rows)
        checkpoint.require_same(start, told, launch.mode, launch.nproc, launch.groups)
        if start.meta.data != rows.fingerprint:
            raise CheckpointForeign(
                f"{start.path.name} was written with other data",
                hint="give another --out, or the files that the run began with",
            )
        restarts, split, last = _to_the_end(launch, told, start)
        result = _finish(launch, told, net, rows, last)
    return replace(result, restarts=restarts, microbatches=split)


def _to_the_end(
    launch: Launch, told: TrainingJob, start: Checkpoint
) -> tuple[tuple[str, ...], int, Checkpoint]:
    restarts: list[str] = []
    split, failed_in_a_row = 1, 0
    share = told.batch // MODES[launch.mode].part_of(0, launch.nproc)[1]
    most = share // told.microbatches if launch.mode == "pipeline" else share
    while start.meta.step < told.steps:
        failed = _attempt(launch, start, split)
        again = checkpoint.latest(launch.run)
        assert again is not None
        if failed is None:
            start = again
            break
        if isinstance(failed, DeviceFull):
            split *= 2
            if split > most or share % split:
                raise DeviceFull(str(failed), hint="lower the batch, or use more ranks")
            restarts.append(f"{failed}: now in {split} micro-batches")
        elif isinstance(failed, PermanentError):
            raise failed
        else:
            failed_in_a_row = 1 if again.meta.step > start.meta.step else failed_in_a_row + 1
            if failed_in_a_row > launch.max_restarts:
                raise failed
            restarts.append(f"{failed}: goes on from step {again.meta.step}")
        print(restarts[-1], flush=True)
        start = again
    return tuple(restarts), split, start


def _attempt(launch: Launch, start: Checkpoint, split: int) -> TallystickError | None:
    """Run ranks until all are done, or one fails; return why it failed."""
    with tempfile.TemporaryDirectory() as place:
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=launch.nproc, run_id=uuid.uuid4().hex,
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
            monitor_interval=0.1,
        )  # fmt: skip
        words = (
            "-m", "worker.training.distributed.rank", f"--job={launch.job}", f"--run={launch.run}",
            f"--start={start.path}", f"--failures={place}", f"--mode={launch.mode}",
            f"--groups={launch.groups}", f"--split={split}", f"--timeout={launch.timeout}",
            f"--parent={os.getpid()}",
        )  # fmt: skip
        try:
            elastic_launch(config, sys.executable)(*words)
        except ChildFailedError as error:
            said = [json.loads(path.read_text()) for path in sorted(Path(place).iterdir())]
            return _why(said, error, launch)
        except SignalException as error:
            raise Unavailable(
                f"stopped by signal {error.sigval}", hint="the same command goes on"
            ) from error
    return None


def _why(said: list[dict[str, Any]], error: ChildFailedError, launch: Launch) -> TallystickError:
    """Return why ranks failed: what none can mend first, then memory, then who is gone."""
    for one in said:
        if one["error"] not in ("RankVanished", "DeviceFull", "TransientError", "DiskUnusable"):
            return _as_said(one)
    for one in said:
        if one["error"] == "DeviceFull":
            return _as_said(one)
    silent = set(range(launch.nproc)) - {one["rank"] for one in said}
    if silent and any("Timed out" in one["message"] for one in said):  # and then they were ended
        return RankVanished(
            f"rank {', '.join(map(str, sorted(silent)))} did not answer in {launch.timeout:g} s",
            hint="the same command goes on; --timeout gives it longer",
        )
    ended = {
        rank: f"rank {rank} was ended by {failure.signal_name()}"
        for rank, failure in error.failures.items()
        if failure.exitcode < 0
    }
    if ended:
        return RankVanished("; ".join(ended.values()), hint="the same command goes on")
    first = said[0] if said else {"message": str(error.failures), "hint": ""}
    return RankVanished(first["message"], hint=first["hint"])


def _as_said(said: Mapping[str, Any]) -> TallystickError:
    """Return the error that a rank left, of its class."""
    known: list[type[TallystickError]] = [TallystickError]
    for one in known:  # grows while it is gone through
        known += one.__subclasses__()
    kind = {one.__name__: one for one in known}.get(said["error"], ModelFailed)
    return kind(said["message"], hint=said["hint"])


def _begin(launch: Launch, told: TrainingJob, net: nn.Module, rows: RowFiles) -> Checkpoint:
    """Write the checkpoint of step 0, which every rank begins from."""
    parts = MODES[launch.mode].part_of(0, launch.nproc)[1]
    meta = CheckpointMeta(
        told.identity(), launch.mode, launch.nproc, launch.groups, 0,
        ("00" * digests.SIZE,) * parts, (), rows.fingerprint,
    )  # fmt: skip
    held = {f"model/{name}": tensor for name, tensor in model.weights_of(net).items()}
    return checkpoint.read(checkpoint.write(launch.run, held, meta))


def _finish(
    launch: Launch, told: TrainingJob, net: nn.Module, rows: RowFiles, last: Checkpoint
) -> TrainingResult:
    """Write the weights of the last checkpoint, and evaluate them."""
    with safe_open(last.path, "pt") as file, torch.no_grad():
        for name, tensor in model.weights_of(net).items():
            tensor.copy_(file.get_tensor(f"model/{name}"))
        others = [name for name in list(file.keys()) if not name.startswith("model/")]
        optimizer = {name: digests.of_tensor(file.get_tensor(name)) for name in others}
    weights = {name: t.contiguous() for name, t in model.weights_of(model.plain(net)).items()}
    path = launch.run / "model.safetensors"
    whole_file.write(path, safetensors.torch.save(weights))
    loss, accuracy = _evaluate(told, net, rows)
    orders = {str(part): bytes.fromhex(chain) for part, chain in enumerate(last.meta.order)}
    result = TrainingResult(
        launch.mode, launch.nproc, last.meta.step, path,
        digests.of_all({name: digests.of_tensor(t) for name, t in weights.items()}).hex(),
        digests.of_all(optimizer).hex(), digests.of_all(orders).hex(),
        last.meta.losses, loss, accuracy,
    )  # fmt: skip
    whole_file.write(launch.run / "result.json", json.dumps(result.to_json(), indent=2) + "\n")
    history = json.dumps(_made(launch, told, result).to_json(), indent=2)
    whole_file.write(launch.run / training_history.FILE, history + "\n")
    return result


def _made(launch: Launch, told: TrainingJob, result: TrainingResult) -> TrainingHistory:
    """Return what a manifest says of weights that came out of this run."""
    base = launch.job.parent
    files = [_sha256(base / one) for one in told.data]
    by = MadeByRun(
        job=_word(told.digest()), data=Bytes32(hashlib.sha256(b"".join(files)).digest()),
        begun_with=_sha256(base / told.model.weights) if told.model.weights else None,
        weights=_word(result.digest),
        order=_word(result.order_digest), mode=cast(Mode, launch.mode),
        ranks=result.ranks, steps=result.steps,
    )  # fmt: skip
    return TrainingHistory(made=by)


def _sha256(path: Path) -> Bytes32:
    with path.open("rb") as file:
        return Bytes32(hashlib.file_digest(file, "sha256").digest())


def _word(digest: str) -> Bytes32:
    return Bytes32(bytes.fromhex(digest))


def _evaluate(
    told: TrainingJob, net: nn.Module, rows: RowFiles
) -> tuple[float | None, float | None]:
    """Return loss and accuracy on held-out rows; accuracy is of classes alone."""
    if told.held_out is None:
        return None, None
    first, end = told.held_out
    total, hits = 0.0, 0
    with torch.inference_mode():
        net.eval()
        for begin in range(first, end, _EVALUATED):
            numbers = np.arange(begin, min(end, begin + _EVALUATED))
            inputs, target = model.tensors_of(rows.read(numbers), told, "cpu")
            given = net(*inputs)
            total += float(model.LOSSES[told.loss](given, target)) * len(target)
            if told.loss == "cross_entropy":
                hits += int((given.argmax(1) == target).sum())
    count = end - first
    return total / count, hits / count if told.loss == "cross_entropy" else None


def _numbers(first: int, count: int, rows: RowFiles) -> Numbers:
    return np.arange(first, min(first + count, len(rows)), dtype=np.int64)


def _require_shares(told: TrainingJob, launch: Launch, rows: RowFiles) -> None:
    """Refuse what cannot be divided, and ranges of rows that are not there."""
    for name, span in (("rows", told.rows), ("held_out", told.held_out)):
        if span is not None and not span[0] < span[1] <= len(rows):
            raise InputInvalid(
                f"{name} {span[0]} to {span[1]} are not there: the files hold {len(rows)} rows"
            )
    if launch.nproc < 1 or launch.groups < 1 or launch.nproc % launch.groups:
        raise InputInvalid(f"{launch.nproc} ranks cannot be divided into {launch.groups} groups")
    parts = MODES[launch.mode].part_of(0, launch.nproc)[1]
    if told.batch % parts:
        raise InputInvalid(
            f"a batch of {told.batch} rows cannot be divided by {parts} ranks",
            hint="choose a multiple",
        )
    first, end = told.rows or (0, len(rows))
    if end - first < parts:
        raise InputInvalid(f"{end - first} rows are too few for {parts} ranks")
    if launch.mode == "pipeline" and told.batch % told.microbatches:
        raise InputInvalid(
            f"a batch of {told.batch} rows cannot be divided by {told.microbatches} micro-batches"
        )
    if launch.mode == "diloco":
        local = told.diloco.local_steps
        for field in ("steps", "checkpoint_every", "compare_every"):
            if getattr(told, field) % local:
                raise InputInvalid(
                    f"{field} {getattr(told, field)} is no multiple of diloco.local_steps {local}",
                    hint="ranks are alike only after an exchange",
                )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder.

    Raises:
        Unavailable: one is in it.
    """
    with open_log(folder / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unavailable(
                f"another run is at work in {folder}", hint="wait for it, or give another --out"
            ) from None
        yield
