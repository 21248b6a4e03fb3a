"""CAR v1 streams, both ways: blocks one after the other, each behind its length and its CID.

Source: https://ipld.io/specs/transport/car/carv1/. What `dag/import` of Kubo and of the embedded
node takes:

    varint | header             dag-cbor {"roots": [...], "version": 1}
    varint | CID | block        varint = bytes of CID and block together
    varint | CID | block …
"""

from oracle.errors import InputInvalid
from oracle.ipfs.cid import RAW, Link, from_bytes
from oracle.ipfs.dag_pb import varint
from oracle.ipfs.request_body import Parts
from oracle.ipfs.unixfs import Builder, Entry, Layout

# The root is known when all is sent: the empty identity CID stands for it, as with go-car
HEADER = b"\x19\xa2\x65roots\x81\xd8\x2a\x45\x00\x01\x55\x00\x00\x67version\x01"
PREFIX = 48  # bytes, at most, before a block
_MAX_HEADER = 4096  # bytes
_MAX_VARINT = 5  # bytes


def header(root: Link) -> bytes:
    """Return the beginning of a stream whose root is known."""
    name = b"\0" + root.to_bytes()
    body = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes((len(name),)) + name + b"\x67version\x01"
    return varint(len(body)) + body


def prefix(link: Link, size: int) -> bytes:
    """Return what stands before a block of `size` bytes."""
    name = link.to_bytes()
    return varint(len(name) + size) + name


def length(size: int, layout: Layout) -> int:
    """Return the bytes of the stream of a file of `size` bytes in raw leaves, nodes included."""
    total = len(HEADER)

    def count(link: Link, block: bytes) -> None:
        nonlocal total
        total += len(prefix(link, len(block))) + len(block)

    builder, any_leaf = Builder(layout, count), Link(RAW, bytes(32))
    for start in range(0, size, layout.chunk):
        part = min(layout.chunk, size - start)
        builder.add(Entry(any_leaf, part, part))
        total += len(prefix(any_leaf, part)) + part
    builder.finish()
    return total


class Reader:
    """Reads the blocks of a stream, one after the other."""

    def __init__(self, part: Parts) -> None:
        """Take the stream and skip its header.

        Raises:
            InputInvalid: not CAR v1.
        """
        self._part = part
        size = self._varint()
        self.header = b"" if size is None or size > _MAX_HEADER else self._bytes(size)
        if not self.header.endswith(b"version\x01"):
            raise InputInvalid("this is not a CAR v1 stream")

    def next_block(self, buffer: bytearray) -> tuple[Link, int] | None:
        """Put the next block into `buffer`; return its CID, not checked, and its size; None = end.

        Raises:
            InputInvalid: malformed, or larger than the buffer.
        """
        size = self._varint()
        if size is None:
            return None
        name = self._bytes(34)
        if name[0] == 1:
            name += self._bytes(2)
        link, size = from_bytes(name), size - len(name)
        if not 0 <= size <= len(buffer):
            raise InputInvalid(f"block of {size} bytes: over {len(buffer)} bytes")
        if self._part.read_into(memoryview(buffer)[:size]) != size:
            raise InputInvalid("the CAR stream ends inside a block", hint="send it again")
        return link, size

    def _varint(self) -> int | None:
        number = 0
        for index in range(_MAX_VARINT):
            one = bytearray(1)
            if not self._part.read_into(one):
                if index:
                    break
                return None
            number |= (one[0] & 127) << 7 * index
            if one[0] < 128:
                return number
        raise InputInvalid("malformed length in a CAR stream")

    def _bytes(self, count: int) -> bytes:
        data = bytearray(count)
        if self._part.read_into(data) != count:
            raise InputInvalid("the CAR stream ends inside a block", hint="send it again")
        return bytes(data)
