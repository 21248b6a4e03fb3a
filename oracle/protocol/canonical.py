"""One byte string per JSON value (RFC 8785), and the two hash functions everything is named by.

Two parties that mean the same thing must produce the same digest, so what is not in canonical form
is refused instead of repaired.
"""

import hashlib
import json
from typing import Any, NoReturn

import rfc8785
from eth_hash.auto import keccak as _keccak

from oracle.errors import InputInvalid
from oracle.types import Bytes32


def dumps(obj: Any) -> bytes:
    """Return the RFC 8785 encoding of a JSON value.

    Raises:
        InputInvalid: not JSON, a non-finite number, an integer beyond 2**53, a lone surrogate.
    """
    try:
        return rfc8785.dumps(obj)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputInvalid(
            f"not canonical JSON: {error}",
            hint="use objects, arrays, strings, booleans, null and finite numbers below 2**53",
        ) from error


def loads(data: bytes) -> Any:
    """Parse canonical JSON.

    Raises:
        InputInvalid: not JSON, or not the one encoding that `dumps` gives the value (other
            spacing, key order, number format, or a duplicate key).
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_int=_number,
            parse_constant=_not_a_number,
        )
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"not JSON: {error}", hint="expected UTF-8 JSON") from error
    if dumps(value) != data:
        raise InputInvalid(
            "JSON is not in canonical form", hint="encode it with RFC 8785 (sorted keys, no spaces)"
        )
    return value


def sha256(data: bytes) -> Bytes32:
    """Return the digest that files and IPFS blocks are named by."""
    return Bytes32(hashlib.sha256(data).digest())


def keccak(data: bytes) -> Bytes32:
    """Return the digest that contracts compute."""
    return Bytes32(_keccak(data))


def _number(text: str) -> int | float:
    number = int(text)
    # RFC 8785 writes large floats without a point; as integers they would be out of its domain.
    return number if abs(number) < 2**53 else float(text)


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
