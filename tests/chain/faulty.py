"""A chain in memory behind nodes that fail, lag, forget and crash: what a sender is played against.

Two nodes answer in turn, each so many blocks behind; one may be on a fork that is dead. What the
faults leave true is the promise that a sender may rely on: blocks as deep as `confirmations` stay,
and a definite refusal is a refusal.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from oracle.chain.memory import MemoryNode
from oracle.chain.rpc import RpcError, RpcMalformed, RpcTimeout, RpcUnavailable

DEFINITE = (
    RpcError(-32000, "exceeds block gas limit"),
    RpcError(-32000, "transaction underpriced"),
    RpcError(-32003, "insufficient funds for gas * price + value"),
)
OPEN = (
    RpcError(-32603, "request timed out"),
    RpcError(-32000, "internal error"),
    RpcError(-32010, "upstream timeout"),
    RpcError(429, "your app has exceeded its compute units per second capacity"),
    RpcError(-32000, "txpool is full"),
    RpcError(-32000, "future transaction tries to replace pending"),
    RpcError(-32000, "nonce too low: next nonce 99, tx nonce 9"),
    RpcError(-32000, "OldNonce"),
    RpcError(-32000, "already known"),
    RpcError(-32000, "a wording of tomorrow"),
    RpcUnavailable("HTTP 503"),
    RpcTimeout("no answer in time"),
    RpcMalformed("HTTP 200 without JSON"),
)


class Crash(BaseException):
    """The process is gone."""


class Crashing:
    """Passes calls on to a target and crashes at one of them, before or after its effect."""

    def __init__(self, target: Any, steps: Iterator[int], crash_at: int, after: bool) -> None:
        self._target, self._steps, self._crash_at, self._after = target, steps, crash_at, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def passed_on(*args: Any) -> Any:
            crash = next(self._steps) == self._crash_at
            if crash and not self._after:
                raise Crash
            result = method(*args)
            if crash:
                raise Crash
            return result

        return passed_on


@dataclass
class FaultyNodes:
    """The `Node` port over one chain, through nodes that fail as they are told."""

    chain: MemoryNode
    lags: list[int] = field(default_factory=lambda: [0, 0])  # blocks, of each node
    parts: int = 100  # calls of a batch that one node answers
    late: int = 0  # blocks until a transaction is found by its hash, and has a receipt
    fork: MemoryNode | None = None  # that is dead, and the second node is on
    broadcasts: list[tuple[Exception, bool]] = field(default_factory=list)  # error, taken first
    reads: list[int] = field(default_factory=list)  # requests until one fails
    _turn: int = 0

    def heal(self) -> None:
        """Be one node that works from here on."""
        self.lags, self.late, self.parts, self.fork = [0, 0], 0, 100, None
        self.broadcasts, self.reads = [], []

    def reorg(self, depth: int, *, keep: bool) -> None:
        """Replace the last blocks; the second node does not notice."""
        self.fork = self.chain.behind(0)
        self.chain.reorg(depth, keep=keep)

    def call(self, method: str, *params: Any) -> Any:
        """Answer one call."""
        if method == "eth_sendRawTransaction":
            return self._broadcast(method, *params)
        (answer,) = self.batch([(method, *params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answer many calls, each part of them by one node."""
        parts = [calls[at : at + self.parts] for at in range(0, len(calls), self.parts)]
        return [answer for part in parts for answer in self._part(part)]

    def _part(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        self.reads = [left - 1 for left in self.reads]
        if self.reads and self.reads[0] < 0:
            del self.reads[0]
            raise RpcUnavailable("HTTP 503")
        self._turn = (self._turn + 1) % 2
        chain = self.fork if self._turn and self.fork is not None else self.chain
        node = chain.behind(self.lags[self._turn])
        newest = int(node.call("eth_blockNumber"), 16) - self.late
        return [
            None if call[0].startswith("eth_getTransaction") and _after(answer, newest) else answer
            for call, answer in zip(calls, node.batch(calls), strict=True)
        ]

    def _broadcast(self, method: str, raw: str) -> Any:
        if not self.broadcasts:
            return self.chain.call(method, raw)
        error, taken = self.broadcasts.pop(0)
        if taken:
            with contextlib.suppress(RpcError):  # hidden by the error that is told
                self.chain.call(method, raw)
        raise error


def _after(answer: Any, block: int) -> bool:
    number = answer.get("blockNumber") if isinstance(answer, dict) else None
    return number is not None and int(number, 16) > block
