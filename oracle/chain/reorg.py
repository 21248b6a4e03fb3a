"""Finds how far back a stored history and the chain still agree."""

from collections.abc import Sequence
from typing import Protocol

from oracle.types import BlockRef


class HasBlocks(Protocol):
    """What is needed of a chain; `Scanner` has it."""

    def has(self, block: BlockRef) -> bool:
        """Return whether this very block is on the chain now."""


def common_block(chain: HasBlocks, known: Sequence[BlockRef]) -> BlockRef | None:
    """Return the newest known block that is still on the chain; None when none is.

    A block that is there has all its ancestors there, so bisection finds it with the logarithm of
    the questions.

    Args:
        known: stored blocks of one history, newest first; numbers may be missing.
    """
    gone, there = -1, len(known)  # the newest ones up to `gone` are gone; from `there` on they are
    while there - gone > 1:
        middle = (gone + there) // 2
        if chain.has(known[middle]):
            there = middle
        else:
            gone = middle
    return known[there] if there < len(known) else None
