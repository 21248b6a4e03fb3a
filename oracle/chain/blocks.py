"""Headers that stand on each other, and all logs of a block as its header proves them.

Several nodes may answer behind one address: one that lags does not know a block, or says that it
holds nothing. So what is missing is asked for again, and nothing counts that a header contradicts.
"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain import logs
from oracle.chain.bloom import bloom_of
from oracle.chain.log_filter import LogFilter
from oracle.chain.rpc import Node, RpcError, RpcMalformed, hexbytes, quantity
from oracle.errors import TransientError, Unavailable
from oracle.types import BlockRef, Bytes32, Log, Timestamp

_TRIES = 5  # of a question whose answer does not fit; another node may get the next one
_PAUSE = 0.05  # seconds before the second try; doubles
_KEPT_LOGS = 256  # blocks whose logs are remembered


class Reorganised(TransientError):
    """The chain changed while it was read: compare the hashes you know, then read again."""


class LogsMissing(Unavailable):
    """The node gives logs that do not fit the block's header, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Header:
    """One block, and which logs it can hold."""

    block: BlockRef
    bloom: int


class Blocks:
    """One node's headers and logs of blocks. The newest are kept: a repetition costs one header."""

    def __init__(
        self, rpc: Node, kept: int = 0, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Prepare; nothing is read.

        Args:
            kept: headers to remember.
            pause: waits some seconds before a question is repeated.
        """
        self._rpc = rpc
        self._kept = kept
        self._pause = pause
        self._known: dict[int, Header] = {}  # consecutive, each standing on the one below
        self._logs: OrderedDict[bytes, tuple[Log, ...]] = OrderedDict()  # by block hash

    def headers(self, start: int, end: int) -> list[Header]:
        """Return the headers of these blocks, each standing on the one before.

        Raises:
            Reorganised: they do not, or one is not there.
        """
        known = self._known
        if known and min(known) <= start <= max(known):
            top = min(max(known), end)
            fresh = self._fetch(range(top, end + 1))
            if fresh[0].block.hash == known[top].block.hash:
                return self._keep([known[n] for n in range(start, top)] + fresh)
        return self._keep(self._fetch(range(start, end + 1)))

    def _keep(self, headers: list[Header]) -> list[Header]:
        if self._kept:
            first, before = headers[0].block, self._known
            below = before.get(first.number - 1)
            joins = below is not None and below.block.hash == first.parent_hash
            known = {n: h for n, h in before.items() if joins and n < first.number}
            known |= {header.block.number: header for header in headers}
            oldest = headers[-1].block.number - self._kept
            self._known = {n: header for n, header in known.items() if n > oldest}
        return headers

    def _fetch(self, numbers: Sequence[int]) -> list[Header]:
        found: dict[int, Header] = {}
        for attempt in range(_TRIES):
            missing = [n for n in numbers if n not in found]
            if not missing:
                break
            self._wait(attempt)
            calls = [("eth_getBlockByNumber", hex(n), False) for n in missing]
            for number, answer in zip(missing, self._each(calls), strict=True):
                if answer is not None:
                    found[number] = parse_header(answer, number)
        headers = [found[n] for n in numbers if n in found]
        if len(headers) < len(numbers):
            missing = [n for n in numbers if n not in found]
            raise Reorganised(f"block {missing[0]} is not there")
        for below, header in itertools.pairwise(headers):
            connect(below.block, header.block)
        return headers

    def logs(self, headers: Iterable[Header], wanted: LogFilter) -> dict[bytes, tuple[Log, ...]]:
        """Return the wanted logs of blocks by block hash, proven by the blocks' headers.

        All logs of a block are read, since together they explain every bit of the header's bloom.
        Where a node gives them only by contract, two answers must agree, each one from a node that
        shows in the same batch that it has the block.

        Raises:
            Reorganised: a block is no longer there.
            LogsMissing: no answer fits the header.
        """
        proven: dict[bytes, tuple[Log, ...]] = {}
        agreed: dict[bytes, tuple[Log, ...]] = {}
        left = list(headers)
        for attempt in range(_TRIES + 1):
            for header in left:
                if (found := self._remembered(header, wanted)) is not None:
                    proven[header.block.hash] = found
            left = [header for header in left if header.block.hash not in proven]
            if not left or attempt == _TRIES:
                break
            self._wait(attempt)
            answers = self._each([("eth_getLogs", _of(header)) for header in left], raises=False)
            for header, answer in zip(left, answers, strict=True):
                name = header.block.hash
                found = _parsed(answer, header)
                if found is not None and not header.bloom & ~bloom_of(found):
                    self._logs[name] = found
                elif isinstance(answer, RpcError):
                    ours = self._of_contracts(header, wanted)
                    if ours is not None and agreed.get(name) == ours:
                        proven[name] = ours
                    elif ours is not None:
                        agreed[name] = ours
            while len(self._logs) > _KEPT_LOGS + len(left):
                self._logs.popitem(last=False)
        for header in left:
            self._deny(header)
        return proven

    def _remembered(self, header: Header, wanted: LogFilter) -> tuple[Log, ...] | None:
        """Return the wanted ones of a block's logs that are known to be complete."""
        known = self._logs.get(header.block.hash)
        if known is None:
            return None
        ours = tuple(log for log in known if wanted.takes(log))
        if bloom_of(ours) & ~header.bloom:  # the block never held one of them
            del self._logs[header.block.hash]
            return None
        return ours

    def _of_contracts(self, header: Header, wanted: LogFilter) -> tuple[Log, ...] | None:
        """Return the logs of our contracts alone, from a node that has the block."""
        block, answer = self._rpc.batch(
            [
                ("eth_getBlockByHash", "0x" + header.block.hash.hex(), False),
                ("eth_getLogs", wanted.question() | _of(header)),
            ]
        )
        found = _parsed(answer, header)
        if not isinstance(block, dict) or found is None:
            return None
        return found if all(wanted.takes(log) for log in found) else None

    def _deny(self, header: Header) -> None:
        """Say why a block's logs are not believed."""
        block = header.block
        if self._fetch([block.number])[0].block.hash != block.hash:
            raise Reorganised(f"block {block.number} vanished")
        raise LogsMissing(
            f"the node's logs of block {block.number} do not fit that block's header",
            hint="its logs are incomplete or not its own: set TALLYSTICK_RPC_URL to another node",
        )

    def _each(self, calls: Sequence[tuple[Any, ...]], *, raises: bool = True) -> list[Any]:
        """Ask in batches; what was refused in a batch is asked alone."""
        answers = self._rpc.batch(calls)
        for at, answer in enumerate(answers):
            if isinstance(answer, RpcError):
                try:
                    answers[at] = self._rpc.call(*calls[at])
                except RpcError:
                    if raises:
                        raise
        return answers

    def _wait(self, attempt: int) -> None:
        if attempt:
            self._pause(_PAUSE * 2 ** (attempt - 1))


def connect(parent: BlockRef | None, block: BlockRef) -> None:
    """Raise Reorganised unless a block stands on the one below it, where that is known."""
    if parent is None or block.number != parent.number + 1:
        return
    if block.parent_hash != parent.hash:
        raise Reorganised(f"block {block.number} does not stand on the block known below it")


def parse_header(raw: Any, number: int | None = None) -> Header:
    """Read a block of `eth_getBlockByNumber`.

    Raises:
        RpcMalformed: it is not one, or not the one with that number.
    """
    try:
        block = BlockRef(
            quantity(raw["number"]),
            Bytes32(hexbytes(raw["hash"], 32)),
            Bytes32(hexbytes(raw["parentHash"], 32)),
            Timestamp(quantity(raw["timestamp"])),
        )
        header = Header(block, int.from_bytes(hexbytes(raw["logsBloom"], 256)))
    except (TypeError, KeyError) as error:
        raise RpcMalformed(f"the node answered {raw!r:.80}, not a block") from error
    if number is not None and block.number != number:
        raise RpcMalformed(f"the node answered block {block.number} instead of {number}")
    return header


def _of(header: Header) -> dict[str, Any]:
    return {"blockHash": "0x" + header.block.hash.hex()}


def _parsed(answer: Any, header: Header) -> tuple[Log, ...] | None:
    """Return an answer's logs, None when it is no list of logs of this very block, each once."""
    try:
        found = [logs.parse(raw) for raw in answer] if isinstance(answer, list) else None
    except RpcMalformed:
        return None
    if found is None:
        return None
    found.sort(key=lambda log: log.log_index)
    return tuple(found) if belong(found, header) else None


def belong(found: Sequence[Log], header: Header) -> bool:
    """Say whether logs are of this block, each once, in their order."""
    last = -1
    for log in found:
        if log.block_hash != header.block.hash or log.block_number != header.block.number:
            return False
        if log.log_index <= last:
            return False
        last = log.log_index
    return True
