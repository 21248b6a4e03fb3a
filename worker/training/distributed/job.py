"""What a training job says: a file of JSON, written by hand, whose paths begin at its folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oracle.errors import InputInvalid, NotFound

Scalar = int | float | str | bool
Count = Annotated[int, Field(ge=1, le=2**40)]
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Rows = tuple[Annotated[int, Field(ge=0)], Count]  # from the first, to before the second

# What may change before a run goes on: how far, and how often it says something
_FREE = ("name", "steps", "checkpoint_every", "compare_every", "held_out")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ModelSpec(_Part):
    """The module: a registered architecture, or what a function of this machine builds.

    Attributes:
        architecture: a name of `worker.runtimes.architectures`.
        builder: `module:function`; it is called with `options` and returns a module.
        options: of either.
        weights: safetensors to begin with; drawn from the seed when there are none.
    """

    architecture: str = ""
    builder: str = ""
    options: Mapping[str, Scalar] = {}
    weights: str = ""

    @model_validator(mode="after")
    def _one(self) -> "ModelSpec":
        if bool(self.architecture) == bool(self.builder):
            raise ValueError("name either an architecture or a builder")
        return self


class OptimizerSpec(_Part):
    """torch's SGD or AdamW."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Rate
    momentum: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class DilocoSpec(_Part):
    """Local steps between two exchanges, and the outer Nesterov step (arXiv:2311.08105)."""

    local_steps: Count = 30
    learning_rate: Rate = 0.7
    momentum: Share = 0.9


class TrainingJob(_Part):
    """A training job.

    Attributes:
        data: files of rows (safetensors, or NPZ of np.savez), one set after another.
        inputs: names of tensors in them, in the order of the module's arguments.
        target: name of the tensor that the loss compares with.
        loss: cross entropy of classes (int64 [n]), or the mean of squares.
        rows: which rows of the set are trained on; all by default.
        held_out: rows that the result is evaluated on.
        batch: rows of one step, of all ranks together.
        seed: of weights, data order and everything drawn in a step.
        checkpoint_every, compare_every: steps between two.
        microbatches: that a pipeline has under way.
    """

    name: str = "job"
    model: ModelSpec
    data: Annotated[list[str], Field(min_length=1, max_length=100_000)]
    inputs: Annotated[list[str], Field(min_length=1, max_length=64)]
    target: str
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    rows: Rows | None = None
    held_out: Rows | None = None
    optimizer: OptimizerSpec
    batch: Count
    steps: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    checkpoint_every: Count = 100
    compare_every: Count = 100
    microbatches: Annotated[int, Field(ge=1, le=1024)] = 4
    diloco: DilocoSpec = DilocoSpec()

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must have been written with to be gone on from."""
        return self.model_dump(mode="json", exclude=set(_FREE))

    def digest(self) -> str:
        """Return SHA-256 of the identity, in hex."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()


def read(path: Path) -> TrainingJob:
    """Read a job.

    Raises:
        NotFound: there is no such file.
        InputInvalid: no JSON, a field that is missing, unknown or out of bounds.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(
            f"there is no job {path}", hint="docs/training.md says what a job holds"
        ) from None
    try:
        return TrainingJob.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputInvalid(
            f"{path.name}: {where + ': ' if where else ''}{first['msg']}",
            hint="docs/training.md says what a job holds",
        ) from None
