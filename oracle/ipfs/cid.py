"""Content identifiers of the kinds a node may be asked for: v0 and v1, SHA-256, three codecs.

Bytes of a CIDv1 (https://github.com/multiformats/cid):

    01 | codec | 12 20 | digest (32)      text: "b" + base32, lower case, no padding
         55 raw, 70 dag-pb, 71 dag-cbor
                 sha2-256, 32 bytes

A CIDv0 is the multihash alone (`12 20 | digest`), always dag-pb, in base58btc.
"""

from base64 import b32decode, b32encode
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.types import Cid

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
_SHA256 = b"\x12\x20"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CODECS = {RAW, DAG_PB, DAG_CBOR}


@dataclass(frozen=True, slots=True)
class Link:
    """One CID, taken apart."""

    codec: int
    digest: bytes  # 32 bytes, SHA-256 of the block
    version: int = 1

    def to_bytes(self) -> bytes:
        """Return the binary form, as it stands in the links of a dag-pb node."""
        multihash = _SHA256 + self.digest
        return multihash if self.version == 0 else bytes((1, self.codec)) + multihash

    def text(self) -> Cid:
        """Return the canonical text: base58 for v0, base32 for v1."""
        data = self.to_bytes()
        if self.version == 0:
            return Cid(_base58(data))
        return Cid("b" + b32encode(data).decode().lower().rstrip("="))


def from_bytes(data: bytes) -> Link:
    """Read the binary form.

    Raises:
        InputInvalid: not a CID, or one of a hash or codec that we do not speak.
    """
    version, codec, multihash = 0, DAG_PB, data
    if data[:1] == b"\x01":
        version, codec, multihash = 1, data[1] if len(data) > 1 else 0, data[2:]
    if len(multihash) != 34 or multihash[:2] != _SHA256 or codec not in _CODECS:
        raise InputInvalid(
            f"invalid cid 0x{data[:40].hex()}: not one that we read",
            hint="CIDs are v0 or v1, raw, dag-pb or dag-cbor, with SHA-256",
        )
    return Link(codec, multihash[2:], version)


def parse(text: str) -> Link:
    """Read a CID as people write it, with or without `/ipfs/` before it.

    Raises:
        InputInvalid: not a CID, or one of a hash or codec that we do not speak.
    """
    body = text.removeprefix("/ipfs/")
    try:
        if len(body) == 46 and body.startswith("Qm"):
            number = 0
            for character in body:
                number = number * 58 + _BASE58.index(character)
            data = number.to_bytes(34, "big")
        elif body.startswith("b") and body == body.lower() and len(body) <= 100:
            data = b32decode(body[1:].upper() + "=" * (-len(body[1:]) % 8))
        else:
            raise ValueError("neither base58 v0 nor base32 v1")
        link = from_bytes(data)
    except (ValueError, OverflowError) as error:
        raise InputInvalid(
            f"invalid cid {text[:120]!r}: {error}", hint="CIDs look like bafk… or Qm…"
        ) from error
    if link.text() != body:  # base32 has spare bits: one CID, one text
        raise InputInvalid(f"invalid cid {text[:120]!r}: not in canonical form")
    return link


def _base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return text
