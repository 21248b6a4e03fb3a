"""The judge: decides a fault from its proof alone, as ValuationGame.sol does, part for part.

docs/valuation.md, section 5. A proof that does not fit is refused (FaultInvalid), one that fits and
shows nothing wrong convicts nobody.
"""

from collections.abc import Sequence

from oracle.merkle import climb, log
from oracle.types import Bytes32
from oracle.valuation.dataset import read_row, row_leaf
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import INDICES, PARTS, Code, Fault, Piece
from oracle.valuation.rounds import SealedRound, Valuation
from oracle.valuation.rules import Flagged, Point, RankedRow, ShownRows, Summed, convicts
from oracle.valuation.tables import ENTRY, OFFSET, PER_LEAF, leaf_hash, value_leaf


def judge(round_: SealedRound, valuation: Valuation, fault: Fault) -> bool:
    """Return whether the proof convicts the valuation.

    Raises:
        FaultInvalid: a part of the proof does not fit the round, the valuation or its own shape.
    """
    counts = (valuation.N, valuation.T)
    require(counts == (round_.rows, round_.test_rows), "valuation")
    require(fault.code in Code.__members__.values(), "code")
    proof = _Proof(round_, valuation, fault)
    guilty = convicts(Code(fault.code), proof)
    proof.finish()
    return guilty


def require(holds: bool, part: str) -> None:
    """Refuse a proof for one of its parts.

    Raises:
        FaultInvalid: it does not hold.
    """
    if not holds:
        raise FaultInvalid(part)


class _Proof(ShownRows):
    """What a proof shows, checked against the roots as it is asked for."""

    def __init__(self, round_: SealedRound, valuation: Valuation, fault: Fault) -> None:
        self.round = round_
        self.n = valuation.n
        self.by_row = len(fault.data) == 2
        self._valuation = valuation
        self._fault = fault
        self._used = dict.fromkeys(PARTS, 0)
        self._indices: set[str] = set()
        self._open: dict[str, tuple[int, int, bytes]] = {}  # the last leaf of each table

    def finish(self) -> None:
        """Refuse what nobody asked for.

        Raises:
            FaultInvalid: an index or a piece is there without being named by the code.
        """
        for part, used in self._used.items():
            require(len(getattr(self._fault, part)) == used, part)
        for name in INDICES:
            require(name in self._indices or getattr(self._fault, name) == 0, "indices")

    def index(self, name: str, below: int) -> int:
        """Return an index, which must be below a bound."""
        self._indices.add(name)
        value: int = getattr(self._fault, name)
        require(0 <= value < below, "indices")
        return value

    def order(self, t: int, p: int) -> RankedRow:
        """Return an entry."""
        root = self._valuation.order
        return RankedRow(*self._entry("order", root, t, p, (self._valuation.T, self.n)))

    def sums(self, i: int, t: int) -> Summed:
        """Return an entry."""
        shape = (self._valuation.N, self._valuation.T)
        return Summed(*self._entry("sums", self._valuation.sums, i, t, shape))

    def rows(self, i: int) -> Flagged:
        """Return an entry."""
        shape = (1, self._valuation.N)
        head, flagged, prefix = self._entry("rows", self._valuation.rows, 0, i, shape)
        return Flagged(head >> 24, head & 0xFFFFFF, flagged, prefix)

    def value(self, c: int) -> int:
        """Return the value of a contribution."""
        piece = self._next("values")
        require(len(piece.data) == 12 and int.from_bytes(piece.data[:4]) == c, "values")
        root = self._valuation.values
        _check("values", value_leaf(piece.data), (c, log(len(self.round.counts))), piece, root)
        return int.from_bytes(piece.data[4:])

    def owner(self, i: int, name: str) -> int:
        """Return the contribution that owns a row; index `name` of the proof says it."""
        owner = self.index(name, len(self.round.counts))
        start = self.round.starts[owner]
        require(start <= i < start + self.round.counts[owner], name)
        return owner

    def data(self, i: int, name: str) -> Point:
        """Return a row of the contribution that index `name` says."""
        owner = self.owner(i, name)
        at, count = i - self.round.starts[owner], self.round.counts[owner]
        return self._point("data", self.round.roots[owner], at, count)

    def test(self, t: int) -> Point:
        """Return a test point."""
        return self._point("test", self.round.test_root, t, self.round.test_rows)

    def _point(self, part: str, root: Bytes32, row: int, count: int) -> Point:
        piece = self._next(part)
        require(len(piece.data) == self.round.width + 2, part)
        _check(part, row_leaf(piece.data), (row, log(count)), piece, root)
        return Point(*read_row(piece.data))

    def _entry(
        self, part: str, root: Bytes32, row: int, col: int, shape: tuple[int, int]
    ) -> tuple[int, int, int]:
        """Return the three numbers of an entry; a leaf that was the last opened is not shown again.

        Raises:
            FaultInvalid: the entry is outside the table, or the leaf is not one of it.
        """
        rows, cols = shape
        require(row < rows and col < cols, part)
        leaf, at = divmod(col, PER_LEAF)
        last = self._open.get(part)
        if last is None or last[:2] != (row, leaf):
            piece = self._next(part)
            leaves = -(-cols // PER_LEAF)
            length = min(PER_LEAF, cols - leaf * PER_LEAF) * ENTRY
            require(len(piece.data) == length, part)
            index = (row << log(leaves)) + leaf
            depth = log(rows) + log(leaves)
            _check(part, leaf_hash(piece.data), (index, depth), piece, root)
            last = (row, leaf, piece.data)
            self._open[part] = last
        return read_entry(last[2][at * ENTRY : (at + 1) * ENTRY])

    def _next(self, part: str) -> Piece:
        pieces: Sequence[Piece] = getattr(self._fault, part)
        require(self._used[part] < len(pieces), part)
        self._used[part] += 1
        return pieces[self._used[part] - 1]


def read_entry(data: bytes) -> tuple[int, int, int]:
    """Return the three numbers of 16 bytes, the last one signed."""
    return (
        int.from_bytes(data[:4]),
        int.from_bytes(data[4:8]),
        int.from_bytes(data[8:]) - OFFSET,
    )


def _check(part: str, leaf: bytes, place: tuple[int, int], piece: Piece, root: bytes) -> None:
    """Refuse a piece whose path does not lead from its place (index, depth) to the root."""
    index, depth = place
    require(len(piece.path) == depth and climb(leaf, index, piece.path) == root, part)
