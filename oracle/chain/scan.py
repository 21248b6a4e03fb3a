"""Reads blocks and logs in order, in ranges that suit the node, and never mixes two histories.

```
  start                                        end - DENSE                end
    │◀── far below the end: large ranges ──────────▶│◀── block by block ───▶│
    │  ends of range │ logs of range │ both again   │  headers, then logs by block hash
```
A range's logs count only if two things hold. Its first and last block have the same hashes before
and after the logs were read, and the first block follows the last one of the range before. Near the
end every block is asked for by its hash. Whoever stores the blocks can trust the logs.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from oracle.chain import logs
from oracle.chain.rpc import (
    Node,
    RpcError,
    RpcMalformed,
    RpcTimeout,
    check_chain,
    hexbytes,
    quantity,
)
from oracle.errors import TransientError
from oracle.types import Address, BlockRef, Bytes32, Log, Timestamp

DENSE = 32  # blocks below the end that are read one by one, with their headers
_FIRST_SPAN = 64  # blocks
_MAX_SPAN = 2**17
_FAST, _SLOW = 0.5, 4.0  # seconds for one range
_COLLECT_EVERY = 64  # ranges
_MANY_LOGS = 10_000  # about 10 MB of JSON: two of these are in memory at a time


class Reorganised(TransientError):
    """The chain changed while it was read: compare the hashes you know, then read again."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one range of blocks held."""

    start: int
    end: int
    blocks: tuple[BlockRef, ...]  # ascending; at least the last one of the range
    logs: tuple[Log, ...]  # in the order of the chain


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the node said of a large range, not yet parsed."""

    last: BlockRef  # of the range
    logs: list[Any]


class Scanner:
    """Reads the logs of some contracts from one node."""

    def __init__(
        self,
        rpc: Node,
        addresses: Sequence[Address],
        topics: Sequence[Bytes32] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is read.

        Args:
            addresses: contracts whose logs are read.
            topics: kinds of events (`logs.topic_of`); all when left out.
            clock: seconds, to tell fast ranges from slow ones.
        """
        self._rpc = rpc
        self._filter: dict[str, Any] = {"address": list(addresses)}
        if topics:
            self._filter["topics"] = [["0x" + topic.hex() for topic in topics]]
        self._clock = clock
        self._span = _FIRST_SPAN
        self._ranges_read = 0

    def head(self) -> int:
        """Return the number of the newest block."""
        return quantity(self._rpc.call("eth_blockNumber"))

    def look(self, chain_id: int, newest: BlockRef | None) -> tuple[int, bool]:
        """Return the head's number, and whether a block known as newest is on the chain: one trip.

        Raises:
            WrongChain: the node serves another chain.
        """
        number = hex(newest.number) if newest else "earliest"
        answers = self._rpc.batch(
            [("eth_chainId",), ("eth_blockNumber",), ("eth_getBlockByNumber", number, False)]
        )
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        served, head, raw = answers
        check_chain(quantity(served), chain_id)
        there = newest is not None and raw is not None and parse_block(raw).hash == newest.hash
        return quantity(head), there

    def block(self, number: int) -> BlockRef | None:
        """Return the block of that number as the chain has it now; None above the head."""
        raw = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return None if raw is None else parse_block(raw)

    def has(self, block: BlockRef) -> bool:
        """Return whether this very block is on the chain now."""
        found = self.block(block.number)
        return found is not None and found.hash == block.hash

    def scan(self, start: int, end: int, parent: BlockRef | None = None) -> Iterator[Chunk]:
        """Yield the blocks from `start` to `end` inclusive, in consecutive ranges.

        Args:
            parent: block `start - 1` as the caller knows it, to be connected to.

        Raises:
            Reorganised: the chain changed meanwhile. Chunks that were yielded were one history.
            RpcError, Unavailable: the node cannot answer even for a single block.
        """
        with _no_collection():
            if start <= end - DENSE:
                for chunk in self._ranges(start, end - DENSE, parent):
                    yield chunk
                    start, parent = chunk.end + 1, chunk.blocks[-1]
            while start <= end:
                chunk = self._block_by_block(start, min(start + DENSE - 1, end), parent)
                yield chunk
                start, parent = chunk.end + 1, chunk.blocks[-1]

    def _ranges(self, start: int, end: int, parent: BlockRef | None) -> Iterator[Chunk]:
        """Read large ranges, each one while the caller works on the one before."""
        ahead = ThreadPoolExecutor(1, "scan")
        try:
            coming = ahead.submit(self._range, start, min(start + self._span - 1, end))
            while start <= end:
                first, answer = coming.result()
                if answer is not None:
                    start = answer.last.number + 1
                if start <= end:
                    coming = ahead.submit(self._range, start, min(start + self._span - 1, end))
                if answer is not None:
                    _connect(parent, first)
                    parent = answer.last
                    yield Chunk(first.number, parent.number, (parent,), _parse_all(answer.logs))
                    self._collect_at_times()
        finally:
            ahead.shutdown(wait=False, cancel_futures=True)

    def _collect_at_times(self) -> None:
        """Let the cycle collector, which is paused, look at what came in many ranges."""
        self._ranges_read += 1
        if self._ranges_read % _COLLECT_EVERY == 0:
            gc.collect(1)

    def _range(self, start: int, end: int) -> tuple[BlockRef, "_Answer | None"]:
        """Read a large range at once; no answer when it was too large and must be tried smaller.

        Returns:
            The range's first block, which the caller connects to the one below, and the answer.
        """
        ends = self._blocks([start, end])
        began = self._clock()
        try:
            question = {**self._filter, "fromBlock": hex(start), "toBlock": hex(end)}
            found = _list(self._rpc.call("eth_getLogs", question))
        except (RpcError, RpcTimeout, RpcMalformed):
            if start == end:
                raise
            self._span = (end - start + 1) // 2
            return ends[0], None
        took = self._clock() - began
        if self._blocks([start, end]) != ends:  # both: the first pair may be of two histories
            raise Reorganised(f"blocks {start} to {end} changed while their logs were read")
        if took > _SLOW or len(found) > _MANY_LOGS:
            self._span = max(1, self._span // 2)
        elif took < _FAST and len(found) < _MANY_LOGS // 2:
            self._span = min(2 * self._span, _MAX_SPAN)
        return ends[0], _Answer(ends[1], found)

    def _block_by_block(self, start: int, end: int, parent: BlockRef | None) -> Chunk:
        blocks = self._blocks(range(start, end + 1))
        for block in blocks:
            _connect(parent, block)
            parent = block
        calls = [
            ("eth_getLogs", {**self._filter, "blockHash": "0x" + block.hash.hex()})
            for block in blocks
        ]
        answers = self._rpc.batch(calls)
        for block, answer in zip(blocks, answers, strict=True):
            if isinstance(answer, RpcError):
                raise Reorganised(f"block {block.number} vanished: {answer.message}") from answer
        found = tuple(log for answer in answers for log in _parse_all(answer))
        return Chunk(start, end, tuple(blocks), found)

    def _blocks(self, numbers: Sequence[int]) -> list[BlockRef]:
        answers = self._rpc.batch([("eth_getBlockByNumber", hex(n), False) for n in numbers])
        blocks = []
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, RpcError):
                raise answer
            if answer is None:
                raise Reorganised(f"block {number} is not there")
            blocks.append(parse_block(answer))
        return blocks


def parse_block(raw: Any) -> BlockRef:
    """Read a block of `eth_getBlockByNumber`.

    Raises:
        RpcMalformed: it is not one.
    """
    try:
        return BlockRef(
            quantity(raw["number"]),
            Bytes32(hexbytes(raw["hash"], 32)),
            Bytes32(hexbytes(raw["parentHash"], 32)),
            Timestamp(quantity(raw["timestamp"])),
        )
    except (TypeError, KeyError) as error:
        raise RpcMalformed(f"the node answered {raw!r:.80}, not a block") from error


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise RpcMalformed(f"the node answered {answer!r:.80}, not a list of logs")
    return answer


def _parse_all(answer: Any) -> tuple[Log, ...]:
    return tuple([logs.parse(raw) for raw in _list(answer)])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector: logs make no cycles, and looking for them costs a quarter."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _connect(parent: BlockRef | None, block: BlockRef) -> None:
    if parent is None or block.number != parent.number + 1:
        return
    if block.parent_hash != parent.hash:
        raise Reorganised(f"block {block.number} does not stand on the block known below it")
