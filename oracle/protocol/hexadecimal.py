"""Bytes as text: 0x and hex digits."""

from typing import Any

from oracle.types import Bytes32


def parse_bytes32(text: Any) -> Bytes32:
    """Read 32 bytes from 0x-hex.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(text, str) or not text.startswith("0x") or len(text) != 66:
        raise ValueError(f"{text!r:.80} is not 32 bytes of 0x-hex")
    return Bytes32(bytes.fromhex(text[2:]))


def to_hex(data: bytes) -> str:
    """Return 0x-hex."""
    return "0x" + data.hex()
