"""Hash trees over rows of leaves, from their leaves' hashes up (docs/exact.md, section 2).

Unlike a tensor's, leaves are hashed by whoever knows what they hold: rows of data, leaves of 128
entries, values. Only hashes are kept: 64 bytes a leaf in all.
"""

import functools

import numpy as np
from sha3 import keccak_256  # type: ignore[import-untyped]  # has no annotations

from oracle.exact.dtypes import Bytes
from oracle.exact.tensors import absent, log
from oracle.types import ZERO32, Bytes32


class HashTree:
    """The tree above leaves' hashes.

    Args:
        hashes: uint8, rows × leaves of a row × 32. No leaves at all: the root is zero.
    """

    def __init__(self, hashes: Bytes) -> None:
        self.hashes = hashes
        self.row_levels = log(max(1, hashes.shape[0]))
        self.leaf_levels = log(max(1, hashes.shape[1]))
        self.depth = self.row_levels + self.leaf_levels

    @property
    def root(self) -> Bytes32:
        """The hash over everything."""
        return self.node(0, 0) if self.hashes.size else ZERO32

    def node(self, level: int, index: int) -> Bytes32:
        """Return node `index` (left to right) at `level` (0 = root)."""
        height = self.depth - level
        present = self._levels[height]
        beside = max(self.row_levels, level) - self.row_levels  # levels below the row's node
        row, column = index >> beside, index & (1 << beside) - 1
        if row < present.shape[0] and column < present.shape[1]:
            return Bytes32(present[row, column].tobytes())
        return absent(height)

    def path(self, row: int, leaf: int = 0) -> tuple[Bytes32, ...]:
        """Return the siblings from a leaf up to the root."""
        index = (row << self.leaf_levels) + leaf
        levels = range(self.depth, 0, -1)
        return tuple(self.node(up, index >> self.depth - up ^ 1) for up in levels)

    @functools.cached_property
    def _levels(self) -> list[Bytes]:
        """Present nodes by height: uint8, rows (or groups of rows) × nodes of each × 32."""
        levels = [self.hashes]
        for height in range(self.depth):
            between_rows = height >= self.leaf_levels
            level = levels[-1].reshape(1, -1, 32) if between_rows else levels[-1]
            if level.shape[1] % 2:
                last = np.frombuffer(absent(height), np.uint8)
                level = np.concatenate([level, np.broadcast_to(last, (len(level), 1, 32))], axis=1)
            parents = hash_all(level.reshape(-1, 64)).reshape(len(level), -1, 32)
            levels.append(parents.reshape(-1, 1, 32) if between_rows else parents)
        return levels


def hash_all(messages: Bytes, tag: bytes = b"") -> Bytes:
    """Return keccak256 of `tag` before each message: uint8, count × length to count × 32."""
    length, data = messages.shape[1], messages.tobytes()
    hashes = [
        keccak_256(tag + data[at : at + length]).digest() for at in range(0, len(data), length)
    ]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
