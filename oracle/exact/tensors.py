"""A tensor with its hash tree: leaves of 128 bytes (docs/exact.md, section 2; `oracle.merkle`)."""

import functools
from typing import Protocol

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.dtypes import Array, Bytes, DType, Spec, decode, encode
from oracle.merkle import HashTree, hash_all, keccak, log, tree_root
from oracle.types import Bytes32

LEAF = 128  # bytes


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
        return self.hashes.node(level, index)

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return the siblings from node `index` at `level` up to the root."""
        return self.hashes.path(level, index)

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
    def hashes(self) -> HashTree:
        """The hashes over the leaves."""
        rows, leaves = self.spec.rows, leaves_of(self.spec)
        padded = np.zeros((rows, leaves * LEAF), np.uint8)
        padded[:, : self.spec.row_bytes] = self.stored
        hashes = hash_all(padded.reshape(-1, LEAF), tag=b"\x00")
        return HashTree(hashes.reshape(rows, leaves, 32))
