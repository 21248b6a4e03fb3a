"""Raw logs: from the node's JSON to `Log`, and from `Log` to an event of bindings/.

Readers are built once from the generated ABIs and the event classes' types. One log costs a
dictionary look-up and a slice per word; nothing is decoded that nobody asks for.
"""

import functools
import importlib
import re
import typing
from binascii import unhexlify
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any

from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic

from oracle.chain import artifacts
from oracle.chain.codec import NAMES, address
from oracle.chain.event import Event
from oracle.chain.rpc import RpcMalformed
from oracle.errors import InputInvalid
from oracle.protocol.records import REQUEST_BYTES, unpack_request
from oracle.types import Activation, Address, Bytes32, Log, Request, RequestId, Stamp, Terms

# A frozen dataclass's own __init__ costs a microsecond, setting its slots a third of that.
_new = object.__new__
(
    _set_address,
    _set_topics,
    _set_data,
    _set_block_number,
    _set_block_hash,
    _set_tx_hash,
    _set_log_index,
) = (getattr(Log, field.name).__set__ for field in fields(Log))
_ReadAt = Callable[[bytes, int], Any]


@dataclass(frozen=True, slots=True)
class _Reader:
    """How to read one kind of log. Positions are into the topics' words followed by the data."""

    make: Callable[..., Event]
    plan: tuple[tuple[_ReadAt, int], ...]
    indexed: int  # words from topics
    size: int  # bytes that topics and the head of the data have at least
    request_topic: int | None
    model_topic: int | None


def parse(raw: Any) -> Log:
    """Read one log object of `eth_getLogs` or a receipt.

    Raises:
        RpcMalformed: it is not one, or one that a reorganisation has removed.
    """
    try:
        topics, data = raw["topics"], raw["data"]
        if type(topics) is not list or data[:2] != "0x" or raw.get("removed"):
            raise ValueError
        log = _new(Log)
        _set_address(log, address(raw["address"]))
        _set_topics(log, tuple(map(_word, topics)))
        _set_data(log, unhexlify(data[2:]))
        _set_block_number(log, int(raw["blockNumber"], 16))
        _set_block_hash(log, _word(raw["blockHash"]))
        _set_tx_hash(log, _word(raw["transactionHash"]))
        _set_log_index(log, int(raw["logIndex"], 16))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RpcMalformed(f"the node answered a malformed log: {raw!r:.120}") from error
    return log


def to_json(log: Log) -> dict[str, Any]:
    """Return a log as a node gives it: what `parse` reads."""
    return {
        "address": log.address,
        "topics": ["0x" + topic.hex() for topic in log.topics],
        "data": "0x" + log.data.hex(),
        "blockNumber": hex(log.block_number),
        "blockHash": "0x" + log.block_hash.hex(),
        "transactionHash": "0x" + log.tx_hash.hex(),
        "logIndex": hex(log.log_index),
    }


def decode(log: Log) -> Event | None:
    """Return the event, or None when none of our contracts logs such a thing.

    Raises:
        RpcMalformed: the log is truncated or holds a value outside its type.
    """
    reader = _reader_of(log)
    if reader is None:
        return None
    base = 32 * reader.indexed
    words = b"".join(log.topics[1:]) + log.data
    if len(words) < reader.size or len(words) - len(log.data) != base:
        raise RpcMalformed(f"a {reader.make.__name__} log has {len(words)} bytes")
    try:
        return reader.make(*[read(words, at) for read, at in reader.plan])
    except (ValueError, InputInvalid) as error:
        raise RpcMalformed(f"a {reader.make.__name__} log is malformed: {error}") from error


def decode_all(logs: Iterable[Log]) -> tuple[Event, ...]:
    """Return the events among these logs, in order."""
    return tuple(event for log in logs if (event := decode(log)) is not None)


def keys(log: Log) -> tuple[RequestId | None, int | None]:
    """Return (request id, model id) as far as the log is indexed by them."""
    reader = _reader_of(log)
    if reader is None:
        return None, None
    request, model = reader.request_topic, reader.model_topic
    topics: Any = log.topics
    return (
        None if request is None else topics[request],
        None if model is None else int.from_bytes(topics[model]),
    )


def topic_of(event: type[Event]) -> Bytes32:
    """Return the first topic of an event, to filter by."""
    for (topic, _), reader in _readers().items():
        if reader.make.__name__ == event.__name__:
            return Bytes32(topic)
    raise KeyError(event.__name__)


@functools.lru_cache(maxsize=4096)
def _word(text: str) -> Bytes32:
    """Read 32 bytes; remembered, since a block's logs share hashes, kinds, ids and accounts."""
    if len(text) != 66 or text[:2] != "0x":
        raise ValueError
    return Bytes32(unhexlify(text[2:]))


def _reader_of(log: Log) -> _Reader | None:
    return _readers().get((log.topics[0], len(log.topics))) if log.topics else None


@functools.cache
def _readers() -> Mapping[tuple[bytes, int], _Reader]:
    """Return all readers. ERC-20 and ERC-721 share signatures and differ in how many topics."""
    found: dict[tuple[bytes, int], _Reader] = {}
    for contract in NAMES:
        module = importlib.import_module(f"oracle.chain.bindings.{_snake(contract)}")
        classes: Mapping[str, type[Event]] = getattr(module, contract).EVENTS
        for item in artifacts.load(contract).abi:
            if item["type"] == "event":
                reader = _build(classes[item["name"]], item)
                found[event_abi_to_log_topic(item), reader.indexed + 1] = reader  # type: ignore[arg-type]  # a TypedDict
    return found


def _build(cls: type[Event], item: dict[str, Any]) -> _Reader:
    inputs = item["inputs"]
    indexed = [i for i in inputs if i["indexed"]]
    places: dict[str, int] = {_snake(i["name"]): 32 * n for n, i in enumerate(indexed)}
    base = at = 32 * len(indexed)
    for argument in inputs:
        if not argument["indexed"]:
            places[_snake(argument["name"])] = at
            words = 1 + collapse_if_tuple(argument).count(",") if argument["type"] == "tuple" else 1
            at += 32 * words
    topics = {i["name"]: n + 1 for n, i in enumerate(indexed)}
    target: Any = cls
    hints = typing.get_type_hints(target)
    record = len(hints) == 1 and next((kind for n, kind in hints.items() if n not in places), None)
    if record:  # the arguments are the fields of the event's one field
        target, hints = record, typing.get_type_hints(record)
    plan = [(_read(hints[f.name], base), places[f.name]) for f in fields(target)]
    if record:
        inner = tuple(plan)
        plan = [(lambda w, _: record(*[read(w, at) for read, at in inner]), 0)]
    return _Reader(
        cls, tuple(plan), len(indexed), at, topics.get("requestId"), topics.get("modelId")
    )


def _read(kind: Any, base: int) -> _ReadAt:
    """Return the reader of one value of this type; `base` is where the data begins."""
    read: _ReadAt = _number
    if kind is Request:
        read = lambda w, at: unpack_request(w[at : at + REQUEST_BYTES])  # noqa: E731 -- one name
    elif kind is Address:
        read = lambda w, at: address(w[at + 12 : at + 32])  # noqa: E731
    elif kind in (Bytes32, RequestId):
        read = lambda w, at: w[at : at + 32]  # noqa: E731
    elif kind == tuple[Bytes32, ...]:
        read = lambda w, at: _list(w, base + _number(w, at))  # noqa: E731
    elif kind is Activation:
        read = _signed
    elif kind in (Stamp, Terms):
        read = lambda w, at: kind.unpack(_number(w, at))  # noqa: E731
    elif kind is bytes:
        read = lambda w, at: _tail(w, base + _number(w, at))  # noqa: E731
    elif kind is str:  # whatever a stranger wrote: never let it stop a reader
        read = lambda w, at: _tail(w, base + _number(w, at)).decode(errors="replace")  # noqa: E731
    elif kind == tuple[int, ...]:
        read = lambda w, at: tuple(map(int.from_bytes, _list(w, base + _number(w, at))))  # noqa: E731
    elif is_dataclass(kind):
        read = _read_struct(kind)
    elif isinstance(kind, type) and issubclass(kind, bool | IntEnum):
        read = lambda w, at: kind(_number(w, at))  # noqa: E731
    return read


def _read_struct(kind: Any) -> _ReadAt:
    """Return the reader of a struct of single words, in the order of its fields."""
    hints = typing.get_type_hints(kind)
    reads = [(_read(hints[f.name], 0), 32 * n) for n, f in enumerate(fields(kind))]
    return lambda w, at: kind(*[read(w, at + offset) for read, offset in reads])


def _number(words: bytes, at: int) -> int:
    return int.from_bytes(words[at : at + 32])


def _signed(words: bytes, at: int) -> int:
    return int.from_bytes(words[at : at + 32], signed=True)


def _tail(words: bytes, at: int) -> bytes:
    end = at + 32 + int.from_bytes(words[at : at + 32])
    if end > len(words) or at + 32 > len(words):
        raise ValueError("a dynamic value points outside the log")
    return words[at + 32 : end]


def _list(words: bytes, at: int) -> tuple[bytes, ...]:
    end = at + 32 + 32 * int.from_bytes(words[at : at + 32])
    if end > len(words) or at + 32 > len(words):
        raise ValueError("a list points outside the log")
    return tuple(words[i : i + 32] for i in range(at + 32, end, 32))


def _snake(name: str) -> str:
    text = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return "from_" if text == "from" else text
