"""What a conversion leaves in its folder: the model, what is known of it, and answers to probes.

The folder is written by a process that read a stranger's file, so it is read as a stranger's.
Imports nothing that needs more than the standard library and NumPy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid
from oracle.protocol import npz
from worker.errors import ModelUnsupported, WeightsInvalid

Array: TypeAlias = NDArray[Any]

MODEL, ABOUT, PROBES = "model.onnx", "about.json", "probes.npz"
SAVED_MODEL = "saved_model"  # a folder
MAX_ABOUT = 2**22  # bytes
MAX_PROBES = 2**28  # bytes, unpacked
ROWS = 64  # that are drawn where the owner gives no samples


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a child is to convert.

    Attributes:
        format: see `oracle.protocol.origin.Format`.
        source: the file or folder.
        samples: an NPZ with inputs by name, or none.
        missing: of XGBoost: the value that stands for a missing one, besides NaN.
        packages: a folder of Python packages beside our own: pyspark's.
        outputs: of a checkpoint: the nodes that answer, where the owner names them.
        describe: say only what a file of trees holds, in the words of `model.json`.
    """

    format: str
    source: str
    samples: str = ""
    missing: float | None = None
    packages: str = ""
    outputs: tuple[str, ...] = ()
    describe: bool = False


@dataclass(frozen=True, slots=True)
class Categories:
    """What a column of words may hold; a word is told by its place.

    Attributes:
        words: in order.
        other: whether the model has an answer to any other word, too, whose place is the last.
    """

    words: tuple[str, ...]
    other: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """A model as ONNX, and what its own library answers.

    Attributes:
        model: the ONNX file.
        version: the library that read the original, and its version.
        labels: of the classes, in the order of the last axis.
        columns: names of the input's columns, in order; empty where the original knows none.
        rows: inputs by name, many rows each.
        answers: of the original library to these rows, by the names of the ONNX file's outputs.
        categories: of the columns that hold words, by name.
    """

    model: bytes
    version: str
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: Mapping[str, Array] = field(default_factory=dict)
    answers: Mapping[str, Array] = field(default_factory=dict)
    categories: Mapping[str, Categories] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leave it for the frame."""
        (folder / MODEL).write_bytes(self.model)
        arrays = {f"row:{name}": array for name, array in self.rows.items()}
        arrays |= {f"answer:{name}": array for name, array in self.answers.items()}
        np.savez(folder / PROBES, **arrays)  # type: ignore[arg-type]  # numpy's stub gives **kwds the type of allow_pickle
        about: dict[str, Any] = {
            "version": self.version,
            "labels": self.labels,
            "columns": self.columns,
        }
        about["categories"] = {name: asdict(one) for name, one in self.categories.items()}
        (folder / ABOUT).write_text(json.dumps(about))

    @classmethod
    def read(cls, folder: Path) -> "Converted":
        """Read what a child left.

        Raises:
            WeightsInvalid: it is not what `write` writes.
        """
        try:
            about = _about(folder)
            with (folder / PROBES).open("rb") as file:
                arrays = npz.read(file, most=MAX_PROBES)
            rows, answers = (
                {n.removeprefix(kind): a for n, a in arrays.items() if n.startswith(kind)}
                for kind in ("row:", "answer:")
            )
            return cls(
                (folder / MODEL).read_bytes(), str(about["version"]),
                tuple(map(str, about["labels"])), tuple(map(str, about["columns"])), rows, answers,
                {str(name): Categories(tuple(map(str, one["words"])), bool(one["other"]))
                 for name, one in about["categories"].items()},
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InputInvalid) as error:
            raise WeightsInvalid(f"the conversion left no model: {error!r:.200}") from error


def write_description(folder: Path, version: str, said: Mapping[str, Any]) -> None:
    """Leave what a file of trees says of itself for the frame."""
    (folder / ABOUT).write_text(json.dumps({"version": version, "said": said}))


def read_description(folder: Path) -> tuple[str, dict[str, Any]]:
    """Read what `write_description` left.

    Raises:
        WeightsInvalid: it is not that.
    """
    try:
        about = _about(folder)
        return str(about["version"]), dict(about["said"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsInvalid(f"the reading left no description: {error!r:.200}") from error


def _about(folder: Path) -> Any:
    if (size := (folder / ABOUT).stat().st_size) > MAX_ABOUT:
        raise ValueError(f"{ABOUT} has {size} bytes")
    return json.loads((folder / ABOUT).read_bytes())


def samples_of(job: Conversion, names: tuple[str, ...]) -> dict[str, Array] | None:
    """Return the owner's samples by input; None when there are none.

    Raises:
        ModelUnsupported: an input is missing in them, or they are not plain arrays.
    """
    if not job.samples:
        return None
    try:
        with Path(job.samples).open("rb") as file:
            found = npz.read(file, names=names)
    except (OSError, InputInvalid) as error:
        raise ModelUnsupported(
            f"the samples {job.samples} are not of this model: {error}",
            hint=f"an NPZ of plain arrays: {', '.join(names)}",
        ) from error
    return {name: np.atleast_1d(array)[:512] for name, array in found.items()}


def as_json(job: Conversion) -> str:
    """Return a job as a child reads it."""
    return json.dumps(asdict(job))
