"""The largest round that there can be, as far as one proof sees of it: 2^20 rows of 256 features.

Nobody can hold its tables (128 GB): of each tree there are the leaves that the proof shows, and
hashes of nothing beside their paths. All bytes are non-zero, which costs most as calldata.
"""

from dataclasses import dataclass, field

import numpy as np

from oracle.merkle import keccak, log
from oracle.valuation.dataset import row_leaf
from oracle.valuation.faults import Code, Fault, Piece
from oracle.valuation.rounds import Valuation
from oracle.valuation.tables import leaf_hash

FEATURES, ROWS, TEST_ROWS = 256, 1 << 20, 1 << 12
COLUMNS = {"order": ROWS, "sums": TEST_ROWS, "rows": ROWS}
HEIGHTS = {"order": TEST_ROWS, "sums": ROWS, "rows": 1}
DEPTHS = {part: log(HEIGHTS[part]) + log(COLUMNS[part] // 128) for part in COLUMNS}
DEPTHS |= {"data": log(ROWS), "test": log(TEST_ROWS)}


@dataclass
class Sparse:
    """A tree of which only some leaves are known."""

    depth: int
    leaves: dict[int, bytes] = field(default_factory=dict)  # hashes by number

    def node(self, level: int, index: int) -> bytes:
        height = self.depth - level
        if not any(number >> height == index for number in self.leaves):
            return keccak(b"beside %d %d" % (level, index))
        if height == 0:
            return self.leaves[index]
        return keccak(self.node(level + 1, 2 * index) + self.node(level + 1, 2 * index + 1))

    def path(self, index: int) -> tuple[bytes, ...]:
        return tuple(self.node(self.depth - k, (index >> k) ^ 1) for k in range(self.depth))


class Limit:
    """A fault in such a round, written entry by entry in the order of its pieces."""

    def __init__(self, code: Code, **indices: int) -> None:
        self.code, self.indices = code, indices
        self.rng = np.random.default_rng(code)
        self.trees = {part: Sparse(depth) for part, depth in DEPTHS.items()}
        self.shown: dict[str, list[tuple[int, bytes]]] = {part: [] for part in DEPTHS}

    def entry(self, part: str, row: int, col: int, first: int, second: int) -> None:
        """Show an entry; its third number is any."""
        across = log(COLUMNS[part] // 128)
        number, at = (row << across) + (col >> 7), (col & 127) * 16
        data = bytearray(self.rng.integers(1, 256, 2048, np.uint8).tobytes())
        data[at : at + 8] = first.to_bytes(4) + second.to_bytes(4)
        self._show(part, number, bytes(data), leaf_hash(bytes(data)))

    def point(self, part: str, row: int) -> None:
        data = self.rng.integers(1, 256, FEATURES, np.uint8).tobytes() + b"\1\1"  # one label
        self._show(part, row, data, row_leaf(data))

    def _show(self, part: str, number: int, data: bytes, leaf: bytes) -> None:
        self.shown[part].append((number, data))
        self.trees[part].leaves[number] = leaf

    def root(self, part: str) -> bytes:
        return self.trees[part].node(0, 0)

    def valuation(self, values: bytes) -> Valuation:
        tables = [self.root(part) for part in ("order", "sums", "rows")]
        return Valuation(ROWS, ROWS, TEST_ROWS, *tables, values)

    @property
    def fault(self) -> Fault:
        pieces = {
            part: tuple(Piece(data, self.trees[part].path(number)) for number, data in shown)
            for part, shown in self.shown.items()
        }
        return Fault(self.code, **self.indices, **pieces)


def limits() -> dict[str, Limit]:
    """Return the longest proof of every code."""
    t, i, j, row = 2_048, 0x0F1282, 0x0F1180, 0x0F2342  # i at the start of a leaf + 2
    made = {}

    def new(code: Code, **indices: int) -> Limit:
        made[code.name] = Limit(code, **indices)
        return made[code.name]

    near = new(Code.DISTANCE, t=t, p=300)
    near.entry("order", t, 300, row, 1)
    near.point("data", row)
    near.point("test", t)

    for code in (Code.ORDER, Code.RECURRENCE):
        pair = new(code, t=t, p=255)
        pair.entry("order", t, 255, row, 0xFFFFFFFF)
        pair.entry("order", t, 256, row + 1, 0x01010101)
    for at in (row, row + 1):
        made["RECURRENCE"].point("data", at)
    made["RECURRENCE"].point("test", t)

    new(Code.RANGE, t=t, p=300).entry("order", t, 300, 0xFFFFFFFF, 0x01010101)
    ranked = new(Code.FLAGGED_RANKED, t=t, p=300)
    ranked.entry("order", t, 300, row, 0x01010101)
    ranked.entry("rows", 0, row, 1 << 24 | 1, 0x01010101)
    rank = new(Code.RANK, t=t, p=300)
    rank.entry("order", t, 300, row, 0x01010101)
    rank.entry("sums", row, t, 0x01010101, 0x01010101)
    running = new(Code.RUNNING_SUM, i=i, t=t)
    running.entry("sums", i, t, 0x0F2342, 0)
    running.entry("sums", i, t - 1, 0x01010101, 0x01010101)
    running.entry("order", t, 0x0F2342, i, 0x01010101)
    paid = new(Code.FLAGGED_SUM, i=i, t=t)
    paid.entry("rows", 0, i, 1 << 24 | 1, 0x01010101)
    paid.entry("sums", i, t, 0x01010101, 0x01010101)

    for code, head in (
        (Code.FALSE_FLAG, 1 << 24 | j),
        (Code.MISSING_FLAG, 0),
        (Code.LATER_WITNESS, 1 << 24 | j + 1),
    ):
        flag = new(code, i=i, **({} if code == Code.FALSE_FLAG else {"j": j}))
        flag.entry("rows", 0, i, head, 0x01010101)
        flag.entry("rows", 0, j, 0, 0x01010101)
        flag.point("data", i)
        flag.point("data", j)

    count = new(Code.FLAG_COUNT, i=0x0F1280)
    count.entry("rows", 0, 0x0F1280, 1 << 24 | 1, 0x01010101)
    count.entry("rows", 0, 0x0F127F, 1 << 24 | 1, 0x01010101)
    prefix = new(Code.PREFIX, i=0x0F1280)
    prefix.entry("rows", 0, 0x0F1280, 1 << 24 | 1, 0x01010101)
    prefix.entry("rows", 0, 0x0F127F, 1 << 24 | 1, 0x01010101)
    prefix.entry("sums", 0x0F1280, TEST_ROWS - 1, 0x01010101, 0x01010101)
    return made
