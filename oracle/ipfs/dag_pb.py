"""dag-pb nodes, the blocks of files and folders: links and data, as protobuf, both ways.

Source: https://ipld.io/specs/codecs/dag-pb/spec/. On the wire links stand first (field 2: Hash,
Name, Tsize), then Data (field 1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.ipfs.cid import Link, from_bytes


@dataclass(frozen=True, slots=True)
class PbLink:
    """One link of a node."""

    name: str
    link: Link
    total: int  # bytes of all blocks below it (`Tsize`)


@dataclass(frozen=True, slots=True)
class PbNode:
    """One decoded node."""

    links: tuple[PbLink, ...]
    data: bytes


def encode_node(links: Iterable[PbLink], data: bytes) -> bytes:
    """Return the block of a node."""
    out = bytearray()
    for one in links:
        target, name = one.link.to_bytes(), one.name.encode()
        link = b"\x0a" + varint(len(target)) + target
        link += b"\x12" + varint(len(name)) + name + b"\x18" + varint(one.total)
        out += b"\x12" + varint(len(link)) + link
    return bytes(out) + (b"\x0a" + varint(len(data)) + data if data else b"")


def decode_node(block: bytes) -> PbNode:
    """Read a block.

    Raises:
        InputInvalid: not a dag-pb node.
    """
    links: list[PbLink] = []
    data = b""
    for number, value in fields(block):
        if number == 2 and isinstance(value, bytes):
            links.append(_decode_link(value))
        elif number == 1 and isinstance(value, bytes):
            data = value
    return PbNode(tuple(links), data)


def _decode_link(data: bytes) -> PbLink:
    name, total, targets = "", 0, list[bytes]()
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            targets.append(value)
        elif number == 2 and isinstance(value, bytes):
            name = value.decode(errors="replace")
        elif number == 3 and isinstance(value, int):
            total = value
    if len(targets) != 1:
        raise InputInvalid("malformed dag-pb: a link without a hash")
    return PbLink(name, from_bytes(targets[0]), total)


def varint(number: int) -> bytes:
    """Return a number as protobuf and multiformats write it: 7 bits per byte, lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Split a protobuf message into (field number, varint or bytes).

    Raises:
        InputInvalid: it is none.
    """
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
