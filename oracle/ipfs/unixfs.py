"""UnixFS files as Kubo lays them out: chunks, a balanced tree of dag-pb nodes, and its root CID.

Streaming and in constant memory. `Builder` takes leaves in order and makes the nodes above them;
`decode` reads one node. Source: https://github.com/ipfs/specs/blob/main/UNIXFS.md, dag-pb spec,
boxo `ipld/unixfs/importer/balanced`.

    leaves   [c0][c1] … [c173] [c174] …      1 MiB each, raw blocks
                 │                 │
    level 1     n0 ───────────────n1 …        174 links each
                         │
    level 2             root                  as many levels as it takes

dag-pb node on the wire: links first (field 2: Hash, empty Name, Tsize), then Data (field 1), which
holds the UnixFS message: Type = File, Data (bytes of a dag-pb leaf), filesize, blocksizes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.ipfs.cid import DAG_PB, RAW, Link, from_bytes

Buffer = bytes | bytearray | memoryview
Emit = Callable[[Link, bytes], None]

_UNIXFS_RAW, _UNIXFS_FILE = 0, 2


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is cut and named. The default is what this project publishes with."""

    cid_version: int = 1
    raw_leaves: bool = True
    chunk: int = 1 << 20  # bytes
    width: int = 174  # links of a node


KUBO_DEFAULT = Layout(cid_version=0, raw_leaves=False, chunk=1 << 18)


@dataclass(frozen=True, slots=True)
class Entry:
    """A subtree, as the node above it sees it."""

    link: Link
    size: int  # bytes of the file below it
    total: int  # bytes of the file and of the blocks' own framing (`Tsize`)


@dataclass(frozen=True, slots=True)
class Node:
    """One decoded dag-pb block of a file: either inline data or children."""

    size: int
    data: bytes
    children: tuple[tuple[Link, int], ...]  # (CID, bytes of the file below it)


def leaf_frame(size: int, layout: Layout) -> tuple[bytes, bytes]:
    """Return what stands before and after the bytes of a leaf in its block."""
    if layout.raw_leaves:
        return b"", b""
    head = b"\x08\x02" + (b"\x12" + varint(size) if size else b"")
    tail = b"\x18" + varint(size)
    return b"\x0a" + varint(len(head) + size + len(tail)) + head, tail


def leaf_entry(data: Buffer, layout: Layout) -> Entry:
    """Hash one leaf (without copying it)."""
    head, tail = leaf_frame(len(data), layout)
    digest = hashlib.sha256(head)
    digest.update(data)
    digest.update(tail)
    if layout.raw_leaves:
        return Entry(Link(RAW, digest.digest()), len(data), len(data))
    link = Link(DAG_PB, digest.digest(), layout.cid_version)
    return Entry(link, len(data), len(head) + len(data) + len(tail))


class Builder:
    """Makes the nodes above the leaves, and the root. Holds at most `width` entries per level."""

    def __init__(self, layout: Layout = Layout(), emit: Emit | None = None) -> None:
        self._layout = layout
        self._emit = emit
        self._levels: list[list[Entry]] = [[]]

    def add(self, leaf: Entry) -> None:
        """Take the next leaf, in the order of the file."""
        self._push(0, leaf)

    def finish(self) -> Entry:
        """Return the root; an only leaf is its own root, an empty file is one empty leaf."""
        if not self._levels[0]:
            empty = leaf_entry(b"", self._layout)
            if self._emit:
                self._emit(empty.link, b"".join(leaf_frame(0, self._layout)))
            return empty
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._close(level)
            level += 1
        return self._levels[level][0]

    def _push(self, level: int, entry: Entry) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == self._layout.width:
            self._close(level)
        self._levels[level].append(entry)

    def _close(self, level: int) -> None:
        entries, self._levels[level] = self._levels[level], []
        if not entries:
            return
        size = sum(entry.size for entry in entries)
        block = _encode(entries, size)
        link = Link(DAG_PB, hashlib.sha256(block).digest(), self._layout.cid_version)
        if self._emit:
            self._emit(link, block)
        total = len(block) + sum(entry.total for entry in entries)
        self._push(level + 1, Entry(link, size, total))


def file_cid(data: Buffer, layout: Layout = Layout()) -> Link:
    """Return the CID of bytes that are in memory."""
    builder, view = Builder(layout), memoryview(data)
    for start in range(0, len(view), layout.chunk):
        builder.add(leaf_entry(view[start : start + layout.chunk], layout))
    return builder.finish().link


def decode(block: bytes) -> Node:
    """Read a dag-pb block of a file.

    Raises:
        InputInvalid: not a dag-pb node, or not one of a file (a folder, say).
    """
    hashes: list[Link] = []
    message = b""
    for number, value in _fields(block):
        if number == 2 and isinstance(value, bytes):
            found = [v for n, v in _fields(value) if n == 1 and isinstance(v, bytes)]
            if len(found) != 1:
                raise InputInvalid("malformed dag-pb: a link without a hash")
            hashes.append(from_bytes(found[0]))
        elif number == 1 and isinstance(value, bytes):
            message = value
    kind, size, data, sizes = None, None, b"", []
    for number, value in _fields(message):
        if isinstance(value, bytes):
            data = value if number == 2 else data
        elif number == 1:
            kind = value
        elif number == 3:
            size = value
        elif number == 4:
            sizes.append(value)
    if kind not in (_UNIXFS_RAW, _UNIXFS_FILE):
        raise InputInvalid(
            "this dag node is not a file", hint="only files are fetched, not folders"
        )
    if len(sizes) != len(hashes) or (data and hashes):
        raise InputInvalid("malformed UnixFS: block sizes and links do not fit")
    total = len(data) + sum(sizes)
    if size is not None and size != total:
        raise InputInvalid("malformed UnixFS: the file size is not the sum of its parts")
    return Node(total, data, tuple(zip(hashes, sizes, strict=True)))


def _encode(entries: list[Entry], size: int) -> bytes:
    out = bytearray()
    for entry in entries:
        name = entry.link.to_bytes()
        link = b"\x0a" + varint(len(name)) + name + b"\x12\x00\x18" + varint(entry.total)
        out += b"\x12" + varint(len(link)) + link
    message = b"\x08\x02\x18" + varint(size)
    message += b"".join(b"\x20" + varint(entry.size) for entry in entries)
    return bytes(out) + b"\x0a" + varint(len(message)) + message


def varint(number: int) -> bytes:
    """Return a number as protobuf and multiformats write it: 7 bits per byte, lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Split a protobuf message into (field number, varint or bytes)."""
    out: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if key & 7 == 0:
            out.append((key >> 3, value))
        elif key & 7 == 2 and at + value <= len(data):
            out.append((key >> 3, data[at : at + value]))
            at += value
        else:
            raise InputInvalid("malformed protobuf in a dag-pb block")
    return out


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise InputInvalid("malformed protobuf in a dag-pb block")
