"""Hashes that a contract computes too: version heads, request ids, order hashes.

All are keccak256 over 32-byte words; the layouts are drawn in docs/protocol.md.
"""

import functools
from collections.abc import Sequence
from dataclasses import fields

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.address import to_checksum_address

from oracle.errors import InputInvalid
from oracle.protocol.canonical import keccak
from oracle.types import (
    Address,
    Assurance,
    Bytes32,
    Order,
    Request,
    RequestId,
    Terms,
    Timestamp,
)

REQUEST_BYTES = 256
ORDER_TYPE = (  # IInferenceMarket.sol; also its EIP-712 type
    "Order(uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,"
    "bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,"
    "address consumer,uint256 callbackGas,bytes32 envelope)"
)
_HEAD_TYPE = (  # IModelRegistry.sol
    "Head(bytes32 prevHead,uint256 modelId,uint32 version,bytes32 manifestDigest,"
    "bytes32 modelRoot,uint8 assurance,uint64 tolerance,address publisher,uint40 timestamp)"
)


def version_head(  # noqa: PLR0917 -- the record has nine fields
    prev_head: Bytes32,
    model_id: int,
    version: int,
    manifest_digest: Bytes32,
    model_root: Bytes32,
    assurance: Assurance,
    tolerance: int,
    publisher: Address,
    timestamp: Timestamp,
) -> Bytes32:
    """Return the head of a model's history after one more version (IModelRegistry.sol).

    Raises:
        InputInvalid: a value does not fit its Solidity type.
    """
    values = (
        prev_head,
        model_id,
        version,
        manifest_digest,
        model_root,
        int(assurance),
        tolerance,
        publisher,
        timestamp,
    )
    return keccak(_abi(_types(_HEAD_TYPE), values))


def request_id(chain_id: int, market: Address, request: Request) -> RequestId:
    """Return keccak256(abi.encode(chainid, market, request)): no two chains or markets share one.

    Raises:
        InputInvalid: a value does not fit its field.
    """
    return RequestId(
        keccak(_abi(["uint256", "address"], (chain_id, market)) + pack_request(request))
    )


def pack_request(request: Request) -> bytes:
    """Return the 8 words of a request as the market hashes and logs it.

    ```
     word      bit 0              160             200/208         232/240        256
     origin    │ requester u160   │ lane u32 at 160, nonce u64 at 192            │
     service   │ operator u160    │ priorityUntil u40 │ expiresAt u40 │ 0        │
     target    │ consumer u160    │ modelId u48 at 160, version u24 at 208, callbackGas u24 │
     then inputRoot, inputCid, params, envelope, terms
    ```

    Raises:
        InputInvalid: a value does not fit its field.
    """
    words = (
        _word((request.requester, 160), (request.lane, 32), (request.nonce, 64)),
        _word((request.operator, 160), (request.priority_until, 40), (request.expires_at, 40)),
        _word(
            (request.consumer, 160),
            (request.model_id, 48),
            (request.version, 24),
            (request.callback_gas, 24),
        ),
        request.input_root,
        request.input_cid,
        request.params,
        request.envelope,
        _word((request.terms.pack(), 256)),
    )
    for word in words:
        _check_word(word)
    return b"".join(words)


def unpack_request(data: bytes) -> Request:
    """Read the 8 words that `pack_request` makes.

    Raises:
        InputInvalid: not 256 bytes, or bits are set that belong to no field.
    """
    if len(data) != REQUEST_BYTES:
        raise InputInvalid(f"a request has {REQUEST_BYTES} bytes, not {len(data)}")
    origin, service, target = (int.from_bytes(data[at : at + 32], "big") for at in (0, 32, 64))
    roots = [Bytes32(data[at : at + 32]) for at in (96, 128, 160, 192)]
    packed_terms = int.from_bytes(data[224:], "big")
    try:
        terms = Terms.unpack(packed_terms)
    except ValueError as error:
        raise InputInvalid(f"a request's terms are malformed: {error}") from error
    if service >> 240 or terms.pack() != packed_terms:
        raise InputInvalid("a request has bits that belong to no field")
    return Request(
        model_id=_field(target, 160, 48),
        version=_field(target, 208, 24),
        lane=_field(origin, 160, 32),
        nonce=_field(origin, 192, 64),
        requester=_address(origin),
        operator=_address(service),
        priority_until=Timestamp(_field(service, 160, 40)),
        expires_at=Timestamp(_field(service, 200, 40)),
        consumer=_address(target),
        callback_gas=_field(target, 232, 24),
        input_root=roots[0],
        input_cid=roots[1],
        params=roots[2],
        envelope=roots[3],
        terms=terms,
    )


def order_hash(order: Order) -> Bytes32:
    """Return the EIP-712 struct hash of an order.

    Raises:
        InputInvalid: a value does not fit its Solidity type.
    """
    values = [keccak(ORDER_TYPE.encode()), *(getattr(order, f.name) for f in fields(order))]
    return keccak(_abi(["bytes32", *_types(ORDER_TYPE)], values))


def camel_case(name: str) -> str:
    """Return a field's name as the contracts write it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _types(struct: str) -> list[str]:
    return [field.split()[0] for field in struct.partition("(")[2].rstrip(")").split(",")]


def _abi(types: Sequence[str], values: Sequence[int | str | bytes]) -> bytes:
    for kind, value in zip(types, values, strict=True):
        if kind == "bytes32" and isinstance(value, bytes):
            _check_word(value)  # eth_abi would pad a short one
    try:
        return encode(types, values)
    except EncodingError as error:
        raise InputInvalid(f"does not fit the contract's types: {error}") from error


def _word(*fields: tuple[int | str, int]) -> bytes:
    """Pack (value, bits) pairs, the first in the lowest bits."""
    word, at = 0, 0
    for value, bits in fields:
        number = int(value, 16) if isinstance(value, str) else value
        if not 0 <= number < 1 << bits:
            raise InputInvalid(f"{value} does not fit {bits} bits")
        word |= number << at
        at += bits
    return word.to_bytes(32, "big")


def _field(word: int, at: int, bits: int) -> int:
    return word >> at & (1 << bits) - 1


def _address(word: int) -> Address:
    return _checksummed((word & (1 << 160) - 1).to_bytes(20, "big"))


@functools.lru_cache(maxsize=4096)
def _checksummed(raw: bytes) -> Address:
    """Return the checksummed address; remembered, since a checksum costs a hash."""
    return Address(to_checksum_address(raw))


def _check_word(word: bytes) -> None:
    if len(word) != 32:
        raise InputInvalid(f"a digest has 32 bytes, not {len(word)}")
