"""Training in exact steps, and doing it again, in processes of their own (`worker` needs torch)."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from oracle.errors import NotFound
from oracle.services.builders import Update
from oracle.services.training.running import run_program


@dataclass(frozen=True, slots=True)
class ExactlyTrained:
    """How a job in exact steps ended.

    Attributes:
        job, history: roots that name the terms and all steps, 0x….
        accuracy, accuracy_float: on the job's held-out rows, in integers and of the float64 twin.
    """

    folder: Path
    weights: Path
    steps: int
    parameters: int
    operators: int
    job: str
    history: str
    accuracy: float | None
    accuracy_float: float | None


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """Whether a history is what its job gives.

    Attributes:
        wrong_step: the first; None where all are right.
    """

    job: str
    history: str
    steps: int
    wrong_step: int | None


def train(job: Path, out: Path | None, *, trust_builder: bool, update: Update) -> ExactlyTrained:
    """Do a job in exact steps.

    Args:
        job: a file of JSON (docs/training.md).
        out: folder of what whoever verifies it needs; `<job>-exact` by default.
        trust_builder: run the builder that the job names.
        update: is told the steps that are done.

    Raises:
        NotFound: no such job, file of data or builder.
        InputInvalid: job or data do not fit. ConfigInvalid: a builder that is not trusted.
        PermanentError: the module has no integer step, or a weight left its range.
    """
    if not job.is_file():
        raise NotFound(f"there is no job {job}", hint="docs/training.md says what a job holds")
    folder = (out or job.with_name(f"{job.stem}-exact")).resolve()
    options = ["--trust-builder"] if trust_builder else []
    said = run_program(
        "worker.exact.training", folder, *options, source=job.resolve(), update=update
    )
    return TypeAdapter(ExactlyTrained).validate_json(said)


def verify(folder: Path, update: Update) -> TrainingCheck:
    """Do the job of a folder again.

    Raises:
        NotFound: no such folder, or a file is missing.
        InputInvalid, DigestMismatch: a file is damaged, or not the one that the job names.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    said = run_program("worker.exact.training.verify", folder.resolve(), update=update)
    return TypeAdapter(TrainingCheck).validate_json(said)
