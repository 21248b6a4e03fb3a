"""From what another library wrote to a model's folder: `model.onnx` and `model.json`."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from oracle import origins
from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.exact.ranks import LIBRARIES
from oracle.protocol.origin import Format
from worker.exact.trees.files import require_order
from worker.importing import frame, held
from worker.importing.converted import MODEL, Conversion, Converted
from worker.onnx_description import described_onnx

_KEPT_OUT = ("files", "runtime", "inputs", "outputs", "origin")  # of model.json: written anew


def build(
    source: Path, target: Path, samples: Path | None = None, missing: float | None = None
) -> dict[str, Any]:
    """Convert a file or folder, write the folder that can be published, return a report.

    Raises:
        InputInvalid: model.json and the original do not fit each other.
        DigestMismatch: the original is not the one that model.json was written from.
        ModelRefused (or a subclass), ConfigInvalid: see `frame.convert` and `held.require_same`.
    """
    from worker.runtimes.onnx import open_session  # noqa: PLC0415 - onnxruntime takes 0.3 s

    kind, original, about = _given(source)
    parts_beside = kind == "checkpoint" and original.is_file()
    sha256 = origins.digest(original.parent if parts_beside else original).hex()
    promised = about.get("origin", {}).get("sha256", "").removeprefix("0x")
    if promised and promised != sha256:
        raise DigestMismatch(
            f"{original} hashes to {sha256[:16]}…, model.json says {promised[:16]}…",
            hint="it changed since `tallystick model init`: put it back, or run init anew",
        )
    if missing is not None and kind != "xgboost":
        raise InputInvalid(f"{kind} has no missing=", hint="leave --missing out")
    beside = original.parent / "samples.npz"
    samples = samples or (beside if beside.is_file() else None)
    job = Conversion(
        kind, str(original.resolve()), str(samples.resolve()) if samples else "", missing
    )
    if kind == "checkpoint":
        job = replace(job, outputs=tuple(str(one["name"]) for one in about.get("outputs", ())))
    made = frame.convert(job)
    target.mkdir(parents=True, exist_ok=True)
    (target / MODEL).write_bytes(made.model)
    said = described_onnx(target / MODEL)
    largest = held.require_same(made, open_session(target / MODEL, "cpu")[0])
    body = {
        "name": source.stem if source.is_file() else source.name,
        "description": "",
        "license": "",
        **{key: value for key, value in about.items() if key not in _KEPT_OUT},
        **said,
        **words(made, about),
        "inputs": _described(said["inputs"], about),
        "origin": {"format": kind, "version": made.version, "sha256": "0x" + sha256},
        "files": [MODEL],
    }
    (target / origins.DESCRIPTION).write_text(json.dumps(body, indent=2) + "\n")
    rows = min((len(array) for array in made.rows.values()), default=0) if made.answers else 0
    return {
        "origin": kind, "version": made.version, "sha256": sha256, "rows": rows,
        "difference": largest, "bytes": len(made.model),
    }  # fmt: skip


def words(made: Converted, about: dict[str, Any]) -> dict[str, Any]:
    """Return labels and columns, as far as the original knows them; the owner's go first.

    Raises:
        InputInvalid: another number of labels, or columns or their words in another order.
    """
    labels, features = about.get("labels"), about.get("features")
    if labels is not None and made.labels and len(labels) != len(made.labels):
        raise InputInvalid(
            f"model.json has {len(labels)} labels, the file {len(made.labels)} classes",
            hint=f"in the order of the file's: {', '.join(made.labels)[:200]}",
        )
    require_order(features or (), made.columns)
    said: dict[str, Any] = {}
    if labels is None and made.labels:
        said["labels"] = list(made.labels)
    if not features and made.columns:
        said["features"] = [_feature({"name": name}, made) for name in made.columns]
    elif features:
        said["features"] = [_feature(one, made) for one in features]
    return said


def _feature(about: dict[str, Any], made: Converted) -> dict[str, Any]:
    """Return a column as `model.json` describes it, with the words of the original.

    Raises:
        InputInvalid: model.json has its words in another order, or another number of them.
    """
    found = made.categories.get(str(about.get("name")))
    if found is None:
        return about
    words = about.get("categories")
    if words is None:
        return {
            **about,
            "categories": list(found.words),
            **({"other": True} if found.other else {}),
        }
    moved = sorted(words) == sorted(found.words) and list(words) != list(found.words)
    if moved or len(words) != len(found.words) or (about.get("other") and not found.other):
        raise InputInvalid(
            f"model.json has other categories of {about['name']} than the original",
            hint=f"in this order: {', '.join(found.words)[:200]}"
            + ("" if found.other else "; without `other`"),
        )
    return about


def describe_original(path: Path) -> dict[str, Any]:
    """Return what an original says of itself, in the words of `model.json`. Errors as `build`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        build(path, folder)
        body: dict[str, Any] = json.loads((folder / origins.DESCRIPTION).read_text())
    for name in ("name", "description", "license", "files"):
        del body[name]
    return {**body, "runtime": {"format": body["origin"]["format"], "entry": path.name}}


def describe_trees(path: Path) -> dict[str, Any]:
    """Return what a file of trees says of itself, as the compiler will publish it.

    Raises:
        ModelRefused (or a subclass), ConfigInvalid: see `frame.describe`.
    """
    library = LIBRARIES[path.suffix]
    version, said = frame.describe(Conversion(cast(Format, library), str(path.resolve())))
    origin = {"format": library, "version": version, "sha256": "0x" + origins.digest(path).hex()}
    return {"runtime": {"format": library, "entry": path.name}, "origin": origin, **said}


def _given(source: Path) -> tuple[Format, Path, dict[str, Any]]:
    """Return whose file it is, where it lies, and what the owner has written of it."""
    kind = origins.recognise(source)
    if kind is None:
        raise InputInvalid(
            f"{source} is of no library that is known",
            hint=".skops, .ubj, .json, .txt, .onnx, .keras, or a folder with a SavedModel, a "
            "checkpoint or a Spark pipeline",
        )
    about: dict[str, Any] = {}
    original = source
    described = source if source.is_dir() else source.parent
    if (described / origins.DESCRIPTION).is_file():
        found, entry = origins.described(described)
        if found is not None and (source.is_dir() or entry == source):
            about, original = json.loads((described / origins.DESCRIPTION).read_text()), entry
    if not original.exists():
        raise NotFound(f"model.json names {original}, which is not there")
    return kind, original, about


def _described(inputs: list[dict[str, Any]], about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the inputs with what the owner wrote about them."""
    known = {spec.get("name"): spec.get("description", "") for spec in about.get("inputs", ())}
    return [
        {**spec, "description": known[spec["name"]]} if known.get(spec["name"]) else spec
        for spec in inputs
    ]
