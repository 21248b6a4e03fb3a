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
_TENSOR = '{"name": "x", "dtype": "F32", "shape": [null, 13]}'
EXAMPLES = {
    "name": '"name": "wine"',
    "description": '"description": "Cultivar of a wine"',
    "license": '"license": "MIT"',
    "runtime": '"runtime": {"format": "onnx", "entry": "model.onnx"}',
    "format": '"format": "torch.export", "safetensors", "onnx", "gguf" or "exact"',
    "entry": '"entry": "model.onnx"',
    "architecture": '"architecture": "minilm"',
    "options": '"options": {"width": 32}',
    "inputs": f'"inputs": [{_TENSOR}]',
    "outputs": f'"outputs": [{_TENSOR}]',
    "dtype": '"dtype": "F32"',
    "shape": '"shape": [null, 13]',
    "parameters": '"parameters": [{"lane": 0, "name": "temperature", "minimum": 1, '
    '"maximum": 20, "default": 10, "scale": 10}]',
    "preprocess": '"preprocess": {"kind": "tokenizer", "file": "tokenizer.json", '
    '"max_length": 256}',
    "labels": '"labels": ["red", "white"]',
    "max_output_bytes": '"max_output_bytes": 65536',
    "tolerance": '"tolerance": 1000',
    "history": '"history": {"made": {"kind": "told", "text": "tuned on reviews"}}',
    "unit": '"unit": {"output": "tokens", "maximum": 4096}',
}  # of each field of model.json

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
        raise _refused(folder / DESCRIPTION, error) from error
    manifest.to_bytes()
    return manifest


def _refused(path: Path, error: ValidationError) -> InputInvalid:
    """Name every field that is missing or wrong, with what to write."""
    said, examples = [], []
    for one in error.errors():
        place = [str(part) for part in one["loc"]]
        said.append(f"{'.'.join(place) or 'the document'}: {one['msg']}")
        example = next((EXAMPLES[part] for part in reversed(place) if part in EXAMPLES), None)
        if example is not None and example not in examples:
            examples.append(example)
    return InputInvalid(
        f"{path}: " + "; ".join(said),
        hint=("write " + ", ".join(examples) + "; " if examples else "")
        + "`tallystick model init` writes the fields from the weights",
    )


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}",
            hint="`tallystick model init FILE` writes one beside the weights",
        ) from None
    except NotADirectoryError:
        raise InputInvalid(
            f"{folder} is a file, and a folder with model.json is published",
            hint=f"`tallystick model init {folder}` writes one beside it; then give its folder",
        ) from None
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise InputInvalid(f"{path} is not a JSON object")
    if "learner" in body:
        raise InputInvalid(
            f"{path} is a model of XGBoost, no description of one",
            hint=f"publish the file itself: `tallystick model publish {path} --exact --key OWNER`",
        )
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
