"""What operators serve of their traces: an error counts as "not served".

The chain makes an operator show what it does not serve, so nothing here is an error.
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from oracle.chain.bindings.dispute_game import Receipt
from oracle.errors import InputInvalid, TallystickError
from oracle.services.traces import TraceClient
from oracle.types import Bytes32, RequestId


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt with the leaves behind its trace root, () when they were not served."""

    receipt: Receipt
    leaves: tuple[Bytes32, ...]


class TraceSource(Protocol):
    """What operators serve off chain. Whatever is wrong with it or on the way is None."""

    def receipt(self, endpoint: str, request_id: RequestId) -> SignedReceipt | None:
        """Return the signed roots with the trace's leaves; nothing of it is checked."""

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        """Return the record, `size` bytes, of the tensor that an operator of the program wrote."""


class EndpointTraces(TraceSource):
    """The endpoints that operators registered."""

    def __init__(self, *, timeout: float = 10.0, patience: float = 30.0) -> None:
        """Take bounds, in seconds: of one answer, and of asking an operator that is busy."""
        self._timeout = timeout
        self._patience = patience
        self._log: Any = structlog.get_logger("tallystick.challenger")

    def receipt(self, endpoint: str, request_id: RequestId) -> SignedReceipt | None:
        try:
            served = self._client(endpoint).receipt(request_id)
        except TallystickError as error:
            self._log.debug("receipt_missing", request_id=request_id, error=str(error))
            return None
        receipt = Receipt(served.output_root, served.trace_root, served.signature)
        return SignedReceipt(receipt, served.leaves)

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        try:
            return self._client(endpoint).tensor(request_id, op, max_bytes=size)
        except TallystickError as error:
            self._log.debug("tensor_missing", request_id=request_id, op=op, error=str(error))
            return None

    def _client(self, endpoint: str) -> TraceClient:
        return TraceClient(endpoint, timeout=self._timeout, patience=self._patience)


def parse_receipt(body: bytes) -> SignedReceipt:
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
    return SignedReceipt(receipt, tuple(Bytes32(leaf) for leaf in leaves))


def _bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("not 0x-hex")
    return bytes.fromhex(text[2:])
