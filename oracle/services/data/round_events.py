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
from oracle.services.request_timeline import Words

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


SENTENCES = {
    "round.RoundOpened": "by {who}, reward {reward}",
    "round.ContributionSubmitted": "{index} by {who}, deposit {deposit}",
    "round.ContributionRevealed": "{index}: {rows} rows",
    "round.ContributionDisplaced": "{index}: {by} committed to the same rows earlier",
    "round.ContributionReturned": "{index} stands where it was committed to first: {first}",
    "round.RowsDemanded": "chunk {chunk} of {index} by {who}",
    "round.RowsShown": "chunk {chunk} of {index}",
    "round.Endorsed": "{index} by {who}: {amount}",
    "round.RoundSealed": "{count} contributions, {rows} rows",
    "round.RoundClaimed": "by {who} until {until}",
    "round.ClaimLapsed": "{who} loses {amount}",
    "round.ValuationPublished": "attempt {attempt} by {who}",
    "round.by": "by {who}",
    "round.ValuatorConvicted": "{who}; {amount} to {to}",
    "round.RoundSettled": "{credits} credits; {amount} paid",
    "round.RoundVoided": "{amount} to each who revealed",
    "round.CreditGranted": "{credits} to {who}, deposit back",
    "round.DepositForfeited": "{index}: {who} loses {amount}",
    "round.paid": "{index}: {amount} to {who}",
}


def english(key: str, **values: object) -> str:
    """Return a sentence of `SENTENCES` with its `{placeholders}` filled."""
    return SENTENCES[key].format_map(values)


def detail(event: Event, t: Words = english) -> str:  # noqa: PLR0911, PLR0912 -- one line per kind
    """Say in words what an event adds to its name."""
    key = f"round.{type(event).__name__}"
    match event:
        case RoundOpened():
            return t(key, who=event.opener, reward=format_amount(event.terms.reward))
        case ContributionSubmitted():
            deposit = format_amount(event.deposit)
            return t(key, index=event.index, who=event.owner, deposit=deposit)
        case ContributionRevealed():
            return t(key, index=event.index, rows=event.rows)
        case ContributionDisplaced():
            return t(key, index=event.index, by=event.by)
        case ContributionReturned():
            return t(key, index=event.index, first=event.first_round)
        case ContributionExcluded() | ContributionUnserved():
            return f"{event.index}"
        case RowsDemanded():
            return t(key, chunk=event.chunk, index=event.index, who=event.demander)
        case RowsShown():
            return t(key, chunk=event.chunk, index=event.index)
        case Endorsed():
            amount = format_credits(event.amount)
            return t(key, index=event.index, who=event.endorser, amount=amount)
        case RoundSealed():
            return t(key, count=event.contributions, rows=event.rows)
        case RoundClaimed():
            return t(key, who=event.valuator, until=format_time(event.until))
        case ClaimLapsed():
            return t(key, who=event.valuator, amount=format_amount(event.burned))
        case ValuationPublished():
            return t(key, attempt=event.attempt, who=event.valuator)
        case ValuationFaultProven() | ValuatorSilent() | TableDemanded():
            return t("round.by", who=event.challenger)
        case ValuatorConvicted():
            amount = format_amount(event.bounty)
            return t(key, who=event.valuator, amount=amount, to=event.challenger)
        case RoundSettled():
            credits, paid = format_credits(event.credits), format_amount(event.paid)
            return t(key, credits=credits, amount=paid)
        case RoundVoided():
            return t(key, amount=format_amount(event.compensation))
        case CreditGranted():
            return t(key, credits=format_credits(event.credit), who=event.owner)
        case DepositForfeited():
            return t(key, index=event.index, who=event.owner, amount=format_amount(event.deposit))
        case DepositRefunded():
            amount = format_amount(event.amount)
            return t("round.paid", index=event.index, amount=amount, who=event.owner)
        case EndorsementSettled():
            kept = format_credits(event.returned + event.reward)
            return t("round.paid", index=event.index, amount=kept, who=event.endorser)
    return ""
