"""States and updates in safetensors files, read and written a part at a time.

A vector is all tensors of a file in the order of their names (`oracle.training.vectors`). A part is
read when it is asked for, and not mapped: memory holds the parts that are at work, not the files.
"""

import json
import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle.training.errors import VectorInvalid
from worker.runtimes import guard

_DTYPES: dict[str, np.dtype[Any]] = {"I16": np.dtype("<i2"), "I32": np.dtype("<i4")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
Shapes = Mapping[str, tuple[int, ...]]


class VectorFile:
    """A state (i32) or an update (i16 or i32) that lies in a file: a `Vector`.

    Raises:
        VectorInvalid: a tensor of another dtype, tensors of several dtypes, or none.
        WeightsInvalid, PickleRefused: it is no safetensors file (see `guard`).
    """

    def __init__(self, path: Path) -> None:
        """Open a file."""
        found = guard.read_safetensors_header(path)
        dtypes = {info.dtype for info in found.values()}
        if len(dtypes) != 1 or not dtypes <= _DTYPES.keys():
            raise VectorInvalid(
                f"{path.name} holds {', '.join(sorted(dtypes)) or 'nothing'}",
                hint="an update's tensors are I16, a state's I32",
            )
        self.shapes: Shapes = {name: found[name].shape for name in sorted(found)}
        self._dtype = _DTYPES[dtypes.pop()]
        self._file = os.open(path, os.O_RDONLY)
        length = int.from_bytes(os.pread(self._file, 8, 0), "little")
        header = json.loads(os.pread(self._file, length, 8))
        self._places = [8 + length + header[name]["data_offsets"][0] for name in self.shapes]
        self._starts = _starts(self.shapes)

    def __len__(self) -> int:
        """Return P."""
        return self._starts[-1]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """Return consecutive coordinates, read from as many tensors as they lie in."""
        start, stop, _ = part.indices(len(self))
        values: NDArray[Any] = np.empty(max(stop - start, 0), self._dtype)
        at = start
        while at < stop:
            tensor = bisect_right(self._starts, at) - 1
            end = min(stop, self._starts[tensor + 1])
            place = self._places[tensor] + (at - self._starts[tensor]) * self._dtype.itemsize
            into = values[at - start : end - start]
            if os.preadv(self._file, [into.view(np.uint8).data], place) != into.nbytes:
                raise VectorInvalid("the file was cut short while it was read")
            at = end
        return values

    def __enter__(self) -> "VectorFile":
        """Return the vector."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Read no more."""
        os.close(self._file)


class VectorWriter:
    """Takes the parts of a vector in any order."""

    def __init__(self, file: int, data: int, size: int, dtype: np.dtype[Any]) -> None:
        self._file, self._data, self._size, self._dtype = file, data, size, dtype

    def write(self, start: int, part: NDArray[Any]) -> None:
        """Write consecutive coordinates.

        Raises:
            VectorInvalid: they lie outside the vector.
        """
        if start < 0 or start + len(part) > self._size:
            raise VectorInvalid(f"coordinates {start} … {start + len(part)} of {self._size}")
        data = np.ascontiguousarray(part, self._dtype).view(np.uint8)
        place = self._data + start * self._dtype.itemsize
        while len(data):
            written = os.pwrite(self._file, data.data, place)
            data, place = data[written:], place + written


@contextmanager
def written(
    path: Path, shapes: Shapes, dtype: type[np.signedinteger[Any]]
) -> Iterator[VectorWriter]:
    """Write a vector to a file that appears when it is whole; only its owner reads it.

    Args:
        shapes: of the tensors, by name.
        dtype: np.int32 of a state, np.int16 of an update.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    starts = _starts({name: shapes[name] for name in sorted(shapes)})
    head = _head(shapes, stored)
    partial = path.with_name(path.name + ".part")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.pwrite(file, len(head).to_bytes(8, "little") + head, 0)
        os.ftruncate(file, 8 + len(head) + starts[-1] * stored.itemsize)
        yield VectorWriter(file, 8 + len(head), starts[-1], stored)
        os.fsync(file)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def size_of(shapes: Shapes, dtype: type[np.signedinteger[Any]]) -> int:
    """Return the bytes of the file that `written` makes of a vector."""
    stored = np.dtype(dtype).newbyteorder("<")
    length = sum(math.prod(shape) for shape in shapes.values())
    return 8 + len(_head(shapes, stored)) + length * stored.itemsize


def _head(shapes: Shapes, stored: np.dtype[Any]) -> bytes:
    """Return the header of a file, padded to 8 bytes."""
    starts = _starts({name: shapes[name] for name in sorted(shapes)})
    header = {
        name: {
            "dtype": _NAMES[stored],
            "shape": list(shapes[name]),
            "data_offsets": [starts[k] * stored.itemsize, starts[k + 1] * stored.itemsize],
        }
        for k, name in enumerate(sorted(shapes))
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    return head + b" " * (-len(head) % 8)


def _starts(shapes: Shapes) -> list[int]:
    """Return where each tensor begins in the vector, and where the last one ends."""
    starts = [0]
    for shape in shapes.values():
        starts.append(starts[-1] + math.prod(shape))
    return starts
