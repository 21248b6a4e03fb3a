"""The proof of a fault: one struct for all codes, as IValuationGame.sol has it (§5).

Knows neither what convicts (rules.py) nor who asks: the judge reads one, the finder writes one.
"""

from dataclasses import dataclass
from enum import IntEnum

from oracle.types import Bytes32


class Code(IntEnum):
    """What is wrong with a valuation (docs/valuation.md, section 4)."""

    DISTANCE = 1
    ORDER = 2
    RANGE = 3
    FLAGGED_RANKED = 4
    RECURRENCE = 5
    RANK = 6
    RUNNING_SUM = 7
    FLAGGED_SUM = 8
    FALSE_FLAG = 9
    MISSING_FLAG = 10
    LATER_WITNESS = 11
    FLAG_COUNT = 12
    PREFIX = 13
    VALUE = 14


@dataclass(frozen=True, slots=True)
class Piece:
    """A leaf's or a row's bytes, and its siblings from there up."""

    data: bytes
    path: tuple[Bytes32, ...]


Pieces = tuple[Piece, ...]
INDICES = ("t", "p", "i", "j", "a", "b")
PARTS = ("order", "sums", "rows", "values", "data", "test")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and all that shows it. Fields stand in the order of the Solidity struct."""

    code: int
    t: int = 0
    p: int = 0
    i: int = 0
    j: int = 0
    a: int = 0
    b: int = 0
    order: Pieces = ()
    sums: Pieces = ()
    rows: Pieces = ()
    values: Pieces = ()
    data: Pieces = ()
    test: Pieces = ()
