"""Asks an operator's responder for its signed receipt and its tensors (docs/operator.md).

```
 GET <endpoint>/traces/{request id}               ─▶ Served      its leaves hash to its trace root
 GET <endpoint>/traces/{request id}/tensors/{op}  ─▶ record      the tensor has the leaf it must
```
The other side may be a liar, slow or hostile: sizes and times are bounded, redirects are not
followed, and nothing is believed that does not hash to a root. Whose signature it is, the caller
asks (`ServedReceipt.signer`, or the chain for contracts).
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address

from oracle.errors import DigestMismatch, InputInvalid, NotFound, PermanentError, Unavailable
from oracle.exact import files
from oracle.exact.commitments import trace_root
from oracle.exact.receipt import receipt
from oracle.exact.tensors import tensor_leaf
from oracle.types import Address, Bytes32, RequestId

MAX_RECEIPT = 1 << 20  # bytes of JSON: 1,023 leaves are 70 kB
MAX_TENSOR = 64 << 20  # bytes, unless the caller knows better
_PIECE = 64 << 10
_OVER, _SLOW_DOWN, _BUSY = 410, 429, 503
_PAUSE = 0.5  # seconds between two questions to somebody who is busy


class TraceOver(PermanentError):
    """The operator says that the window for challenges is over."""


class TraceMalformed(PermanentError):
    """The operator answered something that is no answer."""


@dataclass(frozen=True, slots=True)
class ServedReceipt:
    """What an operator signed about one delivery, with the leaves that its trace root is of."""

    request_id: RequestId
    output_root: Bytes32
    trace_root: Bytes32
    signature: bytes
    leaves: tuple[Bytes32, ...]

    def signer(self, chain_id: int, game: Address) -> Address:
        """Return the account whose signature it is; wallets that are contracts are asked on chain.

        Raises:
            TraceMalformed: no signature of any account.
        """
        words = receipt(
            chain_id=chain_id,
            game=game,
            request_id=self.request_id,
            output_root=self.output_root,
            trace_root=self.trace_root,
        )
        try:
            found = Account.recover_message(
                encode_typed_data(full_message=words), signature=self.signature
            )
        except Exception as error:  # whatever the curve's library says of a stranger's bytes
            raise TraceMalformed(f"the receipt's signature is none: {error!r:.200}") from error
        return Address(to_checksum_address(found))


class TraceClient:
    """One operator's responder. Keeps no connection; safe for threads."""

    def __init__(
        self,
        endpoint: str,
        *,
        timeout: float = 10.0,
        patience: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the endpoint that the operator registered.

        Args:
            timeout: seconds for one answer, from the first byte to the last.
            patience: seconds in which an operator that is busy is asked again.

        Raises:
            InputInvalid: it is not http(s)://host[:port][/path].
        """
        try:
            parts = urlsplit(endpoint)
            self._port = parts.port
        except ValueError as error:
            raise InputInvalid(f"endpoint {endpoint!r:.200}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise InputInvalid(f"endpoint {endpoint!r:.200} is not http(s)://host:port")
        self._secure, self._host = parts.scheme == "https", parts.hostname
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._patience = patience
        self._clock = clock
        self._sleep = sleep

    def receipt(self, request_id: RequestId) -> ServedReceipt:
        """Return what the operator signed about a delivery.

        Raises:
            NotFound: it serves no such delivery. TraceOver: not any more.
            DigestMismatch: the leaves do not hash to the trace root.
            TraceMalformed: no receipt. Unavailable: no answer, or not in time.
        """
        data = self._get(f"/traces/0x{request_id.hex()}", MAX_RECEIPT)
        try:
            served = _served(json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise TraceMalformed(f"{self._host} serves no receipt: {error!r:.200}") from error
        if served.request_id != request_id:
            raise TraceMalformed(f"{self._host} serves the receipt of another request")
        if trace_root(served.leaves) != served.trace_root:
            raise DigestMismatch(f"the leaves that {self._host} serves are not of its trace root")
        return served

    def tensor(
        self,
        request_id: RequestId,
        op: int,
        leaf: Bytes32 | None = None,
        max_bytes: int = MAX_TENSOR,
    ) -> bytes:
        """Return the record of the tensor that operator `op` wrote.

        Args:
            leaf: the tensor leaf that it must have; None = the caller checks.
            max_bytes: of the record; 11 more than the tensor's.

        Raises:
            DigestMismatch: the tensor has another leaf. Others as in `receipt`.
        """
        data = self._get(f"/traces/0x{request_id.hex()}/tensors/{op}", max_bytes)
        if leaf is None:
            return data
        try:
            tensor_id, tree = files.read_output(data)
        except InputInvalid as error:
            raise TraceMalformed(f"{self._host} serves no tensor: {error}") from error
        if tensor_leaf(tensor_id, tree.spec, tree.root) != leaf:
            raise DigestMismatch(f"{self._host} serves another tensor of operator {op}")
        return data

    def _get(self, path: str, max_bytes: int) -> bytes:
        """Ask until there is an answer or the patience is over."""
        deadline = self._clock() + self._patience
        while True:
            status, data = self._ask(path, max_bytes)
            if status == http.client.OK:
                return data
            if status not in (_BUSY, _SLOW_DOWN):
                raise self._refusal(status, data)
            if self._clock() + _PAUSE >= deadline:
                raise Unavailable(f"{self._host} is busy", hint="ask again later")
            self._sleep(_PAUSE)

    def _ask(self, path: str, max_bytes: int) -> tuple[int, bytes]:
        connection = self._connection()
        deadline = self._clock() + self._timeout
        try:
            connection.request("GET", self._prefix + path)
            response = connection.getresponse()
            parts: list[bytes] = []
            size = 0
            while piece := response.read1(_PIECE):
                size += len(piece)
                parts.append(piece)
                if size > max_bytes:
                    raise TraceMalformed(f"{self._host} sends more than {max_bytes} bytes")
                if self._clock() > deadline:
                    raise Unavailable(f"{self._host} is too slow", hint="ask again later")
            if response.length:
                raise Unavailable(f"{self._host} broke off after {size} bytes")
            return response.status, b"".join(parts)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self._host} does not answer: {error!r:.200}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _refusal(self, status: int, data: bytes) -> Exception:
        said = data[:200].decode(errors="replace")
        if status == http.client.NOT_FOUND:
            return NotFound(f"{self._host} serves no such delivery")
        if status == _OVER:
            return TraceOver(f"{self._host}: {said}")
        if status >= http.client.INTERNAL_SERVER_ERROR:
            return Unavailable(f"{self._host} failed with {status}: {said}")
        return TraceMalformed(f"{self._host} answered {status}: {said}")


def _served(body: dict[str, Any]) -> ServedReceipt:
    leaves = tuple(_bytes32(leaf) for leaf in body["leaves"])
    return ServedReceipt(
        RequestId(_bytes32(body["request_id"])),
        _bytes32(body["output_root"]),
        _bytes32(body["trace_root"]),
        _bytes(body["signature"]),
        leaves,
    )


def _bytes32(text: str) -> Bytes32:
    if len(data := _bytes(text)) != 32:
        raise ValueError(f"{text!r:.80} is not 32 bytes")
    return Bytes32(data)


def _bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError(f"{text!r:.80} is not 0x-hex")
    return bytes.fromhex(text[2:])
