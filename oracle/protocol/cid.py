"""CIDs of one form only: version 1, base32 in lower case, SHA-256.

```
 "b" ‖ base32( 01 ‖ codec ‖ 12 ‖ 20 ‖ digest )        codec: 55 raw block, 70 dag-pb (larger file)
        36 bytes = 58 characters, the last with two zero bits
```
A raw block's CID carries the SHA-256 of its bytes, so 32 bytes on chain are enough to fetch it.
Source: https://github.com/multiformats/cid.
"""

import base64
import binascii
from enum import IntEnum

from oracle.errors import InputInvalid
from oracle.types import Bytes32, Cid

_VERSION = 0x01
_SHA2_256 = b"\x12\x20"  # multihash: function, then length of the digest
_TEXT_LENGTH = 59


class Codec(IntEnum):
    """What the block behind a CID is."""

    RAW = 0x55
    DAG_PB = 0x70


def raw_cid(digest: Bytes32) -> Cid:
    """Return the CID of the raw block whose SHA-256 is `digest`.

    Raises:
        InputInvalid: not 32 bytes.
    """
    return make(Codec.RAW, digest)


def raw_digest(cid: str) -> Bytes32:
    """Return the SHA-256 that a raw block's CID carries.

    Raises:
        InputInvalid: not a CIDv1 in base32 of a raw block.
    """
    codec, digest = parse(cid)
    if codec is not Codec.RAW:
        raise InputInvalid(
            f"CID {cid} names a file of several blocks, not a raw block",
            hint="add it as one raw block of at most 1 MiB",
        )
    return digest


def make(codec: Codec, digest: Bytes32) -> Cid:
    """Return the CIDv1 of a block; `digest` is the SHA-256 of the block (not of the file).

    Raises:
        InputInvalid: not 32 bytes.
    """
    if len(digest) != 32:
        raise InputInvalid(f"a digest has 32 bytes, not {len(digest)}")
    body = bytes([_VERSION, codec]) + _SHA2_256 + digest
    return Cid("b" + base64.b32encode(body).decode().lower().rstrip("="))


def parse(cid: str) -> tuple[Codec, Bytes32]:
    """Split a CID into what its block is and the block's SHA-256.

    Raises:
        InputInvalid: another version, base, codec or hash, a stray character or non-zero padding.
    """
    hint = "expected a CIDv1 like bafkrei… (59 characters); convert with `ipfs cid base32`"
    if not isinstance(cid, str) or len(cid) != _TEXT_LENGTH or cid[:1] != "b":
        raise InputInvalid(f"{cid!r:.80} is not a CIDv1 in base32", hint=hint)
    try:
        body = base64.b32decode(cid[1:].upper() + "======")
    except (binascii.Error, ValueError) as error:
        raise InputInvalid(f"CID {cid} is not base32", hint=hint) from error
    if body[0] != _VERSION or body[2:4] != _SHA2_256 or body[1] not in (0x55, 0x70):
        raise InputInvalid(f"CID {cid} is not version 1, raw or dag-pb, SHA-256", hint=hint)
    codec, digest = Codec(body[1]), Bytes32(body[4:])
    if make(codec, digest) != cid:
        raise InputInvalid(f"CID {cid} has upper-case letters or padding bits", hint=hint)
    return codec, digest
