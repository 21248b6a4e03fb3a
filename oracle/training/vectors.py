"""Vectors of integers with their hash tree: states, updates and running sums of a training round.

A vector is stored big-endian in offset binary, so that every bit pattern is a value. Leaves have
128 bytes; the last one is padded with zeros (`oracle.merkle`):
```
 state, update │ i32: value + 2³¹ │ 4 bytes │ 32 a leaf
 running sums  │ i64: value + 2⁶³ │ 8 bytes │ 16 a leaf
```
A tree keeps the roots of its blocks of leaves alone. A node below one is made again from the
vector, which may lie in a memory-mapped file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oracle.merkle import HashAll, HashTree, absent, climb, hash_all, keccak, log
from oracle.training.errors import VectorInvalid
from oracle.types import Bytes32

Integers = NDArray[Any]
LEAF = 128  # bytes
BLOCK_LEVELS = 10  # of a tree's block: 1,024 leaves, of which the hashes take 64 KiB
TOGETHER = 8  # blocks that are handed to `Map` at once
Map = Callable[..., Iterable[Any]]  # `map`, or the `map` of a pool of processes


class Vector(Protocol):
    """Integers in one row: an array of one dimension, a memory-mapped one, or a view of several."""

    def __len__(self) -> int:
        """Return how many."""

    def __getitem__(self, part: slice, /) -> Integers:
        """Return some of them; the slice has no step and lies inside."""


@dataclass(frozen=True, slots=True)
class VectorForm:
    """How coordinates are stored.

    Attributes:
        size: bytes of one.
    """

    size: int

    @property
    def per_leaf(self) -> int:
        """Coordinates of one leaf."""
        return LEAF // self.size

    def leaves(self, length: int) -> int:
        """Return the leaves of a vector of so many coordinates."""
        return -(-length // self.per_leaf)

    def depth(self, length: int) -> int:
        """Return the levels between the root and the leaves."""
        return log(self.leaves(length))

    def encode(self, values: Integers) -> bytes:
        """Return the logical bytes of some coordinates.

        Raises:
            VectorInvalid: no integers, or one that does not fit.
        """
        values = np.asarray(values)
        signed = np.dtype(f"i{self.size}")
        if values.dtype.kind not in "iu":
            raise VectorInvalid(f"coordinates of dtype {values.dtype}", hint="quantise them first")
        if not np.can_cast(values.dtype, signed) and values.size:
            least, most = int(values.min()), int(values.max())
            bounds = np.iinfo(signed)
            if least < bounds.min or most > bounds.max:
                raise VectorInvalid(f"{least} … {most} does not fit {8 * self.size} bits")
        bits: Integers = values.astype(signed).view(f"u{self.size}")
        bits ^= bits.dtype.type(1 << 8 * self.size - 1)
        return bytes(bits.astype(f">u{self.size}"))

    def decode(self, data: bytes) -> Integers:
        """Return the coordinates of logical bytes: i32 or i64."""
        bits: Integers = np.frombuffer(data, f">u{self.size}").astype(f"u{self.size}")
        bits ^= bits.dtype.type(1 << 8 * self.size - 1)
        return bits.view(f"i{self.size}")


STATE = VectorForm(4)  # also of an update
SUMS = VectorForm(8)


@dataclass(frozen=True, slots=True)
class Opening:
    """One leaf of a vector: its logical bytes, and the siblings from it up to the root."""

    data: bytes
    path: tuple[Bytes32, ...]

    def root(self, index: int) -> Bytes32:
        """Return the root that follows when this is leaf `index`."""
        return climb(leaf_hash(self.data), index, self.path)


def leaf_hash(data: bytes) -> Bytes32:
    """Return the hash of at most 128 logical bytes; the padding is ours."""
    return keccak(b"\x00" + data.ljust(LEAF, b"\0"))


def block_tree(form: VectorForm, values: Integers, hashing: HashAll = hash_all) -> HashTree:
    """Return the tree of consecutive coordinates, the first of which begins a leaf."""
    data = form.encode(values)
    count = form.leaves(len(values))
    leaves = np.zeros((count, LEAF), np.uint8)
    leaves.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
    return HashTree(hashing(leaves, b"\x00").reshape(1, count, 32), hashing)


def lifted(tree: HashTree, levels: int) -> Bytes32:
    """Return the root of a block of so many levels that this tree begins."""
    return climb(tree.root, 0, [absent(height) for height in range(tree.depth, levels)])


def block_roots(
    form: VectorForm, values: Integers, levels: int, hashing: HashAll = hash_all
) -> list[Bytes32]:
    """Return the roots of blocks of 2^levels leaves; the first coordinate begins a block."""
    size = form.per_leaf << levels
    return [
        lifted(block_tree(form, values[at : at + size], hashing), levels)
        for at in range(0, len(values), size)
    ]


class VectorTree:
    """The tree of a vector, in memory of one block and the roots of all.

    Args:
        vector: the coordinates; at least one.
        roots: of its blocks, where they are known already: made by `aggregate`.
        levels: of a block.
        map: how blocks are spread over processors.
        hashing: what hashes leaves and nodes of blocks.
    """

    def __init__(
        self,
        vector: Vector,
        form: VectorForm,
        roots: Sequence[Bytes32] | None = None,
        levels: int = BLOCK_LEVELS,
        *,
        map: Map = map,
        hashing: HashAll = hash_all,
    ) -> None:
        if len(vector) == 0:
            raise VectorInvalid("a vector without coordinates has no tree")
        self.vector = vector
        self.form = form
        self.depth = form.depth(len(vector))
        self.levels = min(levels, self.depth)
        self._held: tuple[int, HashTree] | None = None
        blocks = -(-form.leaves(len(vector)) >> self.levels)
        found = list(roots or _roots(vector, form, self.levels, map, hashing))
        if len(found) != blocks:
            raise VectorInvalid(f"{len(found)} roots of blocks for a vector of {blocks}")
        self._above = [found]
        for height in range(self.levels, self.depth):
            below = self._above[-1] + [absent(height)] * (len(self._above[-1]) % 2)
            pairs = zip(below[::2], below[1::2], strict=True)
            self._above.append([keccak(left + right) for left, right in pairs])

    @property
    def root(self) -> Bytes32:
        """The hash over everything."""
        return self._above[-1][0]

    def node(self, level: int, index: int) -> Bytes32:
        """Return node `index` (left to right) at `level` (0 = root)."""
        height = self.depth - level
        if height >= self.levels:
            level_above = self._above[height - self.levels]
            return level_above[index] if index < len(level_above) else absent(height)
        below = self.levels - height
        if index >> below >= len(self._above[0]):
            return absent(height)
        tree = self._block(index >> below)
        within = index & (1 << below) - 1
        if height > tree.depth:  # above the leaves of a last block
            return lifted(tree, height) if within == 0 else absent(height)
        return tree.node(tree.depth - height, within)

    def leaf(self, index: int) -> bytes:
        """Return the logical bytes of a leaf; none of an absent one."""
        start = index * self.form.per_leaf
        stop = min(start + self.form.per_leaf, len(self.vector))
        return self.form.encode(self.vector[start:stop]) if start < stop else b""

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return the siblings from node `index` at `level` up to the root."""
        return tuple(self.node(up, index >> level - up ^ 1) for up in range(level, 0, -1))

    def open(self, coordinate: int) -> Opening:
        """Return the leaf that holds a coordinate.

        Raises:
            VectorInvalid: there is no such coordinate.
        """
        if not 0 <= coordinate < len(self.vector):
            raise VectorInvalid(f"coordinate {coordinate} of {len(self.vector)}")
        leaf = coordinate // self.form.per_leaf
        return Opening(self.leaf(leaf), self.path(self.depth, leaf))

    def _block(self, number: int) -> HashTree:
        if self._held is None or self._held[0] != number:
            size = self.form.per_leaf << self.levels
            stop = min((number + 1) * size, len(self.vector))
            self._held = number, block_tree(self.form, self.vector[number * size : stop])
        return self._held[1]


@dataclass(frozen=True, slots=True)
class _BlockOf:
    """What one call of `Map` works on."""

    form: VectorForm
    levels: int
    values: Integers


def _root(hashing: HashAll, block: _BlockOf) -> Bytes32:
    return lifted(block_tree(block.form, block.values, hashing), block.levels)


def _roots(
    vector: Vector, form: VectorForm, levels: int, map: Map, hashing: HashAll
) -> Iterator[Bytes32]:
    size = form.per_leaf << levels
    for starts in in_batches(range(0, len(vector), size)):
        blocks = (vector[at : min(at + size, len(vector))] for at in starts)
        yield from map(partial(_root, hashing), [_BlockOf(form, levels, block) for block in blocks])


def in_batches(starts: range) -> Iterator[range]:
    """Return a few starts of blocks at a time: a pool takes all that it is given into memory."""
    for at in range(0, len(starts), TOGETHER):
        yield starts[at : at + TOGETHER]


class Joined:
    """Named tensors as one vector: in the order of their names, each flattened in C order."""

    def __init__(self, tensors: Mapping[str, Integers]) -> None:
        self._parts = [tensors[name].reshape(-1) for name in sorted(tensors)]
        self._ends = np.cumsum([len(part) for part in self._parts], dtype=np.int64).tolist()

    def __len__(self) -> int:
        """Return the coordinates of all."""
        return int(self._ends[-1]) if self._ends else 0

    def __getitem__(self, part: slice, /) -> Integers:
        """Return consecutive coordinates, copied from as many tensors as they lie in."""
        start, stop, _ = part.indices(len(self))
        found = []
        for values, end in zip(self._parts, self._ends, strict=True):
            begin = end - len(values)
            if begin < stop and end > start:
                found.append(values[max(start - begin, 0) : stop - begin])
        if not found:
            return np.zeros(0, np.int32)
        return found[0] if len(found) == 1 else np.concatenate(found)
