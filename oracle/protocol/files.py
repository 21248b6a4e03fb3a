"""The files of a model as its manifest lists them, and which paths and kinds are allowed.

Weights are hostile. A path must stay inside its folder on every system. A format that runs code
when it is loaded (pickle, under all its names) may not be listed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from oracle.errors import InputInvalid
from oracle.protocol import canonical
from oracle.protocol import cid as cids
from oracle.protocol.border import STRICT, HexBytes32
from oracle.types import Bytes32, Cid

MAX_FILES = 64
MAX_FILE_BYTES = 2**40
MAX_PATH_LENGTH = 255
SUFFIXES = (
    ".safetensors", ".pt2", ".onnx", ".gguf", ".program",
    ".json", ".jsonl", ".txt", ".md", ".csv", ".model",
)  # fmt: skip
WEIGHT_SUFFIXES = (".safetensors", ".pt2", ".onnx", ".gguf")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: where it lies in the model's folder, its CID, SHA-256 and size in bytes."""

    path: str
    cid: Cid
    sha256: HexBytes32
    size: int

    __pydantic_config__ = STRICT


def check_path(path: str) -> None:
    """Refuse a path that could leave its folder, or that another system reads differently.

    Raises:
        InputInvalid: absolute, `..`, empty parts, a backslash, NUL, spaces, a leading dot or dash,
            more than 255 characters, or a suffix outside `SUFFIXES`.
    """
    parts = path.split("/")
    if len(path) > MAX_PATH_LENGTH or not all(_PART.fullmatch(part) for part in parts):
        raise InputInvalid(
            f"path {path!r:.80} is not allowed in a manifest",
            hint="relative, parts of A-Z a-z 0-9 . _ - that do not begin with . or -",
        )
    if PurePosixPath(path).suffix not in SUFFIXES:
        raise InputInvalid(
            f"file {path} is of a kind that is not allowed",
            hint="allowed: " + " ".join(SUFFIXES) + "; pickles (.pkl .pt .pth .bin …) run code "
            "when loaded: convert them to .safetensors",
        )


def check_files(files: Sequence[FileEntry]) -> None:
    """Refuse a list of files that is not well-formed.

    Raises:
        InputInvalid: none or more than 64 files. A bad path, two equal paths (ignoring case), or a
            file that is also a folder. A bad CID or size, or a CID that contradicts the SHA-256.
    """
    if not 1 <= len(files) <= MAX_FILES:
        raise InputInvalid(f"{len(files)} files; a manifest lists 1 to {MAX_FILES}")
    seen: set[str] = set()
    for file in files:
        check_path(file.path)
        folded = file.path.casefold()
        if folded in seen:
            raise InputInvalid(f"file {file.path} is listed twice (names differ by case at most)")
        seen.add(folded)
        if not 0 <= file.size <= MAX_FILE_BYTES:
            raise InputInvalid(f"file {file.path}: size {file.size} is not 0 to {MAX_FILE_BYTES}")
        codec, digest = cids.parse(file.cid)
        if codec is cids.Codec.RAW and digest != file.sha256:
            raise InputInvalid(
                f"file {file.path}: CID {file.cid} and SHA-256 0x{file.sha256.hex()} disagree"
            )
    for path in seen:
        folder = path.rpartition("/")[0]
        while folder:
            if folder in seen:
                raise InputInvalid(f"{folder} is listed as a file and used as a folder")
            folder = folder.rpartition("/")[0]


def weights_root(files: Sequence[FileEntry]) -> Bytes32:
    """Return the model root of a float version: what its weights are, whatever else it lists.

    SHA-256 of the canonical JSON `[["path","0x<sha256>",size],…]` of the files that are weights
    (`WEIGHT_SUFFIXES`), in the order of their paths.
    """
    weights = sorted(
        (f for f in files if PurePosixPath(f.path).suffix in WEIGHT_SUFFIXES), key=lambda f: f.path
    )
    return canonical.sha256(
        canonical.dumps([[f.path, "0x" + f.sha256.hex(), f.size] for f in weights])
    )
