"""Arguments of the contracts' functions that travel together, to be passed with a star.

What a binding takes one by one, and a use case keeps as one thing.
"""

from dataclasses import dataclass
from typing import NamedTuple

from oracle.chain.bindings.committee import Finding
from oracle.chain.bindings.dispute_game import Receipt, VersionPreimage
from oracle.types import (
    ZERO32,
    Activation,
    Address,
    Bytes32,
    Delivery,
    Request,
    Timestamp,
    ValuationPart,
    VersionRecord,
)

GENERAL = ZERO32  # the runtime class of a committee whose members run every format
NO_RECEIPT = Receipt(ZERO32, ZERO32, b"")


class Vote(NamedTuple):
    """What a voter commits to, salt included, and reveals afterwards."""

    finding: Finding
    output_digest: Bytes32
    activation: Activation
    salt: Bytes32


class DataOpening(NamedTuple):
    """What a commitment to a data set hides, and where the file is."""

    data_root: Bytes32
    rows: int
    salt: Bytes32
    cid: Bytes32  # SHA-256 of the data set's file
    envelope: Bytes32 = ZERO32


class Submission(NamedTuple):
    """What an owner signs so that somebody else may commit for it; the nonce is its standing's."""

    owner: Address
    round_id: int
    commitment: Bytes32
    endorser_bps: int
    deadline: Timestamp


@dataclass(frozen=True, slots=True)
class TableNode:
    """A node of one tree of a valuation: of a table, a data set, or the test set."""

    part: ValuationPart
    number: int  # of the contribution, for DATA; else 0
    level: int  # 0 = root
    index: int


@dataclass(frozen=True, slots=True)
class DisputedAnswer:
    """What a game is about: callers bring it back, the chain has only hashes of it."""

    request: Request
    delivery: Delivery
    record: VersionRecord  # of the version that was asked

    @property
    def state(self) -> tuple[Request, Delivery]:
        """What the market's slot is a hash of."""
        return self.request, self.delivery

    @property
    def preimage(self) -> VersionPreimage:
        """What the head of the history is a hash of, beside model, version and assurance."""
        record = self.record
        return VersionPreimage(
            record.prev_head,
            record.manifest_digest,
            record.model_root,
            record.tolerance,
            record.publisher,
            record.timestamp,
        )
