"""Reads what happened from the logs of one deployment: the chain is the only memory.

What a long chain gave once is kept by `history_cache.py`. Knows nothing of what the events mean;
the services fold them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from oracle.chain import logs
from oracle.chain.blocks import Blocks
from oracle.chain.event import Event
from oracle.chain.rpc import Node, quantity
from oracle.chain.scan import Scanner
from oracle.errors import Unavailable
from oracle.services.history_cache import HistoryCache, Kept
from oracle.types import Address, Bytes32, Contracts, Log, Timestamp

SPAN = 100_000  # blocks: what a longer chain answered is kept
CHECKED = 128  # newest blocks whose headers are all read; older ones are read twice


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
            span: see `cache`.
        """
        self._rpc = rpc
        self._blocks = Blocks(rpc, kept=CHECKED)
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
            kinds: event classes of oracle.chain.bindings; () = all.
            topics: values of the 1st, 2nd, 3rd indexed argument; several = any of them, None = any.
            since: first block that is looked at.

        Raises:
            Unavailable, RpcError: the node cannot answer, even for a single block, or gives logs
                that do not fit its headers.
            Reorganised: the chain changed meanwhile.
        """
        scanner = Scanner(
            self._rpc,
            [place],
            [logs.topic_of(kind) for kind in kinds],
            indexed=[[one] if isinstance(one, bytes) else one for one in topics],
            blocks=self._blocks,
            checked=CHECKED,
        )
        start, head = max(since, self._contracts.deployed_at), scanner.head()
        question = scanner.question() | {"from": start}
        cache = self._cache if head - start >= self._span else None
        if cache is None:
            return self._happened(_scan(scanner, start, head))
        block_hash = cache.hash_of(head)
        kept = cache.recall(question)
        found = [logs.parse(entry) for entry in kept.raw] if kept else []
        found += _scan(scanner, kept.block + 1 if kept else start, head)
        cache.keep(question, Kept.of(head, block_hash, found))
        return self._happened(found)

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


def _scan(scanner: Scanner, start: int, end: int) -> list[Log]:
    return [log for chunk in scanner.scan(start, end) for log in chunk.logs]


def topic(value: int | str | bytes) -> Bytes32:
    """Return an indexed argument as a topic: a number, an address, or 32 bytes."""
    if isinstance(value, bytes):
        return Bytes32(value.rjust(32, b"\0"))
    if isinstance(value, str):
        return Bytes32(bytes.fromhex(value[2:]).rjust(32, b"\0"))
    return Bytes32(value.to_bytes(32))
