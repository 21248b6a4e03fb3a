"""Files and folders of other libraries, which operators do not run: whose they are, their digest.

```
 .skops          scikit-learn      saved_model.pb in a folder         SavedModel (TensorFlow)
 .ubj .json      XGBoost           .keras                             Keras
 .txt            LightGBM          checkpoint, *.index, *.meta        checkpoint (TensorFlow)
 .onnx           ONNX, any opset   metadata/ and stages/ in a folder  Spark ML
```
Looks at names alone, so it decides nothing: who converts it opens it in a process of its own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from oracle.errors import InputInvalid, NotFound
from oracle.protocol.origin import FORMATS, Format
from oracle.types import Bytes32

DESCRIPTION = "model.json"
MAX_FILES = 10_000  # of a folder
_SUFFIXES: Mapping[str, Format] = {
    ".skops": "scikit-learn", ".ubj": "xgboost", ".json": "xgboost", ".txt": "lightgbm",
    ".keras": "keras", ".onnx": "onnx", ".index": "checkpoint", ".meta": "checkpoint",
}  # fmt: skip
_PIECE = 1 << 20  # bytes


def recognise(path: Path) -> Format | None:
    """Return whose file or folder this is; None of a folder that holds a model of ours."""
    if path.is_file():
        return _SUFFIXES.get(path.suffix)
    if not path.is_dir():
        return None
    if (path / DESCRIPTION).is_file():
        return described(path)[0]
    if (path / "saved_model.pb").is_file():
        return "saved-model"
    if (path / "metadata").is_dir() and (path / "stages").is_dir():
        return "spark"
    return "checkpoint" if next(path.glob("*.index"), None) is not None else None


def described(folder: Path) -> tuple[Format | None, Path]:
    """Return of whose file a folder's model.json speaks, and that file; None of one of ours."""
    try:
        runtime = json.loads((folder / DESCRIPTION).read_text())["runtime"]
        kind, entry = runtime["format"], folder / str(runtime["entry"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, folder  # whoever reads the folder says what is wrong with it
    if kind == "onnx" or kind not in FORMATS:
        return None, folder
    return cast(Format, kind), entry


def digest(path: Path) -> Bytes32:
    """Return the SHA-256 of a file; of a folder that of `<sha256>  <path>` lines, as sha256sum.

    The lines are sorted by path. `model.json` and files that begin with a dot are left out.

    Raises:
        NotFound: it cannot be read. InputInvalid: a link, or too many files.
    """
    try:
        if path.is_file():
            return Bytes32(_sha256(path).digest())
        lines = [f"{_sha256(one).hexdigest()}  {name}\n" for name, one in sorted(_files(path))]
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    return Bytes32(hashlib.sha256("".join(lines).encode()).digest())


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for number, path in enumerate(folder.rglob("*")):
        if number >= MAX_FILES:
            raise InputInvalid(f"{folder} holds more than {MAX_FILES} files")
        if path.is_symlink():
            raise InputInvalid(f"{path} is a link", hint="copy the files themselves")
        if path.is_file() and path.name != DESCRIPTION and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path


def _sha256(path: Path) -> "hashlib._Hash":
    done = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            done.update(piece)
    return done
