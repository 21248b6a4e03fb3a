"""The one hash tree: keccak256 over leaves, rows first, leaves of a row below.

docs/exact.md, section 2. `log` is the least d with 2^d ≥ n; level 0 is the root:
```
 level 0 … log(rows)              which row
 level log(rows) … depth          which leaf of the row;   leaf index = (row << log(L)) + leaf
```
Absent leaves are zero and absent nodes hash to one value per height, so neither is ever stored.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sha3 import keccak_256  # type: ignore[import-untyped]  # has no annotations

from oracle.types import ZERO32, Bytes32

Bytes = NDArray[np.uint8]
HashAll = Callable[[Bytes, bytes], Bytes]  # `hash_all`, or what does the same faster


def keccak(data: bytes) -> Bytes32:
    """Return keccak256."""
    return Bytes32(keccak_256(data).digest())


def log(n: int) -> int:
    """Return the least d with 2^d ≥ n."""
    return (n - 1).bit_length()


def tree_root(hashes: Sequence[bytes], depth: int) -> Bytes32:
    """Return the root of a tree of `depth` over hashes, padded with absent (zero) leaves."""
    level = list(hashes)
    for height in range(depth):
        if len(level) % 2:
            level.append(absent(height))
        level = [keccak(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return Bytes32(level[0])


def tree_path(hashes: Sequence[bytes], depth: int, index: int) -> tuple[Bytes32, ...]:
    """Return the siblings from leaf `index` of such a tree up."""
    path, level = [], list(hashes)
    for height in range(depth):
        if len(level) % 2:
            level.append(absent(height))
        path.append(Bytes32(level[index ^ 1]) if index ^ 1 < len(level) else absent(height))
        level = [keccak(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        index >>= 1
    return tuple(path)


def climb(node: bytes, index: int, path: Sequence[bytes]) -> Bytes32:
    """Return the root above node `index` of its level, given its siblings from there up."""
    for sibling in path:
        node = keccak(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return Bytes32(node)


@functools.cache
def absent(height: int) -> Bytes32:
    """Return the hash of a subtree without bytes: zero at height 0."""
    return ZERO32 if height == 0 else keccak(absent(height - 1) * 2)


class HashTree:
    """The tree above leaves' hashes: 64 bytes a leaf in all.

    Args:
        hashes: uint8, rows × leaves of a row × 32. No leaves at all: the root is zero.
        hashing: what makes the nodes above; None = `hash_all`.
    """

    def __init__(self, hashes: Bytes, hashing: HashAll | None = None) -> None:
        self.hashes = hashes
        self._hashing = hashing or hash_all
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

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return the siblings from node `index` at `level` up to the root."""
        return tuple(self.node(up, index >> level - up ^ 1) for up in range(level, 0, -1))

    def leaf_path(self, row: int, leaf: int = 0) -> tuple[Bytes32, ...]:
        """Return the siblings from a leaf up to the root."""
        return self.path(self.depth, (row << self.leaf_levels) + leaf)

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
            parents = self._hashing(level.reshape(-1, 64), b"").reshape(len(level), -1, 32)
            levels.append(parents.reshape(-1, 1, 32) if between_rows else parents)
        return levels


def hash_all(messages: Bytes, tag: bytes = b"") -> Bytes:
    """Return keccak256 of `tag` before each message: uint8, count × length to count × 32."""
    length, data = messages.shape[1], messages.tobytes()
    hashes = [
        keccak_256(tag + data[at : at + length]).digest() for at in range(0, len(data), length)
    ]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
