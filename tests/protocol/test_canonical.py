"""One encoding per JSON value, and no other accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda values: (
        st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=4), values, max_size=4)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{",
        b"{} ",
        b" {}",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"1.0",
        b"1e0",
        b"-0",
        b"0x1",
        b"01",
        b"NaN",
        b"Infinity",
        b"1e999",
        b'"\\u0041"',
        b'"\\ud800"',
        b"9007199254740993",
        b"[" * 5000 + b"]" * 5000,
        b"1" * 5000,
        "{}".encode("utf-16"),
    ],
)
def test_loads__not_the_one_encoding__refused(data: bytes) -> None:
    with pytest.raises(InputInvalid):
        canonical.loads(data)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53 + 1, b"x", {1: 2}, {"a"}, "\ud800", object()]
)
def test_dumps__not_canonical_json__refused(value: object) -> None:
    with pytest.raises(InputInvalid, match="not canonical JSON"):
        canonical.dumps(value)


def test_dumps__keys__sorted_by_utf16_as_rfc_8785_says() -> None:
    # RFC 8785, 3.2.3: U+1F600 sorts before U+FB33, because its first UTF-16 unit is smaller.
    assert canonical.dumps({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@given(JSON)
def test_loads__encoded__same_value_and_bytes(value: object) -> None:
    data = canonical.dumps(value)

    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data


def test_sha256_and_keccak__empty__known_digests() -> None:
    assert canonical.sha256(b"").hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert canonical.keccak(b"").hex().startswith("c5d2460186f7233c927e7db2dcc703c0")
