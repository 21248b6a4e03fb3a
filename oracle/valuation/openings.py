"""Shows nodes and leaves of a valuation's trees as the chain demands them (§4, and exact.md §7).

One demand is answered by the 64 nodes six levels below it (fewer near the leaves), or by the bytes
of the leaf that it names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.merkle import HashTree
from oracle.types import Bytes32, ValuationPart
from oracle.valuation.dataset import DataSet
from oracle.valuation.rounds import RoundData
from oracle.valuation.tables import Table, Tables

LEVELS = 6  # opened at once


@dataclass(frozen=True)
class DemandedTree:
    """One tree: its hashes, and the logical bytes of its leaves; none for an absent one."""

    hashes: HashTree
    leaf: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class OpenedNodes:
    """What is below a node, and the siblings from the node up."""

    nodes: tuple[Bytes32, ...]
    path: tuple[Bytes32, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """The bytes of a leaf, and its siblings up."""

    data: bytes
    path: tuple[Bytes32, ...]


def tree(data: RoundData, tables: Tables, part: ValuationPart, number: int = 0) -> DemandedTree:
    """Return the tree that a demand names.

    Raises:
        InputInvalid: there is no such contribution.
    """
    if part is ValuationPart.TEST:
        return _of_rows(data.test)
    if part is ValuationPart.DATA:
        if number >= len(data.sets):
            raise InputInvalid(f"there is no contribution {number}")
        return _of_rows(data.sets[number])
    return _of_table(
        {ValuationPart.ORDER: tables.order, ValuationPart.SUMS: tables.sums}.get(part, tables.rows)
    )


def answer(shown: DemandedTree, level: int, index: int) -> OpenedNodes | Leaf:
    """Return what shows node `index` at `level` (0 = root).

    Raises:
        InputInvalid: there is no such node.
    """
    hashes = shown.hashes
    if not 0 <= level <= hashes.depth or index >> level:
        raise InputInvalid(f"there is no node {index} at level {level}")
    path = tuple(hashes.node(level - up, index >> up ^ 1) for up in range(level))
    if level == hashes.depth:
        return Leaf(shown.leaf(index), path)
    below = min(LEVELS, hashes.depth - level)
    first = index << below
    return OpenedNodes(
        tuple(hashes.node(level + below, first + k) for k in range(1 << below)), path
    )


def _of_rows(held: DataSet) -> DemandedTree:
    return DemandedTree(held.tree, lambda index: held.row(index) if index < held.rows else b"")


def _of_table(table: Table) -> DemandedTree:
    levels = table.tree.leaf_levels

    def leaf(index: int) -> bytes:
        row = index >> levels
        if row >= len(table.entries):
            return b""
        return table.leaf(row, index & (1 << levels) - 1)

    return DemandedTree(table.tree, leaf)
