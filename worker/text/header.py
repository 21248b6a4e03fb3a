"""The header of a GGUF file, read with bounds before any library opens it.

```
 "GGUF" │ version │ tensors │ keys │ key: name, type, value … │ tensor: name, shape, type, offset …
```
Values that say what a model is are returned; arrays (vocabularies) are counted and skipped.
Source: ggml, docs/gguf.md.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from worker.errors import WeightsInvalid

MAX_KEYS = 4096
MAX_TENSORS = 65536
MAX_NAME = 65535  # bytes of a key
MAX_TEXT = 2**20  # bytes of a text: a chat template is the longest
MAX_ITEMS = 2**24  # of an array: a vocabulary is the longest
MAX_RANK = 4
MAX_TYPE = 64  # kinds of tensors that there may be
_NUMBERS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a file says of itself."""

    values: Mapping[str, Value]  # without arrays
    tensors: int
    size: int  # bytes of the file

    def text(self, key: str) -> str:
        """Return a text, "" when there is none."""
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a whole number, 0 when there is none."""
        value = self.values.get(key, 0)
        return value if isinstance(value, int) else 0

    @property
    def context(self) -> int:
        """Tokens that it was trained for; 0 = it does not say."""
        return self.number(f"{self.text('general.architecture')}.context_length")


def read(path: Path) -> GgufHeader:
    """Read and check a header.

    Raises:
        WeightsInvalid: not a GGUF file, cut short, or beyond a bound.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        reader = _HeaderReader(file, path.name, size)
        if reader.take(4) != b"GGUF":
            raise WeightsInvalid(f"{path.name} is not a GGUF file")
        version, tensors, keys = reader.unpack("<IQQ")
        if version not in _VERSIONS:
            raise WeightsInvalid(f"{path.name} is GGUF version {version}, not 2 or 3")
        if keys > MAX_KEYS or not 1 <= tensors <= MAX_TENSORS:
            raise WeightsInvalid(f"{path.name} claims {keys} keys and {tensors} tensors")
        values: dict[str, Value] = {}
        for _ in range(keys):
            name = reader.text(MAX_NAME)
            value = reader.value(*reader.unpack("<I"))
            if value is not None:
                values[name] = value
        alignment = values.get("general.alignment", 32)
        for _ in range(tensors):
            reader.tensor(int(alignment) if isinstance(alignment, int) else 0)
    return GgufHeader(values, tensors, size)


class _HeaderReader:
    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._file, self._name, self._size = file, name, size

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise WeightsInvalid(f"{self._name} is cut short at byte {self._file.tell()}")
        return data

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self, most: int) -> str:
        (length,) = self.unpack("<Q")
        if length > most:
            raise WeightsInvalid(f"{self._name} claims a text of {length} bytes")
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Value | None:
        if kind in _NUMBERS:
            return self.unpack(_NUMBERS[kind])[0]
        if kind == _TEXT:
            return self.text(MAX_TEXT)
        if kind != _ARRAY or depth:
            raise WeightsInvalid(f"{self._name} holds a value of kind {kind}")
        item, count = self.unpack("<IQ")
        if count > MAX_ITEMS:
            raise WeightsInvalid(f"{self._name} claims an array of {count} items")
        if item in _NUMBERS:
            self.take(count * struct.calcsize(_NUMBERS[item]))
        else:
            for _ in range(count):
                self.value(item, depth + 1)
        return None

    def tensor(self, alignment: int) -> None:
        name = self.text(MAX_NAME)
        (rank,) = self.unpack("<I")
        if rank > MAX_RANK:
            raise WeightsInvalid(f"{self._name}: tensor {name:.80} has {rank} dimensions")
        shape = self.unpack(f"<{rank}Q")
        kind, offset = self.unpack("<IQ")
        elements = 1
        for length in shape:
            elements *= length
        if not 1 <= elements <= 2**40 or kind > MAX_TYPE:
            raise WeightsInvalid(f"{self._name}: tensor {name:.80} has shape {shape}, type {kind}")
        if offset >= self._size or alignment < 1 or offset % alignment:
            raise WeightsInvalid(f"{self._name}: tensor {name:.80} begins outside of the file")
