"""The receipt that an operator signs off chain: what it stands for, as EIP-712 typed data.

docs/exact.md, section 5; `DisputeGame.receiptHash` is the same digest.
"""

from oracle.protocol import eip712
from oracle.types import ZERO32, Address, Bytes32, RequestId


def receipt(
    *,
    chain_id: int,
    game: Address,
    request_id: RequestId,
    output_root: Bytes32,
    trace_root: Bytes32 = ZERO32,
) -> eip712.TypedData:
    """Return the receipt for one request; a zero trace root is "not stated"."""
    words = {"requestId": request_id, "outputRoot": output_root, "traceRoot": trace_root}
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Receipt": [{"name": name, "type": "bytes32"} for name in words],
        },
        "primaryType": "Receipt",
        "domain": eip712.domain("Tallystick", chain_id, game),
        "message": {name: "0x" + word.hex() for name, word in words.items()},
    }
