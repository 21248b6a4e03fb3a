"""Which logs are wanted: as a question to a node, as a test of one log, as a test of a bloom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain.bloom import address_bits, bits
from oracle.types import Address, Bytes32, Log


@dataclass(frozen=True)
class LogFilter:
    """Contracts, and for each topic of a log the values that are wanted; None = any value."""

    addresses: frozenset[Address]
    topics: tuple[frozenset[Bytes32] | None, ...] = ()

    @classmethod
    def of(
        cls, addresses: Sequence[Address], topics: Sequence[Sequence[Bytes32] | None]
    ) -> "LogFilter":
        """Return the filter; an empty list of values means any value."""
        return cls(
            frozenset(addresses), tuple(frozenset(some) if some else None for some in topics)
        )

    def question(self) -> dict[str, Any]:
        """Return the filter as `eth_getLogs` takes it."""
        asked: dict[str, Any] = {"address": sorted(self.addresses)}
        if any(self.topics):
            asked["topics"] = [
                sorted("0x" + one.hex() for one in some) if some else None for some in self.topics
            ]
        return asked

    def takes(self, log: Log) -> bool:
        """Say whether a log is one of those."""
        if log.address not in self.addresses or len(log.topics) < len(self.topics):
            return False
        return all(
            some is None or topic in some
            for some, topic in zip(self.topics, log.topics, strict=False)
        )

    def may_be_in(self, bloom: int) -> bool:
        """Say whether a block with this bloom may hold such a log."""

        def any_of(masks: list[int]) -> bool:
            return any(bloom & mask == mask for mask in masks)

        return any_of([address_bits(one) for one in self.addresses]) and all(
            some is None or any_of([bits(one) for one in some]) for some in self.topics
        )
