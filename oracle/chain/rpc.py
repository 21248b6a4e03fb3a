"""Raw JSON-RPC to an Ethereum node: time-outs, retries of reads, answers that are none.

Knows nothing of contracts. Its connections (http_pool.py) belong to one process: make an `Rpc`
after a fork.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)
from urllib3 import exceptions

from oracle.chain.adaptive import AdaptiveSize
from oracle.chain.http_pool import Http, HttpPool
from oracle.errors import ConfigInvalid, PermanentError, Unavailable

T = TypeVar("T")
BlockId = int | bytes | str  # number, hash (EIP-1898) or tag

# Methods that change something are sent once: whoever sends them knows what a repeat would do.
_UNSAFE_PREFIXES = ("eth_send", "evm_", "anvil_", "hardhat_")
_OVERLOADED = (-32005, 429)  # EIP-1474: limit exceeded; HTTP's number, which providers put there
_MOST_CALLS = 1000  # in one batch


class RpcUnavailable(Unavailable):
    """The node cannot be reached, did not answer in time, or is overloaded."""


class RpcTimeout(RpcUnavailable):
    """The node did not answer in time: a smaller question may do better than the same again."""


class RpcBusy(RpcUnavailable):
    """A server is there and refuses, by HTTP status, error code or by hanging up."""


class RpcMalformed(Unavailable):
    """The node answered something that is not JSON-RPC; a proxy in between often does."""


class RpcError(PermanentError):
    """The node answered with an error.

    Attributes:
        code: JSON-RPC code; 3 is a reverted execution.
        data: whatever came along; for a revert the revert data as 0x-hex.
    """

    def __init__(self, code: int, message: str, data: Any = None, *, hint: str = "") -> None:
        super().__init__(f"the node refused: {message} (code {code})", hint=hint)
        self.code = code
        self.message = message
        self.data = data


# What may be an answer to the size of a question. Providers' codes and wordings have no standard,
# so none is read: whatever is refused is asked again in smaller parts, down to one.
REFUSALS = (RpcError, RpcTimeout, RpcBusy, RpcMalformed)


class WrongChain(ConfigInvalid):
    """The node serves another chain than the one the contracts are on."""


class Node(Protocol):
    """Port to a chain: `Rpc` over HTTP, `MemoryNode` (memory.py) for tests and experiments."""

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call."""

    def batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of many (method, *params), in order.

        A call that the node refused yields its `RpcError` in place of a result.
        """


class Rpc:
    """JSON-RPC over HTTP. Safe to share between threads, not between processes."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 20.0,
        attempts: int = 4,
        backoff: float = 0.1,
        http: Http | None = None,
    ) -> None:
        """Prepare the client; nothing is sent.

        Args:
            url: http(s) endpoint. Its path and user part may be secret and are never logged.
            timeout: seconds for one attempt.
            attempts: how often a read is tried before the error is raised.
            backoff: seconds of the first, randomised and doubling pause between attempts.
            http: replaces the network, for tests.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigInvalid(
                "the RPC address is not an http(s) URL",
                hint="set TALLYSTICK_RPC_URL, for example http://127.0.0.1:8545",
            )
        self.url = url
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._http = http or HttpPool(url, timeout)
        self._retrying = Retrying(
            retry=retry_if_exception_type((RpcUnavailable, RpcMalformed))
            & retry_if_not_exception_type(RpcTimeout),
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=backoff, max=5),
            reraise=True,
        )
        self._batch_size = AdaptiveSize(_MOST_CALLS, _MOST_CALLS)

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call.

        Raises:
            RpcError: the node refused. RpcUnavailable, RpcMalformed: after the last attempt.
        """
        body = _encode([_envelope(0, method, params)])[1:-1]
        result = self._attempt((method,), lambda: _result(self._post(body, dict), 0))
        if isinstance(result, RpcError):
            raise result
        return result

    def batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of many (method, *params), in order; in one round trip where it can.

        A node that refuses batches of this size is asked in smaller ones, at last call by call.
        A call that the node refused yields its `RpcError` in place of a result.

        Raises:
            RpcUnavailable, RpcMalformed: even for one call, after the last attempt.
        """
        if any(call[0].startswith(_UNSAFE_PREFIXES) for call in calls):
            return self._batch(calls)  # sent once, and so never in parts
        answers: list[Any] = []
        while len(answers) < len(calls):
            part = calls[len(answers) : len(answers) + self._batch_size.value]
            try:
                answers += self._batch(part) if len(part) > 1 else [self._alone(part[0])]
            except REFUSALS:
                if len(part) == 1:
                    raise
                self._batch_size.refused(len(part))
            else:
                self._batch_size.taken(len(part))
        return answers

    def _alone(self, call: tuple[Any, ...]) -> Any:
        try:
            return self.call(*call)
        except RpcError as error:
            return error

    def _batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        body = _encode([_envelope(i, call[0], call[1:]) for i, call in enumerate(calls)])

        def once() -> list[Any]:
            answers = self._post(body, list)
            by_id = {a.get("id"): a for a in answers if isinstance(a, dict)}
            return [_result(by_id.get(i), i) for i in range(len(calls))]

        return self._attempt([call[0] for call in calls], once)

    def chain_id(self) -> int:
        """Return the chain id that the node serves."""
        return quantity(self.call("eth_chainId"))

    def expect_chain(self, chain_id: int) -> None:
        """Raise WrongChain unless the node serves this chain."""
        expect_chain(self, chain_id)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def __enter__(self) -> "Rpc":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, methods: Sequence[str], once: Callable[[], T]) -> T:
        if any(method.startswith(_UNSAFE_PREFIXES) for method in methods):
            return once()
        return self._retrying(once)

    def _post(self, body: bytes, kind: type[Any]) -> Any:
        try:
            status, content = self._http.post(body)
        except exceptions.ReadTimeoutError as error:
            raise RpcTimeout(
                f"{self.name} did not answer in time", hint="is the node overloaded or syncing?"
            ) from error
        except exceptions.HTTPError as error:
            if isinstance(error, exceptions.ProtocolError | exceptions.DecodeError):
                raise RpcBusy(f"{self.name} broke off: {type(error).__name__}") from error
            raise RpcUnavailable(
                f"cannot reach the node at {self.name}: {type(error).__name__}",
                hint="start one with `tallystick up`, or set TALLYSTICK_RPC_URL",
            ) from error
        if status == 429 or status >= 500:
            raise RpcBusy(f"{self.name} answered HTTP {status}")
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise RpcMalformed(
                f"{self.name} answered HTTP {status} without JSON",
                hint="is this the address of an Ethereum JSON-RPC endpoint?",
            ) from error
        if isinstance(answer, kind):
            return answer
        if kind is list and isinstance(answer, dict) and "error" in answer:
            raise _result(answer, answer.get("id"))  # the batch as a whole was refused
        raise RpcMalformed(f"{self.name} answered a {type(answer).__name__}, not JSON-RPC")


def expect_chain(node: Node, chain_id: int) -> None:
    """Raise WrongChain unless the node serves this chain."""
    check_chain(quantity(node.call("eth_chainId")), chain_id)


def check_chain(found: int, chain_id: int) -> None:
    """Raise WrongChain unless the chain that a node named is this one."""
    if found != chain_id:
        raise WrongChain(
            f"the node serves chain {found}, the contracts are on chain {chain_id}",
            hint="point TALLYSTICK_RPC_URL at a node of the right chain",
        )


def block_param(block: BlockId) -> str | dict[str, Any]:
    """Return the block parameter of a read: number, tag, or hash pinned as in EIP-1898."""
    if isinstance(block, int):
        return hex(block)
    if isinstance(block, bytes):
        return {"blockHash": "0x" + block.hex(), "requireCanonical": True}
    return block


def quantity(value: Any) -> int:
    """Read a JSON-RPC quantity ("0x1f").

    Raises:
        RpcMalformed: it is not one.
    """
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise RpcMalformed(f"the node answered {value!r:.80} where a number belongs") from error


def hexbytes(value: Any, size: int | None = None) -> bytes:
    """Read JSON-RPC bytes ("0x…"), of exactly `size` bytes when given.

    Raises:
        RpcMalformed: it is not that.
    """
    try:
        if value[:2] != "0x":
            raise ValueError
        data = bytes.fromhex(value[2:])
    except (TypeError, ValueError) as error:
        raise RpcMalformed(f"the node answered {value!r:.80} where bytes belong") from error
    if size is not None and len(data) != size:
        raise RpcMalformed(f"the node answered {len(data)} bytes where {size} belong")
    return data


def _envelope(call_id: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": list(params)}


def _encode(envelopes: list[dict[str, Any]]) -> bytes:
    return json.dumps(envelopes, separators=(",", ":")).encode()


def _result(answer: Any, call_id: Any) -> Any:
    """Return the result, or (not raise) the node's RpcError."""
    if not isinstance(answer, dict):
        raise RpcMalformed("the node's answer belongs to no call")
    error = answer.get("error")
    if answer.get("id") != call_id and (error is None or answer.get("id") is not None):
        raise RpcMalformed("the node's answer belongs to no call")
    if error is not None:
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            raise RpcMalformed(f"the node's error is malformed: {error!r:.80}")
        if error["code"] in _OVERLOADED:
            raise RpcBusy(f"the node is at its limit: {error.get('message')}")
        return RpcError(error["code"], str(error.get("message", "")), error.get("data"))
    if "result" not in answer:
        raise RpcMalformed("the node's answer has neither result nor error")
    return answer["result"]
