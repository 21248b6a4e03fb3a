"""Blocks of the codecs that the node speaks (raw, dag-pb, dag-cbor), as links and as dag-json.

dag-cbor through the library of that name. dag-json is JSON in which `{"/": CID}` is a link and
`{"/": {"bytes": base64}}` are bytes. Source: https://ipld.io/specs/codecs/dag-json/spec/.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import dag_cbor
from multiformats import CID

from oracle.errors import InputInvalid
from oracle.ipfs.cid import DAG_CBOR, DAG_PB, RAW, Link, from_bytes, parse
from oracle.ipfs.dag_pb import PbLink, decode_node, encode_node

CODECS = {
    **{"raw": RAW, "dag-pb": DAG_PB, "protobuf": DAG_PB, "v0": DAG_PB},
    **{"dag-cbor": DAG_CBOR, "cbor": DAG_CBOR},
}
_MAX_DEPTH = 128  # of nested maps and lists


def links_of(link: Link, block: bytes) -> Iterator[Link]:
    """Yield the CIDs that a block names.

    Raises:
        InputInvalid: it is malformed, or names one that we do not speak.
    """
    if link.codec == DAG_PB:
        yield from (one.link for one in decode_node(block).links)
    elif link.codec == DAG_CBOR:
        yield from _cids(decode_cbor(block))


def decode_cbor(block: bytes) -> Any:
    """Return the value of a dag-cbor block; links are `CID`s.

    Raises:
        InputInvalid: it is none.
    """
    try:
        return dag_cbor.decode(block)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputInvalid(f"malformed dag-cbor: {str(error)[:120]}") from error


def encode_cbor(value: Any) -> bytes:
    """Return the dag-cbor block of a value.

    Raises:
        InputInvalid: it has none.
    """
    try:
        return dag_cbor.encode(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputInvalid(f"invalid for dag-cbor: {str(error)[:120]}") from error


def to_json(link: Link, block: bytes) -> Any:
    """Return a block as dag-json.

    Raises:
        InputInvalid: it is malformed.
    """
    if link.codec == RAW:
        return _bytes_to_json(block)
    if link.codec == DAG_CBOR:
        return _to_json(decode_cbor(block))
    node = decode_node(block)
    return {
        "Data": _bytes_to_json(node.data),
        "Links": [
            {"Hash": {"/": one.link.text()}, "Name": one.name, "Tsize": one.total}
            for one in node.links
        ],
    }


def from_json(codec: int, text: bytes) -> bytes:
    """Return the block of a codec for a value in dag-json.

    Raises:
        InputInvalid: it is not JSON, or not a value of that codec.
    """
    try:
        value = json.loads(text)
        if codec == DAG_CBOR:
            return encode_cbor(_from_json(value, 0))
        if codec == RAW:
            return b64decode(value["/"]["bytes"] + "==")
        links = [
            PbLink(str(one["Name"]), parse(one["Hash"]["/"]), int(one["Tsize"]))
            for one in value["Links"]
        ]
        return encode_node(links, b64decode(value["Data"]["/"]["bytes"] + "=="))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputInvalid(f"invalid dag-json: {str(error)[:120]}") from error


def step(value: Any, name: str) -> Any:
    """Go one name down a dag-cbor value.

    Raises:
        InputInvalid: there is nothing.
    """
    try:
        return value[int(name)] if isinstance(value, list) else value[name]
    except (LookupError, TypeError, ValueError) as error:
        raise InputInvalid(f"invalid path: no {name[:80]!r} here") from error


def link_of(cid: CID) -> Link:
    """Return a library's CID as ours.

    Raises:
        InputInvalid: one that we do not speak.
    """
    return from_bytes(bytes(cid))


def _cids(value: Any) -> Iterator[Link]:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, CID):
            yield link_of(one)
        elif isinstance(one, dict):
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _to_json(value: Any) -> Any:
    if isinstance(value, CID):
        return {"/": link_of(value).text()}
    if isinstance(value, bytes):
        return _bytes_to_json(value)
    if isinstance(value, dict):
        return {name: _to_json(one) for name, one in value.items()}
    return [_to_json(one) for one in value] if isinstance(value, list) else value


def _bytes_to_json(data: bytes) -> dict[str, Any]:
    return {"/": {"bytes": b64encode(data).decode().rstrip("=")}}


def _from_json(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InputInvalid(f"invalid dag-json: nested deeper than {_MAX_DEPTH}")
    if isinstance(value, list):
        return [_from_json(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"/"}:
        inner = value["/"]
        if isinstance(inner, str):
            return CID.decode(parse(inner).to_bytes())
        return b64decode(inner["bytes"] + "==")
    return {name: _from_json(one, depth + 1) for name, one in value.items()}
