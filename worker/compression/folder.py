"""A folder that `tallystick model publish` takes: model.json beside a version's files."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from oracle.errors import InputInvalid
from oracle.protocol.cid import raw_cid
from oracle.protocol.files import WEIGHT_SUFFIXES, FileEntry
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.types import Bytes32
from worker.runtimes.base import Files

DESCRIPTION = "model.json"


def write_float(folder: Path, manifest: Manifest, files: Files, derived: DerivedFrom) -> Manifest:
    """Describe a version whose entry lies in the folder already; return its manifest.

    Args:
        manifest: of the original, with the runtime of the new one.
        files: of the original; what is not its entry (a tokenizer) is copied.
    """
    entry = manifest.runtime.entry
    others = [path for path in files if path != entry and path in _beside(manifest)]
    for path in others:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[path], folder / path)
    found = replace(
        manifest,
        tolerance=0,  # measured when it is published: rounding may have changed it
        derived_from=derived,
        files=tuple(_entry(folder, path) for path in sorted([entry, *others])),
    )
    body: dict[str, Any] = json.loads(found.to_bytes())
    body["files"] = [one.path for one in found.files]
    del body["tolerance"]
    _write(folder, body)
    return found


def describe_exact(folder: Path, derived: DerivedFrom | None) -> Manifest:
    """Add the origin to the model.json of a folder that the compiler wrote; return its manifest."""
    body = json.loads((folder / DESCRIPTION).read_text())
    if derived is not None:
        body["derived_from"] = TypeAdapter(DerivedFrom).dump_python(derived, mode="json")
    body.pop("files", None)
    paths = sorted(path.name for path in folder.iterdir() if path.name != DESCRIPTION)
    _write(folder, {**body, "files": paths})
    return read(folder)


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder that this program wrote."""
    body: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    entries = TypeAdapter(tuple[FileEntry, ...]).dump_python(
        tuple(_entry(folder, path) for path in body["files"]), mode="json"
    )
    return TypeAdapter(Manifest).validate_json(json.dumps({**body, "files": entries}))


def digest(folder: Path) -> str:
    """Return what tells a folder from all others: a digest over its description and its files.

    Returns:
        0x and hex; "" where a file is missing or nothing describes them.
    """
    try:
        return "0x" + hashlib.sha256(read(folder).to_bytes()).hexdigest()
    except (OSError, ValueError, LookupError, TypeError, InputInvalid):
        return ""


def _beside(manifest: Manifest) -> set[str]:
    """Return the paths of files that are read besides weights."""
    kinds = (*WEIGHT_SUFFIXES, ".program")
    return {one.path for one in manifest.files if not one.path.endswith(kinds)}


def _write(folder: Path, body: Mapping[str, Any]) -> None:
    (folder / DESCRIPTION).write_text(json.dumps(body, indent=1) + "\n")


def _entry(folder: Path, path: str) -> FileEntry:
    with (folder / path).open("rb") as file:
        digest = Bytes32(hashlib.file_digest(file, "sha256").digest())
    return FileEntry(path, raw_cid(digest), digest, (folder / path).stat().st_size)
