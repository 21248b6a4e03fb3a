"""UnixFS files as Kubo lays them out: chunks, a balanced tree of dag-pb nodes, and its root CID.

Streaming and in constant memory. `Builder` takes leaves in order and makes the nodes above them;
`decode` reads one node. Source: https://github.com/ipfs/specs/blob/main/UNIXFS.md, dag-pb spec,
boxo `ipld/unixfs/importer/balanced`.

    leaves   [c0][c1] … [c173] [c174] …      1 MiB each, raw blocks
                 │                 │
    level 1     n0 ───────────────n1 …        174 links each
                         │
    level 2             root                  as many levels as it takes

The links of a node have no names; its data is the UnixFS message: Type = File, Data (bytes of a
dag-pb leaf), filesize, blocksizes.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.ipfs.cid import DAG_PB, RAW, Link
from oracle.ipfs.dag_pb import PbLink, decode_node, encode_node, fields, varint

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
class DagNode:
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


def decode(block: bytes) -> DagNode:
    """Read a dag-pb block of a file.

    Raises:
        InputInvalid: not a dag-pb node, or not one of a file (a folder, say).
    """
    node = decode_node(block)
    hashes = [one.link for one in node.links]
    kind, size, data, sizes = None, None, b"", []
    for number, value in fields(node.data):
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
    return DagNode(total, data, tuple(zip(hashes, sizes, strict=True)))


def _encode(entries: list[Entry], size: int) -> bytes:
    message = b"\x08\x02\x18" + varint(size)
    message += b"".join(b"\x20" + varint(entry.size) for entry in entries)
    return encode_node((PbLink("", entry.link, entry.total) for entry in entries), message)
