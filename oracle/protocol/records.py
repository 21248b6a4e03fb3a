"""Hashes that a contract computes too: version heads, request ids, order hashes.

All are keccak256 over ABI-encoded words; layouts are in docs/protocol.md.
"""

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from oracle.errors import InputInvalid
from oracle.protocol.canonical import keccak
from oracle.types import Address, Assurance, Bytes32, Order, Request, RequestId, Timestamp

_HEAD_TYPE = (  # IModelRegistry.sol
    "Head(bytes32 prevHead,uint256 modelId,uint32 version,bytes32 manifestDigest,"
    "bytes32 modelRoot,uint8 assurance,uint64 tolerance,address publisher,uint40 timestamp)"
)
_REQUEST_TYPE = (  # IInferenceMarket.sol
    "Request(uint64 modelId,uint32 version,uint32 lane,uint64 nonce,address requester,"
    "address operator,uint40 priorityUntil,uint40 expiresAt,address consumer,uint32 callbackGas,"
    "bytes32 inputRoot,bytes32 inputCid,bytes32 params,bytes32 envelope,uint256 terms)"
)
ORDER_TYPE = (  # IInferenceMarket.sol; also its EIP-712 type
    "Order(uint64 modelId,uint32 version,uint32 lane,bytes32 inputRoot,bytes32 inputCid,"
    "bytes32 params,uint64 maxFee,uint32 priorityWindow,uint32 lifetime,address operator,"
    "address consumer,uint32 callbackGas,bytes32 envelope)"
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
        InputInvalid: a value does not fit its Solidity type.
    """
    types = ["uint256", "address", *_types(_REQUEST_TYPE)]
    return RequestId(keccak(_abi(types, (chain_id, market, *request_fields(request)))))


def order_hash(order: Order) -> Bytes32:
    """Return the EIP-712 struct hash of an order.

    Raises:
        InputInvalid: a value does not fit its Solidity type.
    """
    values = (keccak(ORDER_TYPE.encode()), *order_fields(order))
    return keccak(_abi(["bytes32", *_types(ORDER_TYPE)], values))


def request_fields(request: Request) -> tuple[int | str | bytes, ...]:
    """Return a request's fields in the order of the Solidity struct, terms as one word."""
    return (
        request.model_id,
        request.version,
        request.lane,
        request.nonce,
        request.requester,
        request.operator,
        request.priority_until,
        request.expires_at,
        request.consumer,
        request.callback_gas,
        request.input_root,
        request.input_cid,
        request.params,
        request.envelope,
        request.terms.pack(),
    )


def order_fields(order: Order) -> tuple[int | str | bytes, ...]:
    """Return an order's fields in the order of the Solidity struct."""
    return (
        order.model_id,
        order.version,
        order.lane,
        order.input_root,
        order.input_cid,
        order.params,
        order.max_fee,
        order.priority_window,
        order.lifetime,
        order.operator,
        order.consumer,
        order.callback_gas,
        order.envelope,
    )


def _types(struct: str) -> list[str]:
    return [field.split()[0] for field in struct.partition("(")[2].rstrip(")").split(",")]


def _abi(types: list[str], values: tuple[int | str | bytes, ...]) -> bytes:
    for kind, value in zip(types, values, strict=True):
        if kind == "bytes32" and isinstance(value, bytes) and len(value) != 32:
            raise InputInvalid(f"a digest has 32 bytes, not {len(value)}")  # eth_abi would pad
    try:
        return encode(types, values)
    except EncodingError as error:
        raise InputInvalid(f"does not fit the contract's types: {error}") from error
