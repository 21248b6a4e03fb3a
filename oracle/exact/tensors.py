"""The hash tree of one tensor: leaves of 128 bytes, rows first, leaves of a row below.

docs/exact.md, section 2. `log` is the least d with 2^d ≥ n; level 0 is the root:
```
 level 0 … log(rows)              which row
 level log(rows) … depth          which leaf of the row;   leaf index = (row << log(L)) + leaf
```
Absent leaves are zero and absent nodes hash to one value per height, so neither is ever stored.
"""

import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from sha3 import keccak_256  # type: ignore[import-untyped]  # has no annotations; 4× eth_hash

from oracle.errors import InputInvalid
from oracle.exact.dtypes import Array, Bytes, DType, Spec, decode, encode
from oracle.types import ZERO32, Bytes32

__all__ = [
    "LEAF",
    "Spec",
    "TensorTree",
    "climb",
    "keccak",
    "leaf_hash",
    "log",
    "row_hash",
    "tensor_leaf",
]

LEAF = 128  # bytes


def keccak(data: bytes) -> Bytes32:
    """Return keccak256."""
    return Bytes32(keccak_256(data).digest())


def log(n: int) -> int:
    """Return the least d with 2^d ≥ n."""
    return (n - 1).bit_length()


def leaves_of(spec: Spec) -> int:
    """Return the leaves of a row."""
    return -(-spec.row_bytes // LEAF)


def depth_of(spec: Spec) -> int:
    """Return the levels below the root."""
    return log(spec.rows) + log(leaves_of(spec))


def tensor_leaf(tensor_id: int, spec: Spec, root: bytes) -> Bytes32:
    """Return what stands for tensor `tensor_id` in an input root, output root or trace."""
    shape = bytes([spec.dtype]) + spec.rows.to_bytes(4) + spec.cols.to_bytes(4)
    return keccak(b"\x02" + tensor_id.to_bytes(2) + shape + root)


def leaf_hash(data: bytes) -> Bytes32:
    """Return the hash of at most 128 logical bytes; the padding is ours."""
    return keccak(b"\x00" + data.ljust(LEAF, b"\0"))


def row_hash(data: bytes) -> Bytes32:
    """Return the root of one row's leaves."""
    hashes = [leaf_hash(data[at : at + LEAF]) for at in range(0, len(data), LEAF)]
    return tree_root(hashes, log(len(hashes)))


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


class Openable(Protocol):
    """A tensor of which at least parts can be shown."""

    spec: Spec
    row_levels: int
    depth: int

    @property
    def root(self) -> Bytes32:
        """The hash over everything."""

    def node(self, level: int, index: int) -> Bytes32:
        """Return node `index` (left to right) at `level` (0 = root)."""

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return the siblings from node `index` at `level` up to the root."""

    def row(self, row: int) -> bytes:
        """Return the logical bytes of a row."""

    def leaf(self, row: int, leaf: int) -> bytes:
        """Return the logical bytes of a row that lie in one of its leaves."""

    def below(self, level: int, index: int) -> bytes:
        """Return the logical bytes below a node, in order; none below an absent one."""


class TensorTree(Openable):
    """A tensor in stored form with its hashes, which are made when first asked for.

    Args:
        spec: dtype and shape.
        stored: uint8, rows × (cols · size).
    """

    def __init__(self, spec: Spec, stored: Bytes) -> None:
        if not spec.valid or stored.shape != (spec.rows, spec.row_bytes):
            raise InputInvalid(f"{stored.shape} bytes are not a tensor of {spec}")
        self.spec = spec
        self.stored = stored
        self.row_levels = log(spec.rows)
        self.depth = depth_of(spec)

    @classmethod
    def of(cls, array: Array, dtype: DType) -> "TensorTree":
        """Return the tree of a matrix.

        Raises:
            InputInvalid: not a matrix, or an element outside the dtype's range.
        """
        stored = encode(array, dtype)
        return cls(Spec(dtype, *array.shape), stored)

    @functools.cached_property
    def array(self) -> Array:
        """The elements."""
        return decode(self.stored, self.spec)

    @property
    def root(self) -> Bytes32:
        """The hash over everything."""
        return self.node(0, 0)

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

    def row(self, row: int) -> bytes:
        """Return the logical bytes of a row."""
        return bytes(self.stored[row])

    def leaf(self, row: int, leaf: int) -> bytes:
        """Return the logical bytes of a row that lie in one of its leaves."""
        return self.stored[row, leaf * LEAF : (leaf + 1) * LEAF].tobytes()

    def below(self, level: int, index: int) -> bytes:
        """Return the logical bytes below a node, in order; none below an absent one."""
        if level <= self.row_levels:
            height = self.row_levels - level
            return self.stored[index << height : index + 1 << height].tobytes()
        beside, height = level - self.row_levels, self.depth - level
        row, column = index >> beside, index & (1 << beside) - 1
        if row >= self.spec.rows:
            return b""
        return self.stored[row, LEAF * (column << height) : LEAF * (column + 1 << height)].tobytes()

    @functools.cached_property
    def _levels(self) -> list[Bytes]:
        """Present nodes by height: uint8, rows (or groups of rows) × nodes of each × 32."""
        rows, leaves = self.spec.rows, leaves_of(self.spec)
        padded = np.zeros((rows, leaves * LEAF), np.uint8)
        padded[:, : self.spec.row_bytes] = self.stored
        tagged = np.zeros((rows, leaves, 1 + LEAF), np.uint8)  # 0x00 ‖ 128 bytes
        tagged[..., 1:] = padded.reshape(rows, leaves, LEAF)
        levels = [_hash(tagged)]
        for height in range(self.depth):
            between_rows = height >= self.depth - self.row_levels
            level = levels[-1].reshape(1, -1, 32) if between_rows else levels[-1]
            if level.shape[1] % 2:
                last = np.frombuffer(absent(height), np.uint8)
                last = np.broadcast_to(last, (len(level), 1, 32))
                level = np.concatenate([level, last], axis=1)
            parents = _hash(level.reshape(len(level), -1, 64))
            levels.append(parents.reshape(-1, 1, 32) if between_rows else parents)
        return levels


def _hash(messages: Bytes) -> Bytes:
    """Return the hashes of equally long messages, which lie on the last axis."""
    length = messages.shape[-1]
    data = messages.tobytes()
    hashes = [keccak_256(data[at : at + length]).digest() for at in range(0, len(data), length)]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(*messages.shape[:-1], 32)
