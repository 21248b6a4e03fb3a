"""CAR streams: what the client sends is what a reader finds, and malformed ones are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.ipfs import car
from oracle.ipfs.cid import Link
from oracle.ipfs.request_body import Parts
from oracle.ipfs.unixfs import Builder, Layout, file_cid, leaf_entry
from tests.ipfs.conftest import frame, sample

LINK = file_cid(b"block")
BLOCK = car.prefix(LINK, 5) + b"block"


def reader(content: bytes, *, cut: int | None = None) -> car.Reader:
    """Read a stream that came as a part of a request, at most 1000 bytes at a time."""
    mark = frame("xyz")
    body = (mark.head + content + mark.tail)[:cut]
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
    parts = Parts(mark.content_type, lambda: next(pieces, b""))
    assert parts.next_part()
    return car.Reader(parts)


def blocks(stream: car.Reader, room: int = 2 << 20) -> list[tuple[Link, bytes]]:
    found, buffer = [], bytearray(room)
    while got := stream.next_block(buffer):
        found.append((got[0], bytes(buffer[: got[1]])))
    return found


def stream_of(data: bytes, layout: Layout) -> bytes:
    out = bytearray(car.HEADER)

    def emit(link: Link, block: bytes) -> None:
        out.extend(car.prefix(link, len(block)) + block)

    builder = Builder(layout, emit)
    for start in range(0, len(data), layout.chunk):
        piece = data[start : start + layout.chunk]
        leaf = leaf_entry(piece, layout)
        emit(leaf.link, piece)
        builder.add(leaf)
    builder.finish()
    return bytes(out)


@pytest.mark.parametrize("size", [1, 100, 101, 300, 301, 5000, 20_000])
def test_length__of_any_size__is_that_of_the_stream(size: int) -> None:
    layout = Layout(chunk=100, width=3)
    assert car.length(size, layout) == len(stream_of(sample(size), layout))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=8))
def test_next_block__of_what_was_written__is_that(sizes: list[int]) -> None:
    pieces = [sample(size) for size in sizes]
    content = b"".join(car.prefix(file_cid(p), len(p)) + p for p in pieces)
    assert blocks(reader(car.HEADER + content)) == [(file_cid(p), p) for p in pieces]


def test_next_block__delimiter_within_a_block__ends_it_and_is_refused() -> None:
    evil = b"\r\n--xyz--\r\n" * 10
    content = car.prefix(file_cid(evil), len(evil)) + evil
    with pytest.raises(InputInvalid, match="ends inside a block"):
        blocks(reader(car.HEADER + content))


def test_next_block__version_0_name__is_read() -> None:
    link = Link(0x70, LINK.digest, 0)
    assert blocks(reader(car.HEADER + car.prefix(link, 3) + b"abc")) == [(link, b"abc")]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\x19", b"\xff" * 9, b"\x05hello", b"\xff\x7f" + bytes(5000), BLOCK],
    ids=["empty", "no-header", "cut", "endless", "other", "long", "no-header-but-a-block"],
)
def test_reader__not_a_car_stream__is_refused(content: bytes) -> None:
    with pytest.raises(InputInvalid):
        blocks(reader(content))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80",
        b"\x80" * 9,
        b"\x05abcde",
        car.prefix(LINK, 5) + b"bloc",
        car.prefix(LINK, 101) + bytes(101),
        b"\x25" + b"\x01\x55\x13\x20" + bytes(33),
        b"\x10" + LINK.to_bytes(),
    ],
    ids=["cut-length", "endless", "cut-name", "cut-block", "too-large", "other-hash", "negative"],
)
def test_next_block__malformed__is_refused(content: bytes) -> None:
    with pytest.raises(InputInvalid):
        blocks(reader(car.HEADER + BLOCK + content), room=100)


@pytest.mark.parametrize("cut", [70, 150, 200])
def test_next_block__request_breaks_off__is_refused(cut: int) -> None:
    with pytest.raises(InputInvalid):
        blocks(reader(car.HEADER + BLOCK * 3, cut=cut))
