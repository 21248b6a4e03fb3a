"""Reads Universal Binary JSON: the format in which XGBoost saves models by default.

Big-endian; a container may announce one type (`$`) and a count (`#`) for all of its values, which
then have no markers of their own. Source: https://ubjson.org, draft 12.
"""

import struct
from typing import Any

import numpy as np

from worker.errors import WeightsInvalid

MAX_DEPTH = 64
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"Z": None, "T": True, "F": False}


def loads(data: bytes) -> Any:
    """Return the value: dicts, lists, numbers, strings; typed arrays as lists.

    Raises:
        WeightsInvalid: cut short, nested too deeply, or an unknown marker.
    """
    try:
        return _UbjsonReader(data).value(0)
    except (struct.error, IndexError, ValueError) as error:
        raise WeightsInvalid(f"damaged UBJSON: {error}") from error


class _UbjsonReader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = len(data)  # values that a count may still announce: null takes no bytes

    def value(self, depth: int, marker: str | None = None) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested above {MAX_DEPTH}")
        marker = marker or self._marker()
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0]
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == "S":
            return self._string()
        if marker == "C":
            return chr(self._take(1)[0])
        if marker == "[":
            return self._array(depth)
        if marker == "{":
            return self._object(depth)
        raise ValueError(f"marker {marker!r}")

    def _array(self, depth: int) -> list[Any]:
        kind, count = self._head()
        if kind in _NUMBERS and count is not None:
            return self._numbers(kind, count)
        if count is not None:
            self._bound(count)
            return [self.value(depth + 1, kind) for _ in range(count)]
        items = []
        while self._peek() != "]":
            items.append(self.value(depth + 1))
        self._at += 1
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._head()
        if count is not None:
            self._bound(count)
            return {self._string(): self.value(depth + 1, kind) for _ in range(count)}
        items = {}
        while self._peek() != "}":
            name = self._string()
            items[name] = self.value(depth + 1)
        self._at += 1
        return items

    def _head(self) -> tuple[str | None, int | None]:
        kind = None
        if self._peek() == "$":
            self._at += 1
            kind = self._marker()
        if self._peek() != "#":
            return kind, None
        self._at += 1
        return kind, self._integer()

    def _integer(self) -> int:
        value = self._numbers(self._marker(), 1)[0]
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"length {value}")
        return value

    def _string(self) -> str:
        return self._take(self._integer()).decode()

    def _numbers(self, kind: str, count: int) -> list[Any]:
        if kind not in _NUMBERS:
            raise ValueError(f"{kind!r} is no number")
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._take(count * dtype.itemsize), dtype).tolist()  # type: ignore[no-any-return]

    def _bound(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError(f"more values than the {len(self._data)} bytes can hold")

    def _marker(self) -> str:
        while (marker := chr(self._take(1)[0])) == "N":  # no-op
            continue
        return marker

    def _peek(self) -> str:
        return chr(self._data[self._at])

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise ValueError("cut short")
        self._at += count
        return self._data[self._at - count : self._at]
