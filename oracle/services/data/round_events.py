"""What happened in a round, in words."""

from oracle.chain.bindings.data_credits import Endorsed, EndorsementSettled
from oracle.chain.bindings.data_rounds import (
    ContributionDisplaced,
    ContributionExcluded,
    ContributionReturned,
    ContributionRevealed,
    ContributionSubmitted,
    ContributionUnserved,
    CreditGranted,
    DepositForfeited,
    DepositRefunded,
    RoundOpened,
    RoundSealed,
    RoundSettled,
    RoundVoided,
    TestSetRevealed,
)
from oracle.chain.bindings.row_demands import RowsDemanded, RowsShown
from oracle.chain.bindings.valuation_game import (
    ClaimLapsed,
    DemandLapsed,
    RoundClaimed,
    TableDemanded,
    TableLeafRevealed,
    TableOpened,
    ValuationFaultProven,
    ValuationPublished,
    ValuatorConvicted,
    ValuatorSilent,
)
from oracle.chain.event import Event
from oracle.services.amounts import format_amount, format_time
from oracle.services.data.credits import format_credits
from oracle.services.event_history import Happened, Moment, topic
from oracle.services.network import Network

_ROUND = (
    RoundOpened, ContributionSubmitted, ContributionRevealed, ContributionDisplaced,
    ContributionReturned, ContributionExcluded, ContributionUnserved, TestSetRevealed,
    RoundSealed, RoundSettled, RoundVoided, CreditGranted, DepositForfeited,
    DepositRefunded,
)  # fmt: skip
_CREDITS = (Endorsed, EndorsementSettled)
_DEMANDS = (RowsDemanded, RowsShown)
_GAME = (
    RoundClaimed, ClaimLapsed, ValuationPublished, ValuationFaultProven,
    TableDemanded, TableOpened, TableLeafRevealed, ValuatorSilent,
    ValuatorConvicted, DemandLapsed,
)  # fmt: skip


LIFE = (*_ROUND, *_CREDITS, *_DEMANDS, *_GAME)  # all that a round's timeline shows


def read(network: Network, round_id: int) -> list[Happened]:
    """Return every event of a round, of all contracts, in the order of the chain."""
    places = (
        (network.data_rounds.address, _ROUND),
        (network.credits.address, _CREDITS),
        (network.row_demands.address, _DEMANDS),
        (network.valuations.address, _GAME),
    )
    happened = [
        one
        for place, kinds in places
        for one in network.history.read(place, kinds, topic(round_id))
    ]
    return sorted(happened, key=lambda h: (h.block, h.index))


def tell(network: Network, happened: list[Happened]) -> tuple[Moment, ...]:
    """Return events as lines with their times."""
    return network.history.moments(happened, detail)


def detail(event: Event) -> str:  # noqa: PLR0911, PLR0912 -- one line per kind
    """Say in words what an event adds to its name."""
    match event:
        case RoundOpened():
            return f"by {event.opener}, reward {format_amount(event.terms.reward)}"
        case ContributionSubmitted():
            return f"{event.index} by {event.owner}, deposit {format_amount(event.deposit)}"
        case ContributionRevealed():
            return f"{event.index}: {event.rows} rows"
        case ContributionDisplaced():
            return f"{event.index}: {event.by} committed to the same rows earlier"
        case ContributionReturned():
            return f"{event.index} stands where it was committed to first: {event.first_round}"
        case ContributionExcluded() | ContributionUnserved():
            return f"{event.index}"
        case RowsDemanded():
            return f"chunk {event.chunk} of {event.index} by {event.demander}"
        case RowsShown():
            return f"chunk {event.chunk} of {event.index}"
        case Endorsed():
            return f"{event.index} by {event.endorser}: {format_credits(event.amount)}"
        case RoundSealed():
            return f"{event.contributions} contributions, {event.rows} rows"
        case RoundClaimed():
            return f"by {event.valuator} until {format_time(event.until)}"
        case ClaimLapsed():
            return f"{event.valuator} loses {format_amount(event.burned)}"
        case ValuationPublished():
            return f"attempt {event.attempt} by {event.valuator}"
        case ValuationFaultProven() | ValuatorSilent() | TableDemanded():
            return f"by {event.challenger}"
        case ValuatorConvicted():
            return f"{event.valuator}; {format_amount(event.bounty)} to {event.challenger}"
        case RoundSettled():
            return f"{format_credits(event.credits)} credits; {format_amount(event.paid)} paid"
        case RoundVoided():
            return f"{format_amount(event.compensation)} to each who revealed"
        case CreditGranted():
            return f"{format_credits(event.credit)} to {event.owner}, deposit back"
        case DepositForfeited():
            return f"{event.index}: {event.owner} loses {format_amount(event.deposit)}"
        case DepositRefunded():
            return f"{event.index}: {format_amount(event.amount)} to {event.owner}"
        case EndorsementSettled():
            kept = format_credits(event.returned + event.reward)
            return f"{event.index}: {kept} to {event.endorser}"
    return ""
