"""The tables of a valuation: built block by block, in files where they are large (§3).

16 bytes an entry, 128 entries a leaf, numbers big-endian, signed ones as number + 2⁶³:
```
 order  T × n   u32 row           u32 distance        u64 s
 sums   N × T   u32 position      u32 0               u64 running
 rows   1 × N   u8 flag u24 wit.  u32 flagged so far  u64 prefix
```
N = 50,000 and T = 1,000 make two tables of 800 MB: with a `folder` they are files, and only the
blocks at work and the hashes (64 bytes for 2,048) are held.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sha3 import keccak_256  # type: ignore[import-untyped]  # has no annotations

from oracle.merkle import HashTree, hash_all, keccak
from oracle.private_files import make_folder
from oracle.types import Bytes32
from oracle.valuation.reference import Block, Flags, Ints
from oracle.valuation.rounds import RoundData, Valuation

ORDER = np.dtype([("row", ">u4"), ("distance", ">u4"), ("s", ">u8")])
SUMS = np.dtype([("position", ">u4"), ("zero", ">u4"), ("running", ">u8")])
ROWS = np.dtype([("head", ">u4"), ("flagged", ">u4"), ("prefix", ">u8")])  # head: flag ‖ witness
PER_LEAF = 128
ENTRY = 16
LEAF = PER_LEAF * ENTRY
NOWHERE = 0xFFFFFFFF  # position of a flagged row
OFFSET = 1 << 63
Entries = NDArray[Any]  # structured: ORDER, SUMS or ROWS


class Table:
    """A table with its hashes, which are made when first asked for.

    Args:
        entries: rows × entries of a row.
    """

    def __init__(self, entries: Entries) -> None:
        self.entries = entries

    @property
    def root(self) -> Bytes32:
        """The hash over everything; zero when there is no entry."""
        return self.tree.root

    def leaf(self, row: int, leaf: int) -> bytes:
        """Return the logical bytes of a leaf."""
        return self.entries[row, leaf * PER_LEAF : (leaf + 1) * PER_LEAF].tobytes()

    def path(self, row: int, leaf: int) -> tuple[Bytes32, ...]:
        """Return the siblings from a leaf up."""
        return self.tree.leaf_path(row, leaf)

    @functools.cached_property
    def tree(self) -> HashTree:
        """The hashes. The library keeps the interpreter's lock, so threads would not help."""
        rows, entries = self.entries.shape
        leaves = -(-entries // PER_LEAF)
        hashes = np.zeros((rows, leaves, 32), np.uint8)
        for row in range(rows if entries else 0):
            data = self.entries[row].tobytes()
            digests = [leaf_hash(data[at : at + LEAF]) for at in range(0, len(data), LEAF)]
            hashes[row] = np.frombuffer(b"".join(digests), np.uint8).reshape(leaves, 32)
        return HashTree(hashes)


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of at most 2,048 logical bytes of a table; the padding is ours."""
    digest: bytes = keccak_256(b"\x11" + data.ljust(LEAF, b"\0")).digest()
    return digest


def value_leaf(data: bytes) -> Bytes32:
    """Return the hash of `u32 c ‖ u64 value`."""
    return keccak(b"\x12" + data)


def value_bytes(c: int, value: int) -> bytes:
    """Return the bytes of a leaf of `values`: `u32 c ‖ u64 value`."""
    return c.to_bytes(4) + value.to_bytes(8)


def values_tree(values: Sequence[int]) -> HashTree:
    """Return the tree over the contributions' values."""
    leaves = b"".join(value_bytes(c, value) for c, value in enumerate(values))
    data = np.frombuffer(leaves, np.uint8).reshape(-1, 12)
    return HashTree(hash_all(data, b"\x12").reshape(-1, 1, 32))


@dataclass(frozen=True, eq=False)
class Tables:
    """All that a valuator publishes."""

    order: Table
    sums: Table
    rows: Table
    values: tuple[int, ...]

    def value(self, c: int) -> bytes:
        """Return the bytes of a leaf of `values`."""
        return value_bytes(c, self.values[c])

    @functools.cached_property
    def values_tree(self) -> HashTree:
        """The tree over the contributions' values."""
        return values_tree(self.values)

    @functools.cached_property
    def valuation(self) -> Valuation:
        """What is committed to on chain."""
        return Valuation(
            N=self.rows.entries.shape[1],
            n=self.order.entries.shape[1],
            T=self.order.entries.shape[0],
            order=self.order.root,
            sums=self.sums.root,
            rows=self.rows.root,
            values=self.values_tree.root,
        )

    @property
    def credits(self) -> tuple[int, ...]:
        """What each contribution is paid in: ⌊value / T⌋."""
        return tuple(value // self.order.entries.shape[0] for value in self.values)


def build(
    data: RoundData, flags: Flags, scores: Iterable[Block], folder: Path | None = None
) -> Tables:
    """Return the tables of scores that come in the order of test points.

    Args:
        folder: where the two large tables become files (`order.bin`, `sums.bin`).
    """
    count, points, kept = len(data.labels), data.test.rows, flags.kept
    order = _allocate(folder, "order", (points, len(kept)), ORDER)
    sums = _allocate(folder, "sums", (count, points), SUMS)
    running = np.zeros(count, np.int64)
    for block in scores:
        upto = block.start + len(block.s)
        _write_order(order[block.start : upto], block)
        running = _write_sums(sums[:, block.start : upto], block, running)
    prefixes = _prefixes(data, running)
    rows = _rows(flags, prefixes)
    last = [prefixes[end - 1] for end in data.starts[1:]]
    values = tuple(max(0, int(prefix)) for prefix in last)
    return Tables(Table(order), Table(sums), Table(rows), values)


def stored(numbers: Ints) -> NDArray[np.uint64]:
    """Return signed numbers as they stand in a table: number + 2⁶³."""
    return numbers.view(np.uint64) ^ np.uint64(OFFSET)


def read(numbers: NDArray[Any]) -> Ints:
    """Return the signed numbers of a column of a table."""
    plain: Ints = (numbers.astype(np.uint64) ^ np.uint64(OFFSET)).view(np.int64)
    return plain


def _allocate(
    folder: Path | None, name: str, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Entries:
    if folder is None or 0 in shape:
        return np.zeros(shape, dtype)
    make_folder(folder)
    return np.memmap(folder / f"{name}.bin", dtype, "w+", shape=shape)


def _write_order(order: Entries, block: Block) -> None:
    order["row"] = block.rows
    order["distance"] = block.distances
    order["s"] = stored(np.ascontiguousarray(block.s))


def _write_sums(sums: Entries, block: Block, before: Ints) -> Ints:
    """Write the columns of a block; return the running sums after it."""
    positions = np.full((len(block.s), len(before)), NOWHERE, np.uint32)
    running = np.zeros((len(block.s), len(before)), np.int64)
    places = np.arange(block.s.shape[1], dtype=np.uint32)
    for t, rows in enumerate(block.rows):
        positions[t, rows] = places
        running[t, rows] = block.s[t]
    running[0] += before
    np.cumsum(running, axis=0, out=running)
    sums["position"] = positions.T
    sums["running"] = stored(running).T
    after: Ints = running[-1].copy()
    return after


def _prefixes(data: RoundData, totals: Ints) -> Ints:
    """Return Σ V of the rows of each row's contribution up to and with it."""
    pairs = zip(data.starts, data.starts[1:], strict=False)
    prefixes: Ints = np.concatenate([np.cumsum(totals[start:end]) for start, end in pairs])
    return prefixes


def _rows(flags: Flags, prefixes: Ints) -> Entries:
    rows = np.zeros((1, len(prefixes)), ROWS)
    rows["head"] = flags.flag << 24 | flags.witness
    rows["flagged"] = np.cumsum(flags.flag != 0)
    rows["prefix"] = stored(prefixes)
    return rows
