"""What contributions of data and their valuations log."""

from dataclasses import dataclass

from oracle.chain.events.event import Event
from oracle.types import (
    Address,
    Amount,
    Bytes32,
    Credits,
    RoundTerms,
    Timestamp,
    ValuationPart,
    ValuationRoots,
    Wei,
)

_event = dataclass(frozen=True, slots=True)


# ── DataCredits ─────────────────────────────────────────────────────────────────────────────────
@_event
class RoundOpened(Event):
    round_id: int
    model_id: int
    opener: Address
    terms: RoundTerms


@_event
class ContributionSubmitted(Event):
    round_id: int
    index: int
    owner: Address
    payer: Address
    commitment: Bytes32
    endorser_bps: int
    deposit: Amount
    previous: Bytes32
    record: Bytes32


@_event
class ContributionRevealed(Event):
    round_id: int
    index: int
    owner: Address
    data_root: Bytes32
    rows: int
    cid: Bytes32
    envelope: Bytes32
    previous: Bytes32
    record: Bytes32


@_event
class ContributionDisplaced(Event):
    round_id: int
    index: int
    by: int


@_event
class ContributionExcluded(Event):
    round_id: int
    index: int


@_event
class Endorsed(Event):
    round_id: int
    index: int
    endorser: Address
    amount: Credits


@_event
class TestSetRevealed(Event):
    __test__ = False  # not a test, whatever pytest takes its name for

    round_id: int
    test_root: Bytes32
    cid: Bytes32


@_event
class ContributionNumbered(Event):
    round_id: int
    number: int
    index: int
    start: int
    rows: int


@_event
class RoundSealed(Event):
    round_id: int
    contributions: int
    rows: int


@_event
class ValuatorPunished(Event):
    model_id: int
    valuator: Address


@_event
class RoundSettled(Event):
    round_id: int
    valuator: Address
    values_root: Bytes32
    credits: Credits
    lost: Credits
    paid: Amount


@_event
class RoundVoided(Event):
    round_id: int
    paid_to_opener: Amount
    compensation: Amount


@_event
class CreditGranted(Event):
    round_id: int
    number: int
    owner: Address
    value: int
    credit: Credits
    deposit: Amount


@_event
class DepositForfeited(Event):
    round_id: int
    index: int
    owner: Address
    deposit: Amount


@_event
class DepositRefunded(Event):
    round_id: int
    index: int
    owner: Address
    amount: Amount


@_event
class EndorsementSettled(Event):
    round_id: int
    index: int
    endorser: Address
    returned: Credits
    reward: Credits


@_event
class RevenueCredited(Event):
    model_id: int
    amount: Amount
    credits: Credits


@_event
class RevenueClaimed(Event):
    model_id: int
    holder: Address
    amount: Amount


@_event
class BalanceWithdrawn(Event):
    account: Address
    amount: Amount


# ── ValuationGame ───────────────────────────────────────────────────────────────────────────────
@_event
class ValuatorStaked(Event):
    valuator: Address
    amount: Amount
    staked: Amount


@_event
class ValuatorUnstaked(Event):
    valuator: Address
    amount: Amount
    staked: Amount


@_event
class RoundClaimed(Event):
    round_id: int
    valuator: Address
    until: Timestamp


@_event
class ClaimLapsed(Event):
    round_id: int
    valuator: Address
    burned: Amount


@_event
class ValuationPublished(Event):
    round_id: int
    valuator: Address
    attempt: int
    valuation_root: Bytes32
    cid: Bytes32
    valuation: ValuationRoots
    values: tuple[int, ...]
    window_end: Timestamp


@_event
class ValuationFaultAnnounced(Event):
    witness: Bytes32


@_event
class ValuationFaultProven(Event):
    round_id: int
    challenger: Address
    attempt: int
    code: int


@_event
class TableDemanded(Event):
    round_id: int
    challenger: Address
    attempt: int
    part: ValuationPart
    number: int
    level: int
    index: int
    deadline: Timestamp


@_event
class TableOpened(Event):
    round_id: int
    challenger: Address
    nodes: tuple[Bytes32, ...]


@_event
class TableLeafRevealed(Event):
    round_id: int
    challenger: Address
    data: bytes


@_event
class ValuatorSilent(Event):
    round_id: int
    challenger: Address
    attempt: int


@_event
class ValuatorConvicted(Event):
    round_id: int
    valuator: Address
    challenger: Address
    bounty: Amount
    burned: Amount
    end_by: Timestamp


@_event
class DemandLapsed(Event):
    round_id: int
    challenger: Address
    to_valuator: Wei
    burned: Wei


@_event
class DemandBondReleased(Event):
    round_id: int
    challenger: Address
    amount: Wei
