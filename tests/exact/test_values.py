"""Values: stored forms and the arithmetic on them, against Python's big integers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.exact import elements, operators
from oracle.exact.dtypes import CHANNEL, NUMBERS, DType, Spec, channels, decode, encode

INT64 = 2**63
ACCUMULATORS = st.one_of(
    st.integers(1 - 2**37, 2**37 - 1), st.sampled_from([1 - 2**37, -1, 0, 1, 2**37 - 1])
)
BIASES = st.one_of(
    st.integers(-INT64, INT64 - 1), st.sampled_from([-INT64, -(2**61), 2**61, INT64 - 1])
)
MULTS = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([-(2**31), 1 - 2**24, 2**24 - 1, 2**31 - 1]),
)


@pytest.mark.parametrize("dtype", sorted(NUMBERS))
def test_encode__value_outside_the_range__refused(dtype: DType) -> None:
    for value in (dtype.minimum - 1, dtype.maximum + 1):
        with pytest.raises(InputInvalid, match="outside"):
            encode(np.array([[value]], np.int64), dtype)


@pytest.mark.parametrize("array", [np.zeros(3, np.int8), np.zeros((1, 1, 1), np.int8)])
def test_encode__not_a_matrix__refused(array: np.ndarray) -> None:
    with pytest.raises(InputInvalid, match="rows and columns"):
        encode(array, DType.I8)


def test_encode__floats__refused() -> None:
    with pytest.raises(InputInvalid, match="float64"):
        encode(np.zeros((1, 1)), DType.I8)


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        (DType.I8, -128, "00"),
        (DType.I8, 0, "80"),
        (DType.I8, 127, "ff"),
        (DType.U8, 7, "07"),
        (DType.I16, -32768, "0000"),
        (DType.I16, 1, "8001"),
        (DType.U16, 258, "0102"),
        (DType.I32, -1, "7fffffff"),
        (DType.I32, 2**31 - 1, "ffffffff"),
    ],
)
def test_encode__number__offset_binary_big_endian(dtype: DType, value: int, stored: str) -> None:
    assert encode(np.array([[value]]), dtype).tobytes().hex() == stored


def test_encode__channel__fields_in_their_places() -> None:
    row = channels([-(2**63), 1], [0, -1], [62, 255])

    assert encode(row, DType.CHANNEL).tobytes().hex() == (
        "0000000000000000800000003e00000080000000000000017fffffffff000000"
    )


def test_encode__node__fields_in_their_places() -> None:
    node = np.array([[(0x8001, 2, 3, 4, -1)]], DType.NODE.numpy)

    assert encode(node, DType.NODE).tobytes().hex() == "8001000200000003000000047fffffff"


@pytest.mark.parametrize("dtype", sorted(NUMBERS))
def test_decode__every_byte_pattern__is_a_value_and_comes_back(dtype: DType) -> None:
    stored = np.arange(256 * dtype.size).astype(np.uint8)[::-1].copy()
    spec = Spec(dtype, 8, 32)

    array = decode(stored.tobytes(), spec)

    assert encode(array, dtype).tobytes() == stored.tobytes()


def test_decode__other_number_of_bytes__refused() -> None:
    with pytest.raises(InputInvalid, match="3 bytes"):
        decode(bytes(3), Spec(DType.I16, 1, 2))


def test_spec__word__comes_back() -> None:
    spec = Spec(DType.NODE, 2**32 - 1, 7)

    assert spec.word() == 7 << 64 | (2**32 - 1) << 32 | 7
    assert Spec.from_word(spec.word()) == spec


@pytest.mark.parametrize("code", [0, 8, 255])
def test_spec__word_of_unknown_dtype__refused(code: int) -> None:
    with pytest.raises(InputInvalid, match="unknown"):
        Spec.from_word(code << 64 | 1 << 32 | 1)


@given(ACCUMULATORS, BIASES, MULTS, st.integers(0, 255), st.sampled_from(sorted(NUMBERS)))
def test_requantise__any_channel_bytes__as_in_big_integers(
    acc: int, bias: int, mult: int, shift: int, dtype: DType
) -> None:
    row = channels(bias, np.int32(mult), np.uint8(shift))
    bias, mult = max(-(2**61), min(bias, 2**61)), max(1 - 2**24, min(mult, 2**24 - 1))
    shift = max(1, min(shift, 62))
    exact = acc * mult + bias + 2 ** (shift - 1)
    expected = max(dtype.minimum, min(exact // 2**shift, dtype.maximum))

    whole = operators.requantise(np.array([acc]), operators.channels(row), dtype)

    assert abs(exact) < INT64
    assert whole.tolist() == [expected]
    assert elements.requantise(acc, row[0, 0], dtype) == expected


@given(st.one_of(
    st.integers(0, (2**54 + 2**52) * 2**8),
    st.integers(0, 2**31).map(lambda r: r * r),
    st.integers(1, 2**31).map(lambda r: r * r - 1),
))  # fmt: skip
def test_isqrt__up_to_the_greatest_variance__exact(n: int) -> None:
    assert operators.isqrt(np.array([n])).tolist() == [math.isqrt(n)]


@pytest.mark.parametrize("columns", [1, 2, 4095, 4096])
@pytest.mark.parametrize("ones", [0, 1, 2048])
def test_layernorm__extreme_rows__stay_within_their_bounds(columns: int, ones: int) -> None:
    x = [-32768] * columns
    x[:ones] = [32767] * min(ones, columns)
    n, s, q = columns, sum(x), sum(k * k for k in x)
    v = n * q - s * s
    z = [((n * k - s) << 20) // max(1, math.isqrt(v << 8)) for k in x]

    assert (v + 2**52) << 8 < INT64
    assert max(abs((n * k - s) << 20) for k in x) < INT64
    assert max(map(abs, z)) < 2**23


def test_channels__at__one_serves_all() -> None:
    one = operators.channels(np.zeros((1, 1), CHANNEL))

    assert one.at(np.arange(9)) is one
