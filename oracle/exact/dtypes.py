"""Values: seven dtypes, and the one byte string that stands for each value.

docs/exact.md, section 1. A number is stored big-endian, a signed one in offset binary, so that
every bit pattern is a value:
```
 i8 −128 │ 00      channel │ u64 bias+2⁶³ │ u32 mult+2³¹ │ u8 shift │ 3 bytes, ignored │
 i8    0 │ 80      node    │ u16 feature │ u16 threshold │ u32 left │ u32 right │ u32 value+2³¹ │
```
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

CHANNEL = np.dtype([("bias", "i8"), ("mult", "i4"), ("shift", "u1")])
NODE = np.dtype(
    [("feature", "u2"), ("threshold", "u2"), ("left", "u4"), ("right", "u4"), ("value", "i4")]
)
MAX_BIAS = 2**61  # a channel is read with its fields clamped to these: arithmetic is total
MAX_MULT = 2**24 - 1
MIN_SHIFT, MAX_SHIFT = 1, 62
MAX_ELEMENTS = 2**28


class DType(IntEnum):
    """The code of a dtype; `channel` and `node` are records of 16 bytes."""

    I8 = 1
    U8 = 2
    I16 = 3
    U16 = 4
    I32 = 5
    CHANNEL = 6
    NODE = 7

    @property
    def size(self) -> int:
        """Bytes of one stored element."""
        return 16 if self.record else self.numpy.itemsize

    @property
    def record(self) -> bool:
        """Whether elements are records, not numbers."""
        return self >= DType.CHANNEL

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that holds elements in memory."""
        return _NUMPY[self]

    @property
    def minimum(self) -> int:
        """Least value of a number dtype."""
        return int(np.iinfo(self.numpy).min)

    @property
    def maximum(self) -> int:
        """Greatest value of a number dtype."""
        return int(np.iinfo(self.numpy).max)


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.I8: np.dtype("i1"),
    DType.U8: np.dtype("u1"),
    DType.I16: np.dtype("i2"),
    DType.U16: np.dtype("u2"),
    DType.I32: np.dtype("i4"),
    DType.CHANNEL: CHANNEL,
    DType.NODE: NODE,
}
NUMBERS = frozenset({DType.I8, DType.U8, DType.I16, DType.U16, DType.I32})


@dataclass(frozen=True, slots=True)
class Spec:
    """Dtype and shape of a tensor."""

    dtype: DType
    rows: int
    cols: int

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.dtype.size

    @property
    def row_bytes(self) -> int:
        """Logical bytes of one row."""
        return self.cols * self.size

    @property
    def bytes(self) -> int:
        """Logical bytes of the whole."""
        return self.rows * self.row_bytes

    @property
    def valid(self) -> bool:
        """Whether a tensor may have this shape."""
        fits = 1 <= self.rows < 2**32 and 1 <= self.cols < 2**32
        return fits and self.rows * self.cols <= MAX_ELEMENTS

    def word(self) -> int:
        """Return the spec word: cols │ rows │ dtype from bit 0 up."""
        return self.cols | self.rows << 32 | int(self.dtype) << 64

    @classmethod
    def from_word(cls, word: int) -> "Spec":
        """Read bits 0–71 of a word.

        Raises:
            InputInvalid: no dtype has this code.
        """
        code = word >> 64 & 0xFF
        if code not in set(DType):
            raise InputInvalid(f"dtype {code} is unknown", hint="docs/exact.md, section 1")
        return cls(DType(code), word >> 32 & 0xFFFFFFFF, word & 0xFFFFFFFF)


def encode(array: Array, dtype: DType) -> Bytes:
    """Return the stored form of a matrix: uint8, rows × (cols · size).

    Raises:
        InputInvalid: not a matrix, or an element outside the dtype's range.
    """
    values = as_dtype(array, dtype)
    if dtype == DType.CHANNEL:
        return _records(
            values.shape, _offset(values["bias"]), _offset(values["mult"]), values["shift"]
        )
    if dtype == DType.NODE:
        fields = [values[name] for name in ("feature", "threshold", "left", "right")]
        return _records(values.shape, *fields, _offset(values["value"]))
    return _big_endian(_offset(values)).reshape(len(values), -1)


def decode(data: bytes | Bytes, spec: Spec) -> Array:
    """Return the elements that stored bytes stand for: `spec.dtype.numpy`, rows × cols.

    Raises:
        InputInvalid: more or fewer bytes than the spec has.
    """
    raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.ravel()
    if raw.size != spec.bytes:
        raise InputInvalid(f"{raw.size} bytes are not {spec.rows} rows of {spec.row_bytes}")
    shape, dtype = (spec.rows, spec.cols), spec.dtype
    if not dtype.record:
        return _value(raw.view(_big(dtype.numpy)), dtype.numpy).reshape(shape)
    records = np.empty(shape, dtype.numpy)
    at, table = 0, raw.reshape(*shape, 16)
    for name in records.dtype.names or ():
        field = records.dtype[name]
        piece = np.ascontiguousarray(table[..., at : at + field.itemsize])
        records[name] = _value(piece.view(_big(field)), field).reshape(shape)
        at += field.itemsize
    return records


def elements(data: bytes, dtype: DType) -> list[Any]:
    """Return the elements in a row's or leaf's logical bytes: ints, or records of named fields."""
    array = decode(data, Spec(dtype, 1, len(data) // dtype.size))[0]
    return list(array) if dtype.record else array.tolist()


def as_dtype(array: Array, dtype: DType) -> Array:
    """Return a matrix in the NumPy dtype of `dtype`.

    Raises:
        InputInvalid: not a matrix, or an element outside the dtype's range.
    """
    if array.ndim != 2:
        raise InputInvalid(f"a tensor has rows and columns, not {array.ndim} dimensions")
    if array.dtype == dtype.numpy:
        return array
    if dtype.record or array.dtype.kind not in "iub":
        raise InputInvalid(f"{array.dtype} does not hold {dtype.name} elements")
    if array.size and not (dtype.minimum <= array.min() and array.max() <= dtype.maximum):
        raise InputInvalid(
            f"elements {array.min()} … {array.max()} are outside {dtype.name}",
            hint=f"{dtype.minimum} to {dtype.maximum}",
        )
    return array.astype(dtype.numpy)


def channels(bias: Any, mult: Any, shift: Any) -> Array:
    """Return one row of channel records from arrays or numbers, broadcast together."""
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x)) for x in (bias, mult, shift)))
    row = np.empty((1, columns[0].size), CHANNEL)
    for name, column in zip(("bias", "mult", "shift"), columns, strict=True):
        row[name] = column.ravel()
    return row


def _big(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the big-endian unsigned dtype of the same size."""
    return np.dtype(f">u{dtype.itemsize}")


def _offset(values: Array) -> Array:
    """Return value + 2^(bits−1) of signed integers, others as they are: the top bit flips."""
    if values.dtype.kind == "u":
        return values
    return _flip(values.astype(f"u{values.dtype.itemsize}"))


def _value(stored: Array, dtype: np.dtype[Any]) -> Array:
    """Undo `_offset` and the byte order."""
    unsigned = stored.astype(f"u{dtype.itemsize}")
    return unsigned if dtype.kind == "u" else _flip(unsigned).view(dtype)


def _flip(unsigned: Array) -> Array:
    """Flip the top bit: two's complement ↔ offset binary."""
    flipped: Array = unsigned ^ unsigned.dtype.type(1 << 8 * unsigned.itemsize - 1)
    return flipped


def _big_endian(unsigned: Array) -> Bytes:
    """Return the bytes of each element on a new last axis."""
    big = np.ascontiguousarray(unsigned).astype(_big(unsigned.dtype))
    return big.view(np.uint8).reshape(*unsigned.shape, unsigned.itemsize)


def _records(shape: tuple[int, ...], *fields: Array) -> Bytes:
    joined = np.concatenate([_big_endian(field) for field in fields], axis=-1)
    stored = np.zeros((*shape, 16), np.uint8)
    stored[..., : joined.shape[-1]] = joined
    return stored.reshape(shape[0], -1)
