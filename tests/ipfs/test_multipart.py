"""Multipart bodies, cut at every place. No sockets."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.ipfs.request_body import Parts
from tests.ipfs.conftest import frame

KIND = "multipart/form-data; boundary=xyz"


def source(body: bytes, steps: list[int]) -> Callable[[], bytes]:
    """Return a stream that hands out `body` in pieces of these sizes, over and over."""
    at, turn = 0, 0

    def read() -> bytes:
        nonlocal at, turn
        piece = body[at : at + steps[turn % len(steps)]]
        at, turn = at + len(piece), turn + 1
        return piece

    return read


def parts(reader: Parts, size: int) -> list[bytes]:
    """Read all parts with a buffer of this size."""
    found, buffer = [], bytearray(size)
    while reader.next_part():
        data = b""
        while count := reader.read_into(buffer):
            data += buffer[:count]
        found.append(data)
    return found


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", "text/x; boundary=a"]
)
def test_parts__not_multipart__is_invalid(kind: str) -> None:
    with pytest.raises(InputInvalid, match="not multipart"):
        Parts(kind, source(b"", [1]))


@pytest.mark.parametrize("cut", [0, 1, 10, 30, 60, 100, 120])
def test_parts__body_ends_early__is_invalid(cut: int) -> None:
    mark = frame("xyz")
    body = (mark.head + b"some bytes" + mark.tail)[:cut]
    with pytest.raises(InputInvalid):
        parts(Parts(KIND, source(body, [7])), 16)


def test_parts__headers_without_end__is_invalid() -> None:
    body = b"--xyz\r\n" + b"X-Header: y\r\n" * 10_000
    reader = Parts(KIND, source(body + b"z" * 100_000, [1000]))
    with pytest.raises(InputInvalid):
        parts(reader, 16)


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [b"\r", b"\n", b"-", b"\r\n", b"\r\n--", b"xy", b"--xyz", b"\r\n--xy", b"q"]
            )
        ).map(b"".join),
        max_size=3,
    ).filter(lambda contents: all(b"\r\n--xyz" not in b"\r\n" + c for c in contents)),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(1, 50),
)
def test_parts__of_any_content_in_any_pieces__finds_the_parts(
    contents: list[bytes], steps: list[int], size: int
) -> None:
    body = b"".join(b"--xyz\r\nContent-Type: x\r\n\r\n" + content + b"\r\n" for content in contents)
    reader = Parts(KIND, source(body + b"--xyz--\r\nepilogue", steps))
    assert parts(reader, size) == contents


def test_frame__read_back__is_the_file() -> None:
    mark = frame("xyz")
    body = mark.head + b"\r\n--xy" + mark.tail
    assert parts(Parts(mark.content_type, source(body, [5])), 4) == [b"\r\n--xy"]
