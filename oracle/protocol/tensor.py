"""The canonical tensor file: the one byte string that stands for a set of named arrays.

A strict subset of safetensors, so every safetensors library reads it:
```
 ┌──────────┬──────────────────────────────────────────────┬─────────────────────────────┐
 │ N uint64 │ header: RFC 8785 JSON, spaces to N % 8 == 0  │ data, in the order of names │
 │ little   │ {"a":{"data_offsets":[0,8],"dtype":"F32",    │ no gap, no overlap,         │
 │ endian   │  "shape":[2]},…}   no "__metadata__"         │ little-endian, row-major    │
 └──────────┴──────────────────────────────────────────────┴─────────────────────────────┘
```
Source: https://github.com/huggingface/safetensors#format.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid
from oracle.protocol import canonical, shapes
from oracle.protocol.shapes import MAX_TENSORS, FeatureSpec, TensorSpec, describe_shape
from oracle.types import Bytes32

MAX_HEADER_BYTES = 65536  # no 64 tensors need half of it
DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(code) for name, code in shapes.DTYPE_CODES.items()
}
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH_BYTES = 8

Array = NDArray[Any]


def encode(tensors: Mapping[str, Array]) -> bytes:
    """Return the canonical file of 1…64 named arrays.

    Raises:
        InputInvalid: no or too many tensors, a name that is not 1…128 printable ASCII characters,
            a dtype outside `DTYPES`, or more than 8 dimensions.
    """
    _check_count(len(tensors))
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name in sorted(tensors):
        shapes.check_name(name)
        array = np.asarray(tensors[name])
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _DTYPE_NAMES:
            raise InputInvalid(f"tensor {name}: dtype {array.dtype} is not allowed", hint=_hint())
        shapes.check_rank(name, array.ndim)
        part = array.astype(dtype, copy=False).tobytes(order="C")
        end = offset + len(part)
        header[name] = {
            "data_offsets": [offset, end],
            "dtype": _DTYPE_NAMES[dtype],
            "shape": list(array.shape),
        }
        parts.append(part)
        offset = end
    text = canonical.dumps(header)
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])


def encoded_size(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """Return the bytes that `encode` gives for arrays of these dtypes and shapes."""
    header: dict[str, Any] = {}
    offset = 0
    for name in sorted(shapes):
        dtype, shape = shapes[name]
        end = offset + math.prod(shape) * DTYPES[dtype].itemsize
        header[name] = {"data_offsets": [offset, end], "dtype": dtype, "shape": list(shape)}
        offset = end
    text = len(canonical.dumps(header))
    return _LENGTH_BYTES + text + -text % 8 + offset


def decode(data: bytes, max_bytes: int) -> dict[str, Array]:
    """Return the arrays of a canonical file, as read-only views of `data` where alignment allows.

    `encode(decode(data)) == data` for everything that is accepted.

    Raises:
        InputInvalid: anything but the bytes that `encode` makes, or more than `max_bytes` of them.
    """
    if len(data) > max_bytes:
        raise InputInvalid(f"tensor file of {len(data)} bytes is above the limit of {max_bytes}")
    header, start = _read_header(data)
    _check_count(len(header))
    tensors: dict[str, Array] = {}
    offset = 0
    for name, entry in header.items():  # canonical JSON: already sorted
        shapes.check_name(name)
        dtype, shape, begin, end = _read_entry(name, entry)
        if begin != offset or end - begin != math.prod(shape) * dtype.itemsize:
            raise InputInvalid(
                f"tensor {name}: bytes {begin}…{end} are not the next ones that "
                f"{list(shape)} of {_DTYPE_NAMES[dtype]} needs",
                hint="tensors follow each other in the order of their names, without gaps",
            )
        if start + end > len(data):
            raise InputInvalid(
                f"tensor file is cut short: {name} ends at byte {start + end} of {len(data)}"
            )
        tensors[name] = _view(name, data, start + begin, dtype, shape)
        offset = end
    if start + offset != len(data):
        raise InputInvalid(f"tensor file has {len(data) - start - offset} bytes after its tensors")
    return tensors


def digest(data: bytes) -> Bytes32:
    """Return the SHA-256 of a tensor file: its `inputRoot` or `outputRoot`, and its raw CID."""
    return canonical.sha256(data)


def check_tensors(
    specs: Sequence[TensorSpec], tensors: Mapping[str, Array], role: str, *, finite: bool = True
) -> None:
    """Refuse tensors that are not exactly the named ones, with their dtype, shape, finite values.

    Args:
        finite: False where NaN means something.

    Raises:
        InputInvalid: the message names the tensor and what was given, the hint what is wanted.
    """
    wanted = {spec.name: spec for spec in specs}
    listing = "wanted: " + ", ".join(f"{name} {spec}" for name, spec in wanted.items())
    if missing := [name for name in wanted if name not in tensors]:
        raise InputInvalid(f"{role} {missing[0]} is missing", hint=listing)
    if unknown := [name for name in tensors if name not in wanted]:
        raise InputInvalid(f"{role} {unknown[0]} is not one of this model's", hint=listing)
    for name, spec in wanted.items():
        array = tensors[name]
        if array.dtype.newbyteorder("<") != DTYPES[spec.dtype]:
            raise InputInvalid(
                f"{role} {name}: given dtype {array.dtype}", hint=f"wanted: {name} {spec}"
            )
        if not _fits(array.shape, spec.shape):
            raise InputInvalid(
                f"{role} {name}: given shape {describe_shape(array.shape)}",
                hint=f"wanted: {name} {spec}",
            )
    if finite:
        require_finite(tensors)


def output_size(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], tensors: Mapping[str, Array]
) -> int:
    """Return how many bytes the canonical file of the outputs has at the least.

    An output's open axis has the size of the inputs' open axis of the same number (rows, length).
    Of an axis that no input opens nothing is known but that it is not empty.
    """
    sizes: dict[int, int] = {}
    for spec in inputs:
        for axis, size in enumerate(spec.shape):
            if size is None:
                sizes[axis] = max(sizes.get(axis, 1), tensors[spec.name].shape[axis])
    return encoded_size(
        {
            spec.name: (
                spec.dtype,
                tuple(
                    sizes.get(axis, 1) if size is None else size
                    for axis, size in enumerate(spec.shape)
                ),
            )
            for spec in outputs
        }
    )


def require_category(feature: FeatureSpec, column: Array) -> None:
    """Refuse places that no word of a column has.

    Args:
        column: of any shape.

    Raises:
        InputInvalid: the message has the first of them, the hint the words.
    """
    count = len(feature.categories) + feature.other
    found = np.asarray(column, np.float64)
    bad = ~((found >= 0) & (found < count) & (found == np.floor(found)))
    if bad.any():
        raise InputInvalid(
            f"feature {feature.name}: {found[bad].flat[0]:g} is the place of no category",
            hint=f"0 to {count - 1}, or in JSON one of: {', '.join(feature.categories)[:200]}",
        )


def require_finite(tensors: Mapping[str, Array]) -> None:
    """Refuse NaN and infinity, naming the tensor and the first bad element.

    Raises:
        InputInvalid: an element is not finite.
    """
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            index = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise InputInvalid(
                f"tensor {name}: element {list(index)} is {array[index]}, {int((~finite).sum())} "
                "elements are not finite",
                hint="replace NaN and infinity before asking",
            )


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        have == want if want is not None else have > 0
        for have, want in zip(shape, wanted, strict=True)
    )


def _read_header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES or start > len(data):
        raise InputInvalid(
            f"header of {length} bytes is above {MAX_HEADER_BYTES} or the file's end", hint=_hint()
        )
    padded = data[_LENGTH_BYTES:start]
    text = padded.rstrip(b" ")
    if length % 8 or length - len(text) >= 8:
        raise InputInvalid("header is not padded with spaces to the next multiple of 8")
    header = canonical.loads(text)
    if not isinstance(header, dict):
        raise InputInvalid("header is not a JSON object", hint=_hint())
    return header, start


def _read_entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"data_offsets", "dtype", "shape"}:
        raise InputInvalid(
            f"tensor {name}: header entry needs data_offsets, dtype, shape and no more"
        )
    offsets, shape = entry["data_offsets"], entry["shape"]
    if not (_naturals(offsets) and len(offsets) == 2 and _naturals(shape)):
        raise InputInvalid(f"tensor {name}: shape and the two data_offsets are integers ≥ 0")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise InputInvalid(f"tensor {name}: dtype {entry['dtype']!r} is not allowed", hint=_hint())
    shapes.check_rank(name, len(shape))
    return DTYPES[entry["dtype"]], tuple(shape), offsets[0], offsets[1]


def _view(
    name: str, data: bytes, begin: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    count = math.prod(shape)
    if count == 0:
        return _reshape(name, np.empty(0, dtype), shape)
    flat = np.frombuffer(data, dtype, count, begin)
    if dtype.kind == "b" and flat.view(np.uint8).max() > 1:
        raise InputInvalid(f"tensor {name}: a BOOL byte is neither 0 nor 1")
    if not flat.flags.aligned:
        flat = flat.copy()
        flat.flags.writeable = False
    return _reshape(name, flat, shape)


def _reshape(name: str, flat: Array, shape: tuple[int, ...]) -> Array:
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:  # e.g. [2**40, 2**40, 0]: no bytes, no array
        raise InputInvalid(f"tensor {name}: shape {list(shape)} is too large") from error


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_TENSORS:
        raise InputInvalid(f"{count} tensors; a file holds 1 to {MAX_TENSORS}")


def _hint() -> str:
    return "a canonical tensor file holds " + ", ".join(DTYPES)
