"""The canonical tensor file: strict, equal bytes for equal tensors, readable by safetensors."""

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import tensor

LIMIT = 1 << 20
DTYPES = list(tensor.DTYPES)
NAMES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12
).filter(lambda name: name != "__metadata__")


@st.composite
def arrays(draw: Any) -> np.ndarray[Any, Any]:
    dtype = tensor.DTYPES[draw(st.sampled_from(DTYPES))]
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    count = int(np.prod(shape, dtype=int))
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    flat = np.frombuffer(raw, np.uint8)
    flat = flat % 2 if dtype.kind == "b" else flat
    return np.frombuffer(flat.astype("u1").tobytes(), dtype).reshape(shape)


TENSORS = st.dictionaries(NAMES, arrays(), min_size=1, max_size=5)
SAMPLE = tensor.encode({"a": np.array([1, 2], "<f4"), "b": np.array([3], "u1")})


def build(header: Any, data: bytes = b"", pad: int = 8, text: bytes | None = None) -> bytes:
    """Assemble a file from parts that `encode` would not put together."""
    body = text or json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    body += b" " * (-len(body) % pad)
    return len(body).to_bytes(8, "little") + body + data


def entry(begin: int, end: int, dtype: str = "U8", shape: Any = None) -> dict[str, Any]:
    return {
        "data_offsets": [begin, end],
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
    }


BAD_FILES = {
    "no header": (0).to_bytes(8, "little"),
    "header not json": build({}, text=b"hello  "),
    "header a list": build([1]),
    "header a number": build(1),
    "no tensors": build({}),
    "too many tensors": build({f"t{i:02}": entry(0, 0) for i in range(65)}),
    "metadata": build({"__metadata__": {"a": "b"}, "a": entry(0, 1)}, b"x"),
    "name empty": build({"": entry(0, 1)}, b"x"),
    "name with a space": build({"a b": entry(0, 1)}, b"x"),
    "name not ascii": build({}, b"x", text='{"é":%s}'.encode() % json.dumps(entry(0, 1)).encode()),
    "name too long": build({"a" * 129: entry(0, 1)}, b"x"),
    "duplicate name": build(
        {},
        b"xx",
        text=b'{"a":{"data_offsets":[0,1],"dtype":"U8","shape":[1]},'
        b'"a":{"data_offsets":[1,2],"dtype":"U8","shape":[1]}}',
    ),
    "keys not sorted": build(
        {}, b"x", text=b'{"a":{"dtype":"U8","data_offsets":[0,1],"shape":[1]}}'
    ),
    "spaces inside": build(
        {}, b"x", text=b'{"a": {"data_offsets":[0,1],"dtype":"U8","shape":[1]}}'
    ),
    "not padded": build({"a": entry(0, 1)}, b"x", pad=1),
    "padded too far": build({"a": entry(0, 1)}, b"x", pad=64),
    "gap before": build({"a": entry(1, 2)}, b"xx"),
    "gap between": build({"a": entry(0, 1), "b": entry(2, 3)}, b"xxx"),
    "overlap": build({"a": entry(0, 2), "b": entry(1, 3)}, b"xxx"),
    "data in another order": build({"a": entry(1, 2), "b": entry(0, 1)}, b"xx"),
    "trailing byte": build({"a": entry(0, 1)}, b"xy"),
    "cut short": build({"a": entry(0, 2)}, b"x"),
    "end before begin": build({"a": entry(0, -1, shape=[1])}, b""),
    "size and shape disagree": build({"a": entry(0, 4, "F32", [2])}, bytes(4)),
    "unknown dtype": build({"a": entry(0, 2, "F16", [1])}, bytes(2)),
    "bf16": build({"a": entry(0, 2, "BF16", [1])}, bytes(2)),
    "dtype not text": build({"a": {**entry(0, 1), "dtype": ["U8"]}}, b"x"),
    "negative size": build({"a": entry(0, 1, shape=[-1, -1])}, b"x"),
    "fractional size": build({"a": entry(0, 1, shape=[1.5])}, b"x"),
    "boolean size": build({"a": entry(0, 1, shape=[True])}, b"x"),
    "shape not a list": build({"a": entry(0, 1, shape=1)}, b"x"),
    "three offsets": build({"a": {**entry(0, 1), "data_offsets": [0, 1, 1]}}, b"x"),
    "extra key": build({"a": {**entry(0, 1), "more": 1}}, b"x"),
    "missing key": build({"a": {"dtype": "U8", "shape": [1]}}, b"x"),
    "entry not an object": build({"a": 1}, b"x"),
    "rank 9": build({"a": entry(0, 1, shape=[1] * 9)}, b"x"),
    "impossible shape": build({"a": entry(0, 0, "F64", [2**50, 2**50, 0])}),
    "boolean of two": build({"a": entry(0, 1, "BOOL")}, b"\x02"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_decode__malformed__refused(name: str) -> None:
    with pytest.raises(InputInvalid):
        tensor.decode(BAD_FILES[name], LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        (64).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little") + b"{}" * 50_000,
        (2**16 + 8).to_bytes(8, "little") + b"{}".ljust(2**17),
    ],
)
def test_decode__header_too_long__refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(InputInvalid, match=r"header of \d+ bytes"):
        tensor.decode(data, LIMIT)


def test_decode__more_bytes_than_allowed__refused_with_both_numbers() -> None:
    with pytest.raises(InputInvalid, match=f"{len(SAMPLE)} bytes is above the limit of 10"):
        tensor.decode(SAMPLE, 10)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {f"t{i}": np.zeros(1, "f4") for i in range(65)},
        {"a": np.zeros(1, "f2")},
        {"a": np.zeros(1, "c8")},
        {"a": np.array(["x"])},
        {"a": np.array([object()])},
        {"a": np.zeros((1,) * 9, "f4")},
        {"__metadata__": np.zeros(1, "f4")},
        {"a b": np.zeros(1, "f4")},
        {"": np.zeros(1, "f4")},
    ],
    ids=lambda tensors: str(list(tensors)[:1])[:20],
)
def test_encode__what_no_file_may_hold__refused(tensors: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid):
        tensor.encode(tensors)


@pytest.mark.parametrize(("bad", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_require_finite__not_finite__names_tensor_and_element(bad: float, shown: str) -> None:
    array = np.zeros((2, 3), "f8")
    array[1, 2] = bad

    with pytest.raises(InputInvalid, match=rf"tensor x: element \[1, 2\] is {shown}"):
        tensor.require_finite({"fine": np.zeros(3), "x": array})


def test_require_finite__integers_and_finite_floats__accepted() -> None:
    tensor.require_finite({"a": np.array([2**63 - 1]), "b": np.array([1e308]), "c": np.array(True)})


@given(TENSORS)
def test_decode__encoded__same_names_dtypes_shapes_bytes(tensors: dict[str, Any]) -> None:
    decoded = tensor.decode(tensor.encode(tensors), LIMIT)

    assert list(decoded) == sorted(tensors)
    for name, array in tensors.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].shape == array.shape
        assert decoded[name].tobytes() == array.tobytes()  # NaN payloads included
        assert not decoded[name].flags.writeable or decoded[name].size == 0
        assert decoded[name].flags.aligned


@given(TENSORS)
def test_encode__read_by_safetensors__same_arrays(tensors: dict[str, Any]) -> None:
    read = safetensors.numpy.load(tensor.encode(tensors))

    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        assert read[name].tobytes() == array.tobytes()
        assert read[name].shape == array.shape


@given(st.data())
def test_decode__mutated__refused_or_encodes_to_the_same_bytes(data: Any) -> None:
    original = tensor.encode(data.draw(TENSORS))
    mutated = data.draw(mutations(original))
    try:
        decoded = tensor.decode(mutated, LIMIT)
    except InputInvalid:
        return
    assert tensor.encode(decoded) == mutated


@given(st.binary(max_size=300))
@example(SAMPLE)
def test_decode__any_bytes__refused_or_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        decoded = tensor.decode(data, LIMIT)
    except InputInvalid:
        return
    assert tensor.encode(decoded) == data


@st.composite
def mutations(draw: Any, original: bytes) -> bytes:
    """Change, insert, drop or swap a few bytes; digits and brackets more often than others."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1)) if data else 0
        byte = draw(st.sampled_from(b'0123456789[]{}",: UFIB\x00\xff') | st.integers(0, 255))
        kind = draw(st.sampled_from(["set", "insert", "drop", "cut"]))
        if kind == "set" and data:
            data[at] = byte
        elif kind == "insert":
            data.insert(at, byte)
        elif kind == "drop" and data:
            del data[at]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


def test_encode__other_layouts__same_bytes() -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    expected = tensor.encode({"x": array})

    assert tensor.encode({"x": array.astype(">f4")}) == expected
    assert tensor.encode({"x": np.asfortranarray(array)}) == expected
    assert tensor.encode({"x": np.repeat(array, 2, axis=1)[:, ::2]}) == expected
    assert tensor.decode(expected, LIMIT)["x"].base is not None  # a view, nothing copied


def test_encode__order_of_names__does_not_matter() -> None:
    first, second = np.array([1], "u1"), np.array([2], "u1")

    assert tensor.encode({"b": second, "a": first}) == tensor.encode({"a": first, "b": second})


def test_decode__unaligned_data__copied_to_alignment() -> None:
    data = tensor.encode({"a": np.array([1, 2, 3], "u1"), "b": np.array([1.5], "<f8")})

    array = tensor.decode(data, LIMIT)["b"]

    assert array.flags.aligned
    assert array.tolist() == [1.5]
