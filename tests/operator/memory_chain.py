"""A chain in this process, as `follower.Chain` wants it: blocks of events, forks, faults."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from eth_abi.abi import encode as abi_encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic

from oracle.chain import artifacts
from oracle.chain.blocks import Reorganised
from oracle.chain.codec import NAMES, plain
from oracle.chain.event import Event
from oracle.chain.rpc import WrongChain
from oracle.chain.scan import Chunk
from oracle.errors import Unavailable
from oracle.types import Address, BlockRef, Bytes32, Contracts, Log, Timestamp

GENESIS_TIME = 990
PLACES = [
    field.name for field in fields(Contracts) if field.name not in ("chain_id", "deployed_at")
]
CONTRACTS = Contracts(
    chain_id=31337,
    deployed_at=1,
    **{name: Address("0x" + f"{i:02x}" * 20) for i, name in enumerate(PLACES, 1)},
)


@dataclass
class MemoryChain:
    """Block n has timestamp `GENESIS_TIME + n` unless told otherwise."""

    chain_id: int = 31337
    down: bool = False
    salt: int = 0  # of block hashes
    scanned: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        genesis = BlockRef(0, Bytes32(bytes(32)), Bytes32(bytes(32)), Timestamp(GENESIS_TIME))
        self.blocks: list[tuple[BlockRef, tuple[Log, ...]]] = [(genesis, ())]

    # ── What happens on it ──────────────────────────────────────────────────────────────────────

    def mine(self, *events: Event, at: int | None = None) -> BlockRef:
        """Add a block with these events."""
        parent = self.blocks[-1][0]
        number = parent.number + 1
        self.salt += 1
        block = BlockRef(
            number,
            Bytes32(hashlib.sha256(parent.hash + self.salt.to_bytes(8)).digest()),
            parent.hash,
            Timestamp(at or parent.timestamp + 1),
        )
        logs = tuple(log_of(event, block, index) for index, event in enumerate(events))
        self.blocks.append((block, logs))
        return block

    def mine_until(self, timestamp: int) -> None:
        """Add an empty block with this timestamp."""
        self.mine(at=timestamp)

    def revert(self, count: int) -> None:
        """Take the newest blocks away."""
        del self.blocks[-count:]

    # ── What can be asked ───────────────────────────────────────────────────────────────────────

    def look(self, chain_id: int, newest: BlockRef | None) -> tuple[int, bool]:
        self._check()
        if chain_id != self.chain_id:
            raise WrongChain(f"this is chain {self.chain_id}")
        return self.head(), newest is not None and self.has(newest)

    def head(self) -> int:
        self._check()
        return len(self.blocks) - 1

    def has(self, block: BlockRef) -> bool:
        self._check()
        return block.number < len(self.blocks) and self.blocks[block.number][0] == block

    def scan(self, start: int, end: int, parent: BlockRef | None = None) -> Iterator[Chunk]:
        """Yield pairs of blocks, so that there are several ranges."""
        for first in range(start, end + 1, 2):
            self._check()
            last = min(first + 1, end)
            self.scanned.append((first, last))
            found = self.blocks[first : last + 1]
            if parent is not None and found[0][0].parent_hash != parent.hash:
                raise Reorganised("the chain changed")
            parent = found[-1][0]
            logs = tuple(log for _, some in found for log in some)
            yield Chunk(first, last, tuple(block for block, _ in found), logs)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the node is down")


def log_of(event: Event, block: BlockRef, index: int) -> Log:
    """Write an event as its contract would."""
    for name in NAMES:
        for item in artifacts.load(name).abi:
            if item["type"] == "event" and item["name"] == type(event).__name__:
                return _encode(event, item, block, index)
    raise KeyError(event)


def _encode(event: Event, item: dict, block: BlockRef, index: int) -> Log:
    def value(argument: dict) -> object:
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", argument["name"]).lower()
        source = getattr(event, "record", event)
        return plain(getattr(source, "from_" if snake == "from" else snake))

    def words(arguments: Sequence[dict]) -> bytes:
        return abi_encode([collapse_if_tuple(a) for a in arguments], [value(a) for a in arguments])

    indexed = [a for a in item["inputs"] if a["indexed"]]
    topics = (event_abi_to_log_topic(item), *(words([a]) for a in indexed))
    data = words([a for a in item["inputs"] if not a["indexed"]])
    place = hashlib.sha256(block.hash + bytes([index])).digest()
    return Log(
        CONTRACTS.inference_market,
        topics,
        data,
        block.number,
        block.hash,
        Bytes32(place),
        index,
    )
