"""A training job on this machine's devices, run in processes of their own.

`worker.training.distributed` needs torch, which `oracle` never imports: it is run, not called.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from oracle.errors import (
    ConfigInvalid,
    DigestMismatch,
    DiskUnusable,
    InputInvalid,
    NotFound,
    PermanentError,
    TallystickError,
    TransientError,
    Unavailable,
)
from oracle.services.builders import Build, Update

_PROGRAM = "worker.training.distributed"
_KINDS = (
    InputInvalid, NotFound, Unavailable, DiskUnusable, TransientError, DigestMismatch,
    ConfigInvalid,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a job is run.

    Attributes:
        mode: ddp, fsdp, pipeline or diloco.
        nproc: processes, each a rank.
        groups: of diloco; 0 = each rank is one.
        timeout: seconds that ranks wait for each other.
        max_restarts: in a row, without a new checkpoint.
        trust_builder: run the builder that the job names.
    """

    mode: str = "ddp"
    nproc: int = 1
    groups: int = 0
    timeout: int = 300
    max_restarts: int = 3
    trust_builder: bool = False

    def words(self) -> list[str]:
        """Return them as a command line."""
        return [
            f"--mode={self.mode}", f"--nproc={self.nproc}", f"--groups={self.groups}",
            f"--timeout={self.timeout}", f"--max-restarts={self.max_restarts}",
            *(["--trust-builder"] if self.trust_builder else []),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """How a run ended; see `worker.training.distributed.launch.TrainingResult`."""

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
    restarts: tuple[str, ...]
    microbatches: int


def train(job: Path, out: Path | None, options: TrainOptions, update: Update) -> TrainedModel:
    """Run a job to its end, from its last checkpoint if there is one.

    Args:
        job: a file of JSON (docs/training.md).
        out: folder of checkpoints and of the result; `<job>-run` by default.
        update: is told the steps that are done.

    Raises:
        NotFound: no such job, file of data or builder.
        InputInvalid: the job, its data or a checkpoint do not fit.
        DigestMismatch: ranks hold other parameters, optimizer states or orders of data.
        ConfigInvalid: the job names a builder that is not trusted.
        TransientError: ranks died too often; the same call goes on.
        PermanentError: the module failed, the loss is not finite, or the program ended unseen.
    """
    if not job.is_file():
        raise NotFound(f"there is no job {job}", hint="docs/training.md says what a job holds")
    job = job.resolve()
    folder = (out or job.with_name(f"{job.stem}-run")).resolve()
    said = run_program(_PROGRAM, folder, *options.words(), source=job, update=update)
    return TypeAdapter(TrainedModel).validate_json(said)


def run_program(
    module: str, folder: Path, *options: str, source: Path | None = None, update: Update
) -> str:
    """Run a program of the worker to its end; return its last line.

    Raises:
        TallystickError: what the program printed, of the nearest kind that is known here.
        PermanentError: it ended unseen.
    """
    with Build(module, folder, *options, source=source) as build:
        try:
            build.wait(update)
        except PermanentError as error:
            raise _named(build.last_line, error) from None
        return build.last_line


def _named(line: str, error: PermanentError) -> TallystickError:
    """Return the error that the program printed; how it ended where it printed none."""
    try:
        said: dict[str, Any] = json.loads(line)
        kind = next((k for k in _KINDS if k.exit_code == said["exit_code"]), PermanentError)
        name = "" if said["error"] == kind.__name__ else f"{said['error']}: "
        return kind(f"{name}{said['message']}", hint=said["hint"])
    except (ValueError, KeyError, TypeError):
        return error
