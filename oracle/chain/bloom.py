"""Logs blooms: what a block's header says about the logs that the block can hold at all.

2048 bits, three for the address and three for each topic of every log (yellow paper, 4.3.1). A bit
that is not set is a proof of absence. A bit that no log explains is a proof that logs are missing.
"""

import functools
from collections.abc import Iterable

from oracle.protocol.canonical import keccak
from oracle.types import Address, Log


@functools.lru_cache(maxsize=2**16)
def bits(word: bytes) -> int:
    """Return the bits of an address (20 bytes) or a topic (32 bytes)."""
    digest = keccak(word)
    return (
        1 << (int.from_bytes(digest[0:2]) & 2047)
        | 1 << (int.from_bytes(digest[2:4]) & 2047)
        | 1 << (int.from_bytes(digest[4:6]) & 2047)
    )


@functools.lru_cache(maxsize=4096)
def address_bits(address: Address) -> int:
    """Return the bits of an address."""
    return bits(bytes.fromhex(address[2:]))


def bloom_of(logs: Iterable[Log]) -> int:
    """Return the bloom of these logs."""
    bloom = 0
    for log in logs:
        bloom |= address_bits(log.address)
        for topic in log.topics:
            bloom |= bits(topic)
    return bloom
