"""Rows on disk that are read where they lie: no file is loaded, whatever its size.

```
 .safetensors   tensors whose first axis is rows
 .npz           as np.savez writes it: stored, not compressed
```
"""

import hashlib
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from oracle.errors import InputInvalid, NotFound
from worker.errors import PickleRefused
from worker.runtimes import guard
from worker.training.distributed.order import Numbers

Array = np.ndarray[Any, Any]
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LOCAL = struct.Struct("<4s5H3I2H")  # header of a zip's entry


class RowFiles:
    """A set of rows in several files, numbered from the first file's first row."""

    def __init__(self, parts: Sequence[dict[str, Array]], fingerprint: str) -> None:
        self._parts = parts
        lengths = [len(next(iter(part.values()))) for part in parts]
        self._ends = np.cumsum(lengths)
        self.fingerprint = fingerprint  # SHA-256 of sizes and headers, in hex

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, numbers: Numbers) -> dict[str, Array]:
        """Return the rows of these numbers, by name: arrays [n, …] that were copied."""
        if len(self._parts) == 1:
            return {name: array[numbers] for name, array in self._parts[0].items()}
        where = np.searchsorted(self._ends, numbers, side="right")
        found = {
            name: np.empty((len(numbers), *array.shape[1:]), array.dtype)
            for name, array in self._parts[0].items()
        }
        for part in np.unique(where):
            here = where == part
            start = self._ends[part - 1] if part else 0
            for name, array in self._parts[part].items():
                found[name][here] = array[numbers[here] - start]
        return found


def open_rows(paths: Sequence[Path], names: Sequence[str]) -> RowFiles:
    """Open files of rows.

    Args:
        paths: of safetensors or NPZ files.
        names: of the tensors that are read.

    Raises:
        NotFound: a file is not there.
        InputInvalid (or a subclass): a file is damaged, has no tensor of a name, or tensors of
            other shapes, dtypes or numbers of rows than the first file.
    """
    digest = hashlib.sha256()
    parts: list[dict[str, Array]] = []
    for path in paths:
        if not path.is_file():
            raise NotFound(f"there is no {path}", hint="the job's `data` names it")
        size, head, tensors = _mapped(path)
        digest.update(f"{size}\n".encode() + head)
        part = {}
        for name in names:
            if name not in tensors:
                raise InputInvalid(
                    f"{path.name} has no tensor {name}", hint=f"it has {', '.join(tensors):.300}"
                )
            part[name] = tensors[name]
        _require_alike(path, part, parts[0] if parts else part)
        parts.append(part)
    return RowFiles(parts, digest.hexdigest())


def _require_alike(path: Path, part: dict[str, Array], first: dict[str, Array]) -> None:
    lengths = {name: array.shape[:1] for name, array in part.items()}
    if len(set(lengths.values())) != 1 or () in lengths.values():
        raise InputInvalid(f"{path.name} has tensors of other numbers of rows: {lengths}")
    for name, array in part.items():
        if (array.dtype, array.shape[1:]) != (first[name].dtype, first[name].shape[1:]):
            raise InputInvalid(
                f"{path.name}: rows of {name} are {array.dtype} {list(array.shape[1:])}, those of "
                f"the first file {first[name].dtype} {list(first[name].shape[1:])}"
            )


def _mapped(path: Path) -> tuple[int, bytes, dict[str, Array]]:
    """Return size, header and tensors of a file."""
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npz":
        return _npz(path)
    raise InputInvalid(f"{path.name} is no file of rows", hint="write .safetensors, or np.savez")


def _safetensors(path: Path) -> tuple[int, bytes, dict[str, Array]]:
    guard.read_safetensors_header(path)  # refuses what is cut short, and what overlaps
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length)
    found: dict[str, Array] = {}
    for name, told in json.loads(head).items():
        if name == "__metadata__" or told["dtype"] not in _DTYPES or 0 in told["shape"]:
            continue
        begin = 8 + length + told["data_offsets"][0]
        found[name] = _lying(path, _DTYPES[told["dtype"]], begin, tuple(told["shape"]))
    return path.stat().st_size, head, found


def _npz(path: Path) -> tuple[int, bytes, dict[str, Array]]:
    found: dict[str, Array] = {}
    with guard.open_archive(path) as archive, path.open("rb") as file:
        heads = [f"{one.filename} {one.file_size} {one.CRC}" for one in archive.infolist()]
        for entry in archive.infolist():
            if entry.filename.endswith(".npy"):
                array = _npy(path, file, entry)
                found |= {} if array is None else {entry.filename[:-4]: array}
    return path.stat().st_size, "\n".join(heads).encode(), found


def _npy(path: Path, file: IO[bytes], entry: zipfile.ZipInfo) -> Array | None:
    file.seek(entry.header_offset)
    names, extra = _LOCAL.unpack(file.read(_LOCAL.size))[-2:]
    file.seek(entry.header_offset + _LOCAL.size + names + extra)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = read[major](file)
    except (ValueError, KeyError) as error:
        raise InputInvalid(f"{path.name}: {entry.filename} is no array: {error}") from None
    if dtype.hasobject:
        raise PickleRefused(f"{path.name}: {entry.filename} holds Python objects, a pickle")
    if by_columns or 0 in shape or not shape:
        return None
    return _lying(path, dtype, file.tell(), shape)


def _lying(path: Path, dtype: Any, begin: int, shape: tuple[int, ...]) -> Array:
    """Return an array of a file; rows that are taken from it are copies in memory."""
    return np.asarray(np.memmap(path, dtype, "r", begin, shape))
