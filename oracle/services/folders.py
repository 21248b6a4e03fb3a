"""A folder that holds a model: `model.json` beside its files, checked before anything else happens.

`model.json` is the manifest without digests: `files` is a list of paths, and without it every file
of the folder is listed. Publishes nothing.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from oracle.errors import InputInvalid, NotFound
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import FileEntry, Manifest
from oracle.types import Bytes32

DESCRIPTION = "model.json"
_PIECE = 1 << 20  # bytes

BytesProgress = Callable[[str, int, int], None]  # (file, bytes done, bytes in total)


def read(folder: Path, progress: BytesProgress) -> Manifest:
    """Read and check a folder; CIDs are those of raw blocks until the files are uploaded.

    Raises:
        NotFound: no folder, no model.json, or a file that it names is missing.
        InputInvalid: model.json or a file is not allowed in a manifest.
    """
    description = _description(folder)
    paths = description.pop("files", None) or _all_files(folder)
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise InputInvalid(f"{folder / DESCRIPTION}: files is not a list of paths")
    entries = [_hash(folder, path, progress) for path in sorted(paths)]
    body = {
        **description,
        "files": [TypeAdapter(FileEntry).dump_python(e, mode="json") for e in entries],
    }
    try:
        manifest = TypeAdapter(Manifest).validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise InputInvalid(f"{folder / DESCRIPTION}: {where}: {first['msg']}") from error
    manifest.to_bytes()
    return manifest


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}",
            hint="build an example with `python -m examples.digits.build DIR`",
        ) from None
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise InputInvalid(f"{path} is not a JSON object")
    return body


def _all_files(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != DESCRIPTION and not path.name.startswith(".")
    ]


def _hash(folder: Path, path: str, progress: BytesProgress) -> FileEntry:
    source = folder / path
    digest, done = hashlib.sha256(), 0
    try:
        if not source.resolve().is_relative_to(folder.resolve()):
            raise InputInvalid(f"file {path} is outside of {folder}")
        total = source.stat().st_size
        with source.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                done += len(piece)
                progress(f"hashing {path}", done, total)
    except OSError as error:
        raise NotFound(f"cannot read {source}: {error.strerror}") from error
    sha256 = Bytes32(digest.digest())
    return FileEntry(path, raw_cid(sha256), sha256, done)
