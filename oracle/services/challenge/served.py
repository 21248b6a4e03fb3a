"""What operators serve, as the engine asks for it: whatever goes wrong is the same as nothing.

The chain makes an operator show what it does not serve, so nothing here is an error.
"""

import json
from typing import Any

import structlog

from oracle.chain.dispute_game import Receipt
from oracle.errors import InputInvalid, TallystickError
from oracle.services.challenge.engine import Traces
from oracle.services.challenge.memory import Signed
from oracle.services.traces import TraceClient
from oracle.types import Bytes32, RequestId


class EndpointTraces(Traces):
    """The endpoints that operators registered."""

    def __init__(self, *, timeout: float = 10.0, patience: float = 30.0) -> None:
        """Take bounds, in seconds: of one answer, and of asking an operator that is busy."""
        self._timeout = timeout
        self._patience = patience
        self._log: Any = structlog.get_logger("tallystick.challenger")

    def receipt(self, endpoint: str, request_id: RequestId) -> Signed | None:
        try:
            served = self._client(endpoint).receipt(request_id)
        except TallystickError as error:
            self._log.debug("receipt_missing", request_id=request_id, error=str(error))
            return None
        receipt = Receipt(served.output_root, served.trace_root, served.signature)
        return Signed(receipt, served.leaves)

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        try:
            return self._client(endpoint).tensor(request_id, op, max_bytes=size)
        except TallystickError as error:
            self._log.debug("tensor_missing", request_id=request_id, op=op, error=str(error))
            return None

    def _client(self, endpoint: str) -> TraceClient:
        return TraceClient(endpoint, timeout=self._timeout, patience=self._patience)


def parse_receipt(body: bytes) -> Signed:
    """Read a receipt as operators serve it; whose it is, is not looked at.

    Raises:
        InputInvalid: it is none.
    """
    try:
        value = json.loads(body)
        words = [_bytes(value[name]) for name in ("output_root", "trace_root")]
        leaves = [_bytes(leaf) for leaf in value.get("leaves", [])]
        if any(len(word) != 32 for word in (*words, *leaves)):
            raise ValueError("a root or leaf has not 32 bytes")
        receipt = Receipt(Bytes32(words[0]), Bytes32(words[1]), _bytes(value["signature"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputInvalid(
            f"not a receipt: {error!r:.200}", hint="JSON as operators serve it: docs/exact.md"
        ) from error
    return Signed(receipt, tuple(Bytes32(leaf) for leaf in leaves))


def _bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("not 0x-hex")
    return bytes.fromhex(text[2:])
