"""What a challenger of valuations says about one round."""

from dataclasses import dataclass
from enum import StrEnum

from oracle.chain.transactions import Receipt
from oracle.valuation.faults import Fault


class Stand(StrEnum):
    """How a round's valuation stands, as far as we are concerned."""

    NONE = "none"  # nothing is published, or it is settled
    RIGHT = "right"
    OURS = "ours"
    WRONG = "wrong"  # a conviction is under way
    UNSERVED = "unserved"  # demanded on chain; the valuator's turn
    CONVICTED = "convicted"  # by us
    LATE = "late"  # wrong, and the window has passed


@dataclass(frozen=True, slots=True)
class ValuationReport:
    """What was found and done about one round."""

    round_id: int
    attempt: int
    stand: Stand
    note: str = ""
    fault: Fault | None = None
    transactions: tuple[Receipt, ...] = ()  # sent since the last report
