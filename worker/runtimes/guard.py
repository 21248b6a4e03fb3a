"""Looks at weight files before any library does: pickles, bombs, truncations, headers that lie.

```
 .safetensors   uint64 N │ JSON header, N bytes │ data: offsets must tile it exactly
 .pt2           zip whose entries are stored, not compressed, and do not overlap
```
Source: https://github.com/huggingface/safetensors#format, PKWARE APPNOTE 6.3.
"""

import json
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import ArchiveRefused, PickleRefused, WeightsInvalid

MAX_HEADER_BYTES = 32 * 2**20  # of a safetensors file: about 200,000 tensors
MAX_DIRECTORY_BYTES = 32 * 2**20  # of a zip file
MAX_TENSORS = 200_000
_ZIP = b"PK\x03\x04"
_PICKLE_PROTOCOLS = range(1, 6)
_ITEM_SIZES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]


def read_safetensors_header(path: Path) -> dict[str, TensorInfo]:
    """Return what a safetensors file holds, after checking that its data are all there.

    Raises:
        PickleRefused: it is a pickle or a zip (torch.save) under another name.
        WeightsInvalid: cut short, a header bomb, gaps, overlaps, sizes that do not multiply.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        length = int.from_bytes(head[:8], "little")
        if len(head) < 10 or head[8:9] != b"{" or length > size - 8:
            refuse_pickle(head, path.name)
            raise WeightsInvalid(
                f"weights of {size} bytes are not a safetensors file, or cut short in the header",
                hint="publish the file that safetensors.save_file wrote",
            )
        if length > MAX_HEADER_BYTES:
            raise WeightsInvalid(f"safetensors header of {length} bytes is above the limit")
        file.seek(8)
        text = file.read(length)
    return _check_header(text, size - 8 - length)


def refuse_pickle(head: bytes, name: str) -> None:
    """Raise PickleRefused if a file's first bytes are those of a pickle or a torch.save archive."""
    if head[:4] == _ZIP or (head[:1] == b"\x80" and head[1:2] and head[1] in _PICKLE_PROTOCOLS):
        raise PickleRefused(
            f"{name} is a pickle under another name",
            hint="pickles run code when they are loaded: convert it to safetensors",
        )


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip file that cannot expand: the caller closes it.

    Raises:
        ArchiveRefused: not a zip, damaged, compressed or encrypted entries, entries that add up to
            more than the file (overlaps), repeated or unsafe names, a directory above 32 MiB.
        PickleRefused: it is a bare pickle.
    """
    with path.open("rb") as file:
        refuse_bare_pickle(file.read(2), path.name)
        _check_directory(file, path.stat().st_size)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ArchiveRefused(f"not a zip archive, or cut short: {error}") from error
    try:
        _check_entries(archive.infolist(), path.stat().st_size)
    except ArchiveRefused:
        archive.close()
        raise
    return archive


def refuse_bare_pickle(head: bytes, name: str) -> None:
    """Raise PickleRefused for a pickle that is not wrapped in a zip."""
    if head[:4] != _ZIP:
        refuse_pickle(head, name)


def _check_header(text: bytes, data_bytes: int) -> dict[str, TensorInfo]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsInvalid(f"safetensors header is not JSON: {error}") from error
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise WeightsInvalid("safetensors header is not an object of at most 200,000 tensors")
    header.pop("__metadata__", None)
    spans: list[tuple[int, int]] = []
    infos: dict[str, TensorInfo] = {}
    for name, entry in header.items():
        infos[name], span = _check_tensor(name, entry)
        spans.append(span)
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise WeightsInvalid(f"safetensors data have a gap or overlap at byte {begin}")
        end = stop
    if end != data_bytes:
        raise WeightsInvalid(
            f"safetensors header promises {end} bytes of data, the file has {data_bytes}",
            hint="the file was cut short, or has something hidden after its end",
        )
    return infos


def _check_tensor(name: str, entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        itemsize = _ITEM_SIZES[dtype]
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsInvalid(f"tensor {name:.80}: malformed header entry") from error
    naturals = [begin, end, *shape] if isinstance(shape, list) else [-1]
    if not all(type(value) is int and value >= 0 for value in naturals):
        raise WeightsInvalid(f"tensor {name:.80}: shape and offsets are not natural numbers")
    if end - begin != math.prod(shape) * itemsize:
        raise WeightsInvalid(
            f"tensor {name:.80}: {end - begin} bytes do not hold {dtype} of shape {shape}"
        )
    return TensorInfo(dtype, tuple(shape)), (begin, end)


def _check_directory(file: Any, size: int) -> None:
    """Bound the central directory before zipfile reads it into memory."""
    file.seek(max(0, size - _END.size - 65535))
    tail: bytes = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + _END.size:
        raise ArchiveRefused(f"archive of {size} bytes has no end record: cut short, or not a zip")
    directory = int(_END.unpack_from(tail, at)[5])
    if directory == 0xFFFFFFFF and at >= _LOCATOR64.size:
        _, _, offset, _ = _LOCATOR64.unpack_from(tail, at - _LOCATOR64.size)
        file.seek(min(offset, size))
        record = file.read(_END64.size)
        directory = int(_END64.unpack(record)[8]) if len(record) == _END64.size else size
    if directory > min(size, MAX_DIRECTORY_BYTES):
        raise ArchiveRefused(f"archive's directory of {directory} bytes is above the limit")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    total = 0
    names: Mapping[str, None] = dict.fromkeys(entry.filename for entry in entries)
    if len(names) != len(entries):
        raise ArchiveRefused("archive lists a name twice")
    for entry in entries:
        name = entry.filename
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ArchiveRefused(
                f"entry {name:.80} expands from {entry.compress_size} to {entry.file_size} bytes",
                hint="archives of weights are stored, not compressed (as torch.export.save does)",
            )
        if entry.flag_bits & 1:
            raise ArchiveRefused(f"entry {name:.80} is encrypted")
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise ArchiveRefused(f"entry {name!r:.80} leaves its folder")
        total += entry.file_size
    if total > size:
        raise ArchiveRefused(
            f"entries hold {total} bytes in an archive of {size}: they overlap",
            hint="a zip bomb; nothing was unpacked",
        )
