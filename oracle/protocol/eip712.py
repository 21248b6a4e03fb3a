"""Messages that a wallet signs, as EIP-712 typed data: what a browser or eth_account wants to see.

Each function returns the whole message; its digest names chain and contract, so that a signature
is good for one deployment alone. Sources: EIP-712, EIP-2612, EIP-3009, InferenceMarket.sol,
DataRounds.sol.
"""

from dataclasses import fields
from typing import Any, TypeAlias

from oracle.protocol import records
from oracle.protocol.canonical import keccak
from oracle.protocol.records import ORDER_TYPE
from oracle.types import Address, Amount, Bytes32, Order, Timestamp

TypedData: TypeAlias = dict[str, Any]  # JSON of eth_signTypedData_v4
ALWAYS = Timestamp(0)
FOREVER = Timestamp(2**40 - 1)

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_PERMIT = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
_TRANSFER = (
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    "uint256 validBefore,bytes32 nonce)"
)
_AUTHORIZATION = (
    "RequestAuthorization(address requester,Order order,uint256 nonce,uint256 deadline)"
)
_SUBMISSION = (
    "Submission(address owner,uint256 roundId,bytes32 commitment,uint256 endorserBps,uint256 nonce,"
    "uint256 deadline)"
)


def domain(name: str, chain_id: int, contract: Address, version: str = "1") -> dict[str, Any]:
    """Return the domain of one contract on one chain."""
    return {
        "name": name,
        "version": version,
        "chainId": chain_id,
        "verifyingContract": contract,
    }


def permit(
    *,
    chain_id: int,
    token: Address,
    owner: Address,
    spender: Address,
    value: Amount,
    nonce: int,
    deadline: Timestamp,
    token_name: str = "Test Dollar",  # noqa: S107 -- an ERC-20's name, not a secret
    token_version: str = "1",  # noqa: S107
) -> TypedData:
    """Return an EIP-2612 permit: `spender` may take `value` token units of `owner`."""
    message = {
        "owner": owner,
        "spender": spender,
        "value": value,
        "nonce": nonce,
        "deadline": deadline,
    }
    return _typed(domain(token_name, chain_id, token, token_version), message, _PERMIT)


def transfer_with_authorization(
    *,
    chain_id: int,
    token: Address,
    sender: Address,
    to: Address,
    value: Amount,
    nonce: Bytes32,
    valid_after: Timestamp = ALWAYS,
    valid_before: Timestamp = FOREVER,
    token_name: str = "Test Dollar",  # noqa: S107 -- an ERC-20's name, not a secret
    token_version: str = "1",  # noqa: S107
) -> TypedData:
    """Return an EIP-3009 transfer of `value` token units; `nonce` is random, used once."""
    message = {
        "from": sender,
        "to": to,
        "value": value,
        "validAfter": valid_after,
        "validBefore": valid_before,
        "nonce": "0x" + nonce.hex(),
    }
    return _typed(domain(token_name, chain_id, token, token_version), message, _TRANSFER)


def request_authorization(
    *,
    chain_id: int,
    market: Address,
    requester: Address,
    order: Order,
    nonce: int,
    deadline: Timestamp,
) -> TypedData:
    """Return what `InferenceMarket.requestFor` checks: `requester` wants `order`, others pay gas.

    Args:
        chain_id: of the chain.
        market: address of the InferenceMarket.
        requester: who signs, and whose balance pays the fee.
        order: what is asked for.
        nonce: the market's `nonceOf(requester)`; each request uses one up.
        deadline: unix seconds; the signature is void from then on.
    """
    message = {
        "requester": requester,
        "order": order_message(order),
        "nonce": nonce,
        "deadline": deadline,
    }
    return _typed(domain("Tallystick", chain_id, market), message, _AUTHORIZATION, ORDER_TYPE)


def submission(
    *,
    chain_id: int,
    credits: Address,
    owner: Address,
    round_id: int,
    commitment: Bytes32,
    endorser_bps: int,
    nonce: int,
    deadline: Timestamp,
) -> TypedData:
    """Return what `DataRounds.submitFor` checks: `owner` brings a data set, others pay.

    Args:
        chain_id: of the chain.
        credits: address of DataRounds.
        owner: who signs, and who gets deposit and credit.
        round_id: of the round.
        commitment: to the data set (`training.commitment`).
        endorser_bps: of the credit, offered to endorsers.
        nonce: of the owner's standing at the model; each submission uses one up.
        deadline: unix seconds; the signature is void after them.
    """
    message = {
        "owner": owner,
        "roundId": round_id,
        "commitment": "0x" + commitment.hex(),
        "endorserBps": endorser_bps,
        "nonce": nonce,
        "deadline": deadline,
    }
    return _typed(domain("Tallystick", chain_id, credits), message, _SUBMISSION)


def digest(typed: TypedData) -> Bytes32:
    """Return the 32 bytes that are signed: keccak256(0x1901 ‖ domain separator ‖ struct hash)."""
    from eth_account.messages import encode_typed_data  # noqa: PLC0415 - 0.1 s; who looks signs not

    signable = encode_typed_data(full_message=typed)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def order_message(order: Order) -> dict[str, Any]:
    """Return an order's fields under the contracts' names, bytes as hex."""
    values = {records.camel_case(f.name): getattr(order, f.name) for f in fields(order)}
    return {k: "0x" + v.hex() if isinstance(v, bytes) else v for k, v in values.items()}


def _typed(domain_: dict[str, Any], message: dict[str, Any], *structs: str) -> TypedData:
    """Assemble a message whose primary type is the first struct."""
    return {
        "types": dict(_fields(struct) for struct in (_DOMAIN, *structs)),
        "primaryType": structs[0].partition("(")[0],
        "domain": domain_,
        "message": message,
    }


def _fields(struct: str) -> tuple[str, list[dict[str, str]]]:
    """Read `Name(type field,…)`."""
    name, _, body = struct.partition("(")
    parts = [field.split() for field in body.rstrip(")").split(",")]
    return name, [{"name": field, "type": kind} for kind, field in parts]
