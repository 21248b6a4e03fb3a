"""What each rank runs: from a checkpoint on, step by step, until the job is done.

`python -m worker.training.distributed.rank` is started by torchrun's agent (see `__main__`). What
went wrong is left as `rank-N.json` in the folder of failures, before the others can notice.
"""

import argparse
import ctypes
import hashlib
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open

from oracle import whole_file
from oracle.errors import DiskUnusable, TallystickError, TransientError
from worker import device
from worker.describe import failure
from worker.errors import DeviceFull, ModelFailed
from worker.training.distributed import checkpoint, data, digests, job, model
from worker.training.distributed.checkpoint import CheckpointMeta
from worker.training.distributed.data import RowFiles
from worker.training.distributed.errors import RankVanished, RunDiverged
from worker.training.distributed.job import TrainingJob
from worker.training.distributed.modes import MODES, Ddp, RankPlace, digests_of
from worker.training.distributed.order import RowOrder, share

_SAY = 0.2  # seconds between two lines of progress
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class RankTask:
    """What a rank is told.

    Attributes:
        path: of the job.
        run: folder of checkpoints.
        start: checkpoint to begin from.
        split: micro-batches of a rank's part of a step.
    """

    path: Path
    run: Path
    start: Path
    mode: str
    groups: int
    split: int
    timeout: float


class DrawnRows:
    """The rows that this rank draws, and the chain of digests over them; a neighbour's as well."""

    def __init__(
        self, told: TrainingJob, rows: int, mode: type[Ddp], place: RankPlace, meta: CheckpointMeta
    ) -> None:
        self._parts = [mode.part_of(rank, place.ranks) for rank in range(place.ranks)]
        self._place, self._done = place, meta.step
        first, end = told.rows or (0, rows)
        self._own, self._next = place.rank, (place.rank + 1) % place.ranks
        self._orders, self._chains = {}, {}
        for rank in (self._own, self._next):
            index, of = self._parts[rank]
            begin, until = share(end - first, index, of)
            part = RowOrder(told.seed, first + begin, first + until, told.batch // of)
            self._orders[rank] = part
            self._chains[rank] = bytes.fromhex(meta.order[index])
        self.rows = self._orders[self._own].rows

    def compare(self, done: int) -> tuple[str, ...]:
        """Hold the neighbour's chain to what it must be; return the chain of each part, in hex.

        Raises:
            RanksDiffer: the neighbour drew other rows.
        """
        for rank in {self._own, self._next}:
            for step in range(self._done, done):
                taken = self._orders[rank].rows(step).tobytes()
                self._chains[rank] = hashlib.sha256(self._chains[rank] + taken).digest()
        self._done = done
        told = torch.empty(self._place.ranks * digests.SIZE, dtype=torch.uint8)
        own = torch.frombuffer(bytearray(self._chains[self._own]), dtype=torch.uint8)
        dist.all_gather_single(told, own)
        chains = [bytes(one.numpy()) for one in told.view(-1, digests.SIZE)]
        digests.require_order(chains[self._next], self._chains[self._next], self._next, done)
        return tuple(dict(zip(self._parts, (c.hex() for c in chains), strict=True)).values())


class RankTrainer:
    """One rank's part of a run."""

    def __init__(self, task: RankTask, told: TrainingJob, place: RankPlace) -> None:
        self.task, self.job, self.place = task, told, place
        base = task.path.parent
        self.rows: RowFiles = data.open_rows(
            [base / name for name in told.data], [*told.inputs, told.target]
        )
        start = checkpoint.meta_of(task.start)
        self.meta = replace(start, mode=task.mode)
        net = model.build(told, base)
        _fill(net, task.start)
        digests.compare(digests_of(model.weights_of(net)), start.step)
        kind = MODES[task.mode]
        self.mode: Ddp = kind(told, place, net.to(place.device).train(), task.split)
        self.mode.restore(task.start)
        self.orders = DrawnRows(told, len(self.rows), kind, place, start)
        self._said = 0.0

    def run(self) -> None:
        """Do what is left of the job.

        Raises:
            RanksDiffer, RunDiverged: see `_compare`.
        """
        if self.meta.step < self.job.steps:
            self.mode.warm_up(*self._batch(self.meta.step))
        for step in range(self.meta.step, self.job.steps):
            self._draw(step)
            loss = self.mode.step(*self._batch(step), step + 1)
            done = step + 1
            last = done == self.job.steps
            writes = last or done % self.job.checkpoint_every == 0
            if writes or done % self.job.compare_every == 0:
                self._compare(done, loss)
            if writes:
                self._write()
            if self.place.rank == 0 and (last or time.monotonic() - self._said > _SAY):
                self._said = time.monotonic()
                print(f"steps {done}/{self.job.steps}", flush=True)

    def _draw(self, step: int) -> None:
        """Seed what a step draws (dropout): it follows from job, step and rank alone."""
        seed = hashlib.sha256(f"{self.job.seed}/{step}/{self.place.rank}".encode()).digest()
        number = int.from_bytes(seed[:8], "little") >> 1
        torch.default_generator.manual_seed(number)
        if self.place.device != "cpu":
            torch.cuda.manual_seed(number)

    def _batch(self, step: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        arrays = self.rows.read(self.orders.rows(step))
        return model.tensors_of(arrays, self.job, self.place.device)

    def _compare(self, done: int, loss: torch.Tensor | None) -> None:
        """Hold ranks to each other, and the loss to being a number.

        Raises:
            RanksDiffer: another rank holds or drew something else.
            RunDiverged: the loss is not finite.
        """
        for named, group in self.mode.alike():
            digests.compare(digests_of(named), done, group)
        order = self.orders.compare(done)
        mean = torch.tensor([float(loss), 1.0] if loss is not None else [0.0, 0.0])
        dist.all_reduce(mean)
        value = float(mean[0] / mean[1])
        if not torch.isfinite(mean).all():
            raise RunDiverged(
                f"step {done}: the loss is {value}",
                hint="lower the learning rate; the last checkpoint is kept",
            )
        kept = self.meta.losses[-999:]
        self.meta = replace(
            self.meta, step=done, order=order, losses=(*kept, (done, value))
        )  # fmt: skip

    def _write(self) -> None:
        held = self.mode.gather()
        if self.place.rank != 0:
            return
        for name, tensor in held.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise RunDiverged(
                    f"step {self.meta.step}: {name} holds NaN or infinity",
                    hint="lower the learning rate; the last checkpoint is kept",
                )
        checkpoint.write(self.task.run, held, self.meta)


def _fill(net: torch.nn.Module, path: Path) -> None:
    """Copy a checkpoint's weights into a module."""
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, tensor in model.weights_of(net).items():
            tensor.copy_(file.get_tensor(f"model/{name}"))


def named(error: Exception, what: str) -> TallystickError:
    """Return an error as one of ours: of a rank that is gone, of memory, or of the module."""
    if isinstance(error, TallystickError):
        return error
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in text:
        return DeviceFull(f"{what}: out of memory: {first:.200}")
    if isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text:
        return RankVanished(f"{what}: another rank did not answer: {first:.200}")
    if isinstance(error, OSError):
        return DiskUnusable.of(error) or TransientError(f"{what}: {first:.300}")
    return ModelFailed(f"{what}: {type(error).__name__}: {first:.300}")


def main() -> int:
    """Run one rank; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.distributed.rank")
    for name in ("job", "run", "start", "failures"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--mode", choices=sorted(MODES), required=True)
    parser.add_argument("--groups", type=int, required=True)
    parser.add_argument("--split", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    told = parser.parse_args()
    if hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != told.parent:  # it ended before it could be watched
        return 1
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    task = RankTask(
        told.job, told.run, told.start, told.mode, told.groups, told.split, told.timeout
    )  # fmt: skip
    try:
        _train(task, rank, ranks)
    except Exception as error:  # whoever started the rank is told why, in one place
        traceback.print_exc()
        ours = named(error, f"rank {rank}")
        said = {**failure(ours), "exit_code": ours.exit_code, "rank": rank}
        whole_file.write(told.failures / f"rank-{rank}.json", json.dumps(said))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ours.exit_code)  # its connections close now, not when the interpreter is done
    return 0


def _train(task: RankTask, rank: int, ranks: int) -> None:
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= local
    kind = f"cuda:{os.environ['LOCAL_RANK']}" if on_gpus else "cpu"
    device.configure(kind)
    if on_gpus:
        torch.cuda.set_device(kind)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=timedelta(seconds=task.timeout)
    )
    place = RankPlace(rank, ranks, task.groups, kind)
    RankTrainer(task, job.read(task.path), place).run()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
