"""A table of which only the root is known, and what was shown on chain since.

What has the hash of ours is ours; what differs must be shown before it can be read.
```
 node(level, index)   shown ─▶ its hash;  below a node equal to ours ─▶ ours;  else ─▶ Unknown
```
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.merkle import keccak
from oracle.types import ZERO32, Bytes32, ValuationPart
from oracle.valuation.openings import LEVELS
from oracle.valuation.tables import ENTRY, ORDER, PER_LEAF, ROWS, SUMS, Table, leaf_hash

_DTYPES = {ValuationPart.ORDER: ORDER, ValuationPart.SUMS: SUMS, ValuationPart.ROWS: ROWS}


class Unknown(Exception):
    """This node has to be demanded first: a leaf, or the one above what is not known."""

    def __init__(self, part: ValuationPart, level: int, index: int) -> None:
        super().__init__(f"{part.name.lower()}: node {index} at level {level}")
        self.part, self.level, self.index = part, level, index


@dataclass(frozen=True)
class _Entries:
    """Entries one at a time, as an array would give them."""

    table: "OpenedTable"
    shape: tuple[int, int]

    def __getitem__(self, place: tuple[int, int]) -> Any:
        row, col = place
        data = self.table.leaf(row, col // PER_LEAF)
        at = col % PER_LEAF * ENTRY
        return np.frombuffer(data[at : at + ENTRY], _DTYPES[self.table.part])[0]


class OpenedTable(Table):
    """A table that is not served.

    Args:
        ours: the right one, of the same shape unless `alone`.
        root: of theirs.
        shape: rows × entries of theirs.
    """

    def __init__(
        self, part: ValuationPart, ours: Table, root: Bytes32, shape: tuple[int, int]
    ) -> None:
        self.part = part
        self.entries: Any = _Entries(self, shape)
        self._ours = ours if ours.entries.shape == shape else None
        self._row_levels = (max(1, shape[0]) - 1).bit_length()
        self._leaf_levels = (max(1, -(-shape[1] // PER_LEAF)) - 1).bit_length()
        self.depth = self._row_levels + self._leaf_levels
        self._nodes: dict[tuple[int, int], Bytes32] = {(0, 0): root}
        self._leaves: dict[int, bytes] = {}

    # ── What is shown ───────────────────────────────────────────────────────────────────────────

    def show_nodes(self, level: int, index: int, nodes: tuple[Bytes32, ...]) -> None:
        """Take what an opening showed; the chain has checked it against the root."""
        below = min(LEVELS, self.depth - level)
        held, first = list(nodes), index << below
        for height in range(below):
            deep = level + below - height
            for k, node in enumerate(held):
                self._nodes[deep, (first >> height) + k] = node
            held = [keccak(held[k] + held[k + 1]) for k in range(0, len(held), 2)]

    def show_leaf(self, index: int, data: bytes, path: tuple[Bytes32, ...] = ()) -> None:
        """Take a revealed leaf, and its siblings from there up where they are known."""
        node = Bytes32(leaf_hash(data)) if data else ZERO32
        self._leaves[index] = data
        self._nodes[self.depth, index] = node
        for up, sibling in enumerate(path):
            level, here = self.depth - up, index >> up
            self._nodes[level, here ^ 1] = sibling
            node = keccak(sibling + node if here & 1 else node + sibling)
            self._nodes[level - 1, here >> 1] = node

    # ── What can be read ────────────────────────────────────────────────────────────────────────

    @property
    def root(self) -> Bytes32:
        return self._nodes[0, 0]

    def node(self, level: int, index: int) -> Bytes32:
        """Return a node.

        Raises:
            Unknown: what is above it must be opened first.
        """
        if (level, index) in self._nodes:
            return self._nodes[level, index]
        for up in range(1, level + 1):
            above = (level - up, index >> up)
            if above not in self._nodes:
                continue
            if self._ours is not None and self._nodes[above] == self._ours.tree.node(*above):
                return self._ours.tree.node(level, index)
            raise Unknown(self.part, *above)
        raise AssertionError("the root is known")

    def leaf(self, row: int, leaf: int) -> bytes:
        """Return the logical bytes of a leaf.

        Raises:
            Unknown: it must be revealed first.
        """
        index = (row << self._leaf_levels) + leaf
        if index in self._leaves:
            return self._leaves[index]
        if self._ours is not None and self._same(index):
            return self._ours.leaf(row, leaf)
        raise Unknown(self.part, self.depth, index)

    def path(self, row: int, leaf: int) -> tuple[Bytes32, ...]:
        """Return the siblings from a leaf up.

        Raises:
            Unknown: a node above them must be opened first.
        """
        index = (row << self._leaf_levels) + leaf
        return tuple(self.node(self.depth - up, index >> up ^ 1) for up in range(self.depth))

    def _same(self, index: int) -> bool:
        """Tell whether a leaf is known to be ours."""
        assert self._ours is not None
        for up in range(self.depth + 1):
            place = (self.depth - up, index >> up)
            if place in self._nodes:
                return self._nodes[place] == self._ours.tree.node(*place)
        return False

    def difference(self) -> tuple[int, int]:
        """Return row and leaf of the first leaf that is not ours.

        Raises:
            Unknown: a node must be opened first.
        """
        index = 0
        for level in range(1, self.depth + 1):
            index <<= 1
            ours = None if self._ours is None else self._ours.tree.node(level, index)
            if self.node(level, index) == ours:
                index += 1
        return index >> self._leaf_levels, index & (1 << self._leaf_levels) - 1
