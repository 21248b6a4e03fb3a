"""From an answer's canonical bytes to what a person wants to see: labels, reasons, nearest texts.

Pure. The bytes were checked against the chain before they come here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact import form
from oracle.protocol import text
from oracle.protocol.manifest import Manifest, TensorSpec
from oracle.protocol.tensor import Array

MAX_SHOWN = 64  # numbers of a tensor that are shown
SIMILAR = 3  # nearest rows that are named
REASONS = "reasons"  # an output [n, columns, k]: what each column did to the k scores
MAX_REASONS = 3  # that are named of one score


@dataclass(frozen=True, slots=True)
class Reason:
    """A column of the input, and how much less the score would be without it."""

    column: str
    effect: float


@dataclass(frozen=True, slots=True)
class Score:
    """One class and what the model gave it, largest first."""

    label: str
    score: float
    reasons: tuple[Reason, ...] = ()  # what did most, where the model says so


@dataclass(frozen=True, slots=True)
class Similar:
    """Another row of the same answer and the cosine of the angle between the two."""

    row: int
    text: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be said about one row (example) of an output."""

    row: int
    text: str = ""  # the sentence that was asked about
    top: tuple[Score, ...] = ()
    nearest: tuple[Similar, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor. `values` is there when it is small enough to be shown."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Any = None
    rows: tuple[Row, ...] = ()
    text: str = ""  # of a text model's answer


def present(
    data: bytes, manifest: Manifest, texts: Sequence[str] = (), top: int = 3
) -> tuple[Output, ...]:
    """Decode an answer and say what it means.

    Raises:
        InputInvalid: the bytes are not the outputs that the manifest names.
    """
    tensors = form.of(manifest).decode_outputs(data)
    if manifest.runtime.format == text.FORMAT:
        return _written(tensors)
    reasons = _reasons(manifest, tensors)
    return tuple(
        _present(spec, tensors[spec.name], manifest.labels or (), texts, top)
        if reasons is None or spec is not manifest.outputs[0]
        else _recommend(spec, tensors[spec.name], manifest, reasons, top)
        for spec in manifest.outputs
    )


def units(data: bytes, manifest: Manifest) -> int:
    """Return how many units an answer has; 0 where each costs the same.

    Raises:
        InputInvalid: the bytes are not the outputs that the manifest names.
    """
    return manifest.units(form.of(manifest).decode_outputs(data))


def save(data: bytes, manifest: Manifest, path: Path) -> None:
    """Write an answer to a file: .json or .npz as such, anything else as canonical bytes.

    Raises:
        InputInvalid: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, **form.of(manifest).decode_outputs(data))  # type: ignore[arg-type]  # numpy's stub gives **kwds the type of allow_pickle
        elif path.suffix == ".json":
            tensors = form.of(manifest).decode_outputs(data)
            path.write_text(json.dumps({k: v.tolist() for k, v in tensors.items()}) + "\n")
        else:
            path.write_bytes(data)
    except OSError as error:
        raise InputInvalid(f"cannot write {path}: {error.strerror}") from error


def _present(
    spec: TensorSpec, array: Array, labels: Sequence[str], texts: Sequence[str], top: int
) -> Output:
    rows: tuple[Row, ...] = ()
    if array.ndim == 2 and labels and array.shape[1] == len(labels):
        rows = tuple(Row(i, _text(texts, i), _top(row, labels, top)) for i, row in enumerate(array))
    elif array.ndim == 2 and array.dtype.kind == "f" and len(texts) == array.shape[0] > 1:
        rows = _nearest(array, texts)
    values = array.tolist() if array.size <= MAX_SHOWN else None
    return Output(spec.name, spec.dtype, tuple(array.shape), values, rows)


def _written(tensors: dict[str, Array]) -> tuple[Output, ...]:
    """Return what a text model wrote as text, its other outputs by shape alone."""
    answer = text.decode_answer(tensors)
    return tuple(
        Output(
            name, str(array.dtype), tuple(array.shape),
            values=answer.head if name == "answer" else None,
            text=answer.content if name == "answer" else "",
        )
        for name, array in tensors.items()
    )  # fmt: skip


def _reasons(manifest: Manifest, tensors: dict[str, Array]) -> Array | None:
    """Return what each column did to each score of the first output, if the model says it."""
    found, scores = tensors.get(REASONS), tensors[manifest.outputs[0].name]
    if found is None or scores.ndim != 2 or found is scores:
        return None
    wanted = (scores.shape[0], len(manifest.features), scores.shape[1])
    return found if found.shape == wanted else None


def _recommend(
    spec: TensorSpec, array: Array, manifest: Manifest, reasons: Array, top: int
) -> Output:
    names = [column.name for column in manifest.features]
    labels = manifest.labels or ()
    if len(labels) != array.shape[1]:
        labels = tuple(f"{spec.name} {n + 1}" for n in range(array.shape[1]))
    rows = []
    for number, row in enumerate(array):
        order = np.argsort(-row.astype(np.float64), kind="stable")[:top]
        scores = (
            Score(labels[i], float(row[i]), _main(names, reasons[number, :, i])) for i in order
        )
        rows.append(Row(number, top=tuple(scores)))
    values = array.tolist() if array.size <= MAX_SHOWN else None
    return Output(spec.name, spec.dtype, tuple(array.shape), values, tuple(rows))


def _main(names: Sequence[str], effects: Array) -> tuple[Reason, ...]:
    order = np.argsort(-np.abs(effects.astype(np.float64)), kind="stable")[:MAX_REASONS]
    return tuple(Reason(names[i], float(effects[i])) for i in order if effects[i])


def _top(row: Array, labels: Sequence[str], count: int) -> tuple[Score, ...]:
    order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
    return tuple(Score(labels[i], float(row[i])) for i in order)


def _nearest(array: Array, texts: Sequence[str]) -> tuple[Row, ...]:
    """Name for every row the others that point in the most similar direction."""
    wide = array.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(lengths == 0, 1, lengths)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    rows = []
    for i, similar in enumerate(cosine):
        order = np.argsort(-similar, kind="stable")[: min(SIMILAR, len(texts) - 1)]
        near = tuple(Similar(int(j), texts[j], float(similar[j])) for j in order)
        rows.append(Row(i, texts[i], nearest=near))
    return tuple(rows)


def _text(texts: Sequence[str], row: int) -> str:
    return texts[row] if row < len(texts) else ""
