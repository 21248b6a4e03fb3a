"""Asks an account that is a contract whether it signed (ERC-1271)."""

from eth_abi.abi import encode

from oracle.chain.rpc import Node, RpcError, hexbytes
from oracle.protocol.canonical import keccak
from oracle.types import Address, Bytes32

_SELECTOR = keccak(b"isValidSignature(bytes32,bytes)")[:4]


def signed_by_contract(
    rpc: Node, account: Address, digest: Bytes32, signature: bytes, *, gas: int | None = None
) -> bool:
    """Return whether a contract calls this its signature; False where no contract is.

    Args:
        gas: that the contract may take for it; None = what the node allows.
    """
    call = _SELECTOR + encode(["bytes32", "bytes"], [digest, signature])
    question = {"to": account, "data": "0x" + call.hex()}
    if gas is not None:
        question["gas"] = hex(gas)
    try:
        answer = hexbytes(rpc.call("eth_call", question, "latest"))
    except RpcError:  # it reverted
        return False
    return answer[:32] == _SELECTOR.ljust(32, b"\0")
