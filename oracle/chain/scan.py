"""Reads blocks and logs in order, in ranges that suit the node, and proves that none is missing.

```
  start                                   end - CHECKED                          end
    │◀──────────── deep ───────────────────▶│◀──────────── checked ──────────────▶│
    │  few logs: two answers agree,         │  every header is read: each log is  │
    │  each with the node's own head;       │  of a block on this chain, and each │
    │  many logs: as on the right           │  header's bloom is explained        │
```
A node may lag, answer `[]` for what it does not have, or refuse what is too large, and another one
may answer the next question (docs/adr/016-an-answer-about-logs-is-checked.md). Whoever stores the
blocks can trust the logs, or gets an error that says what did not fit.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from oracle.chain import logs
from oracle.chain.adaptive import AdaptiveSize
from oracle.chain.blocks import (
    Blocks,
    Header,
    belong,
    connect,
    parse_header,
)
from oracle.chain.bloom import bloom_of
from oracle.chain.log_filter import LogFilter
from oracle.chain.rpc import REFUSALS, Node, RpcError, RpcMalformed, check_chain, quantity
from oracle.errors import Unavailable
from oracle.types import Address, BlockRef, Bytes32, Log

CHECKED = 1024  # blocks below the end whose headers are all read
AGAIN = 8  # newest blocks that a follower reads once more when the next ones are there
DENSE = 32  # blocks below the end that are handed out one by one
_FIRST_SPAN = 128  # blocks
_MAX_SPAN = 2**17
_CHECKED_SPAN = 128  # blocks whose headers are read at once
_FAST, _SLOW = 0.5, 4.0  # seconds for one range
_COLLECT_EVERY = 64  # ranges
_MANY_LOGS = 10_000  # about 10 MB of JSON: two of these are in memory at a time


class NodeBehind(Unavailable):
    """The node's head is below what was seen before, on the same history."""

    def __init__(self, head: object, seen: object) -> None:
        super().__init__(
            f"the node is at block {head}, block {seen} was seen before",
            hint="it is syncing, or one of several nodes behind one address lags",
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one range of blocks held."""

    start: int
    end: int
    blocks: tuple[BlockRef, ...]  # ascending; at least the range's first and last one
    logs: tuple[Log, ...]  # in the order of the chain


class Scanner:
    """Reads the logs of some contracts from one node."""

    def __init__(
        self,
        rpc: Node,
        addresses: Sequence[Address],
        topics: Sequence[Bytes32] = (),
        *,
        indexed: Sequence[Sequence[Bytes32] | None] = (),
        blocks: Blocks | None = None,
        checked: int = CHECKED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is read.

        Args:
            addresses: contracts whose logs are read.
            topics: kinds of events (`logs.topic_of`); all when left out.
            indexed: values of the indexed arguments, in their order; None = any.
            blocks: what reads headers; shared by several scanners of one node.
            checked: blocks below the end whose headers are all read.
            clock: seconds, to tell fast ranges from slow ones.
        """
        self._rpc = rpc
        self._wanted = LogFilter.of(addresses, [topics, *indexed])
        self._question = self._wanted.question()
        self._blocks = blocks or Blocks(rpc)
        self._checked = checked
        self._clock = clock
        self._span = AdaptiveSize(_FIRST_SPAN, _MAX_SPAN)
        self._ranges_read = 0

    def question(self) -> dict[str, Any]:
        """Return which logs are read, as `eth_getLogs` takes it."""
        return dict(self._question)

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
        there = newest is not None and raw is not None and _block(raw).hash == newest.hash
        return quantity(head), there

    def block(self, number: int) -> BlockRef | None:
        """Return the block of that number as the chain has it now; None above the head."""
        raw = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return None if raw is None else _block(raw)

    def has(self, block: BlockRef) -> bool:
        """Return whether this very block is on the chain now.

        Raises:
            NodeBehind: no block has that number: this says nothing about which one will.
        """
        found = self.block(block.number)
        if found is None:
            raise NodeBehind(f"below {block.number}", block.number)
        return found.hash == block.hash

    def scan(self, start: int, end: int, parent: BlockRef | None = None) -> Iterator[Chunk]:
        """Yield the blocks from `start` to `end` inclusive, in consecutive ranges.

        Each range is read while the caller works on the one before.

        Args:
            parent: block `start - 1` as the caller knows it, to be connected to.

        Raises:
            Reorganised: the chain changed meanwhile. Chunks that were yielded were one history.
            LogsMissing: the node's logs do not fit its headers.
            RpcError, Unavailable: the node cannot answer even for a single block.
        """
        if start > end:
            return
        ahead = ThreadPoolExecutor(1, "scan")
        try:
            with _no_collection():
                coming = ahead.submit(self._read, start, end)
                while start <= end:
                    answer = coming.result()
                    if answer is not None:
                        start = answer.end + 1
                    if start <= end:
                        coming = ahead.submit(self._read, start, end)
                    if answer is not None:
                        chunk = answer if isinstance(answer, Chunk) else self._proven(answer, end)
                        connect(parent, chunk.blocks[0])
                        parent = chunk.blocks[-1]
                        yield chunk
                        self._collect_at_times()
        finally:
            ahead.shutdown(wait=False, cancel_futures=True)

    def _collect_at_times(self) -> None:
        """Let the cycle collector, which is paused, look at what came in many ranges."""
        self._ranges_read += 1
        if self._ranges_read % _COLLECT_EVERY == 0:
            gc.collect(1)

    # ── Reading ─────────────────────────────────────────────────────────────────────────────────

    def _read(self, start: int, end: int) -> "_Answer | Chunk | None":
        """Read the next range; None when it must be tried smaller."""
        size, border = self._span.value, end - self._checked
        deep = size > _CHECKED_SPAN and start + _CHECKED_SPAN <= border
        stop = min(start + size - 1, border) if deep else start + min(size, _CHECKED_SPAN) - 1
        stop = min(stop, end)
        size, began = stop - start + 1, self._clock()
        try:
            answer = self._deep(start, stop) if deep else self._range(start, stop)
        except REFUSALS:
            if size == 1:
                raise
            self._span.refused(size)
            return None
        if answer is None:
            self._span.shrink(size)
            return None
        took, many = self._clock() - began, len(answer.logs)
        if took > _SLOW or many > _MANY_LOGS:
            self._span.shrink(size)
        elif took < _FAST and (many < size or size < _CHECKED_SPAN):
            self._span.taken(size)
        return answer

    def _range(self, start: int, stop: int) -> "_Answer":
        """Read a range with all its headers."""
        headers = self._blocks.headers(start, stop)
        return _Answer(headers, _list(self._rpc.call("eth_getLogs", self._ask(start, stop))))

    def _deep(self, start: int, stop: int) -> Chunk | None:
        """Read a large range twice; None when answers differ, or headers are worth their cost."""
        first = self._from_one_node(start, stop)
        if first is None or len(first.logs) > stop - start:
            return None
        return first if self._from_one_node(start, stop) == first else None

    def _from_one_node(self, start: int, stop: int) -> Chunk | None:
        """Read a range from a node that shows in the same batch that it has the range's end.

        Returns:
            None when it has not, or gives logs that were not asked for.
        """
        calls: list[tuple[Any, ...]] = [("eth_blockNumber",)]
        calls += [("eth_getBlockByNumber", hex(n), False) for n in (start, stop)]
        answers = self._rpc.batch([*calls, ("eth_getLogs", self._ask(start, stop))])
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        head, first, last, raw = answers
        if quantity(head) < stop or first is None or last is None:
            return None
        found = sorted(map(logs.parse, _list(raw)), key=_place)
        if len({_place(log) for log in found}) < len(found) or not all(
            start <= log.block_number <= stop and self._wanted.takes(log) for log in found
        ):
            return None
        ends = parse_header(first, start).block, parse_header(last, stop).block
        return Chunk(start, stop, ends, tuple(found))

    def _ask(self, start: int, stop: int) -> dict[str, Any]:
        return {**self._question, "fromBlock": hex(start), "toBlock": hex(stop)}

    # ── Checking ────────────────────────────────────────────────────────────────────────────────

    def _proven(self, answer: "_Answer", end: int) -> Chunk:
        """Return a range whose logs are of its blocks, of our contracts, each once, all of them."""
        headers = answer.headers
        by_block = _by_block(answer.logs)
        doubtful = [h for h in headers if not self._fits(by_block.get(h.block.hash, ()), h)]
        if doubtful:
            by_block |= self._blocks.logs(doubtful, self._wanted)
        found = tuple(log for h in headers for log in by_block.get(h.block.hash, ()))
        first, last = headers[0].block, headers[-1].block
        blocks = [h.block for h in headers if h.block.number > end - DENSE]
        return Chunk(first.number, last.number, _with_ends(first, blocks, last), found)

    def _fits(self, found: Sequence[Log], header: Header) -> bool:
        """Say whether logs are surely all of ours that a block holds: no header of a busy chain.

        Together they explain its bloom, and their positions leave no gap.
        """
        if not found:
            return not self._wanted.may_be_in(header.bloom)
        return (
            found[-1].log_index == len(found) - 1
            and belong(found, header)
            and all(map(self._wanted.takes, found))
            and bloom_of(found) == header.bloom
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the node said of a range, not yet parsed."""

    headers: list[Header]
    logs: list[Any]

    @property
    def end(self) -> int:
        """The last block's number."""
        return self.headers[-1].block.number


def _with_ends(first: BlockRef, blocks: list[BlockRef], last: BlockRef) -> tuple[BlockRef, ...]:
    return tuple(dict.fromkeys([first, *blocks, last]))


def _place(log: Log) -> tuple[int, int]:
    return log.block_number, log.log_index


def _by_block(raw: list[Any]) -> dict[bytes, Sequence[Log]]:
    """Return logs by block hash; nothing when one is malformed, so that each block is doubted."""
    found: dict[bytes, Sequence[Log]] = {}
    try:
        for entry in raw:
            log = logs.parse(entry)
            found.setdefault(log.block_hash, []).append(log)  # type: ignore[attr-defined]
    except RpcMalformed:
        return {}
    return found


def _block(raw: Any) -> BlockRef:
    return parse_header(raw).block


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise RpcMalformed(f"the node answered {answer!r:.80}, not a list of logs")
    return answer


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
