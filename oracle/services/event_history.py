"""Reads what happened from the logs of one deployment: the chain is the only memory.

What a long chain gave once is kept by `history_cache.py`. Knows nothing of what the events mean;
the services fold them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain import logs
from oracle.chain.event import Event
from oracle.chain.rpc import Node, RpcError, quantity
from oracle.errors import Unavailable
from oracle.services.history_cache import HistoryCache, Kept
from oracle.types import Address, Bytes32, Contracts, Log, Timestamp

SPAN = 100_000  # blocks asked for at once; halved when the node refuses


@dataclass(frozen=True, slots=True)
class Happened:
    """One event and where it stands in the chain."""

    event: Event
    block: int
    tx_hash: Bytes32
    index: int  # of the log in its block


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a request's history."""

    time: Timestamp
    block: int
    transaction: Bytes32
    event: str
    detail: str


class History:
    """The logs of one deployment, read when asked for."""

    def __init__(
        self, rpc: Node, contracts: Contracts, cache: HistoryCache | None = None, span: int = SPAN
    ) -> None:
        """Take the collaborators; nothing is read yet.

        Args:
            cache: where answers of more than `span` blocks are kept; None = nowhere.
            span: blocks asked for at once.
        """
        self._rpc = rpc
        self._contracts = contracts
        self._cache = cache
        self._span = span

    def read(
        self,
        place: Address,
        kinds: Sequence[type[Event]],
        *topics: Bytes32 | Sequence[Bytes32] | None,
        since: int = 0,
    ) -> list[Happened]:
        """Return the events of these kinds that a contract logged, oldest first.

        Args:
            place: the contract.
            kinds: event classes of oracle.chain.bindings.
            topics: values of the 1st, 2nd, 3rd indexed argument; several = any of them, None = any.
            since: first block that is looked at.

        Raises:
            Unavailable: the node cannot answer, even for a single block.
        """
        wanted: list[object] = [["0x" + logs.topic_of(kind).hex() for kind in kinds]]
        wanted += [_words(topic) for topic in topics]
        start = max(since, self._contracts.deployed_at)
        question = {"address": place, "topics": wanted, "from": start}
        head = quantity(self._rpc.call("eth_blockNumber"))
        cache = self._cache if head - start >= self._span else None
        if cache is None:
            raw = self._scan(place, wanted, start, head)
        else:
            block_hash = cache.hash_of(head)
            kept = cache.recall(question)
            raw = list(kept.raw) if kept else []
            raw += self._scan(place, wanted, kept.block + 1 if kept else start, head)
            cache.keep(question, Kept(head, block_hash, raw))
        return self._happened(logs.parse(entry) for entry in raw)

    def _scan(self, place: Address, wanted: list[object], start: int, head: int) -> list[Any]:
        span, found = self._span, []
        while start <= head:
            stop = min(start + span - 1, head)
            query = {
                "address": place,
                "topics": wanted,
                "fromBlock": hex(start),
                "toBlock": hex(stop),
            }
            try:
                found += self._rpc.call("eth_getLogs", query)
            except RpcError as error:  # most nodes bound the range or the number of results
                if span == 1:
                    raise Unavailable(
                        f"the node gives no logs of block {start}: {error}"
                    ) from error
                span //= 2
                continue
            start = stop + 1
        return found

    def times(self, blocks: Iterable[int]) -> dict[int, Timestamp]:
        """Return the time of each block, in unix seconds."""
        numbers = sorted(set(blocks))
        answers = self._rpc.batch([("eth_getBlockByNumber", hex(n), False) for n in numbers])
        for answer in answers:
            if not isinstance(answer, dict):
                raise Unavailable(f"the node does not know a block it named: {answer!r:.80}")
        return {
            n: Timestamp(quantity(a["timestamp"])) for n, a in zip(numbers, answers, strict=True)
        }

    def moments(
        self, happened: Sequence[Happened], detail: Callable[[Event], str]
    ) -> tuple[Moment, ...]:
        """Return events as lines with their times; `detail` says what one adds to its name."""
        times = self.times(h.block for h in happened)
        return tuple(
            Moment(times[h.block], h.block, h.tx_hash, type(h.event).__name__, detail(h.event))
            for h in happened
        )

    def now(self) -> Timestamp:
        """Return the time of the latest block: what contracts take for now."""
        block = self._rpc.call("eth_getBlockByNumber", "latest", False)
        return Timestamp(quantity(block["timestamp"]))

    @staticmethod
    def _happened(entries: Iterable[Log]) -> list[Happened]:
        return [
            Happened(event, log.block_number, log.tx_hash, log.log_index)
            for log in entries
            if (event := logs.decode(log)) is not None
        ]


def _words(topic: Bytes32 | Sequence[Bytes32] | None) -> object:
    if topic is None:
        return None
    return "0x" + topic.hex() if isinstance(topic, bytes) else ["0x" + one.hex() for one in topic]


def topic(value: int | str | bytes) -> Bytes32:
    """Return an indexed argument as a topic: a number, an address, or 32 bytes."""
    if isinstance(value, bytes):
        return Bytes32(value.rjust(32, b"\0"))
    if isinstance(value, str):
        return Bytes32(bytes.fromhex(value[2:]).rjust(32, b"\0"))
    return Bytes32(value.to_bytes(32))
