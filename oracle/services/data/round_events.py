"""What happened in a round, in words."""

from oracle.chain import events as ev
from oracle.chain.events import Event
from oracle.services.amounts import format_amount, format_time
from oracle.services.data.credits import format_credits
from oracle.services.event_history import Happened, Moment, topic
from oracle.services.network import Network

_ROUND = (
    ev.RoundOpened, ev.ContributionSubmitted, ev.ContributionRevealed, ev.ContributionDisplaced,
    ev.ContributionExcluded, ev.Endorsed, ev.TestSetRevealed, ev.RoundSealed, ev.RoundSettled,
    ev.RoundVoided, ev.CreditGranted, ev.DepositForfeited, ev.DepositRefunded,
    ev.EndorsementSettled,
)  # fmt: skip
_GAME = (
    ev.RoundClaimed, ev.ClaimLapsed, ev.ValuationPublished, ev.ValuationFaultProven,
    ev.TableDemanded, ev.TableOpened, ev.TableLeafRevealed, ev.ValuatorSilent,
    ev.ValuatorConvicted, ev.DemandLapsed,
)  # fmt: skip


LIFE = (*_ROUND, *_GAME)  # all that a round's timeline shows


def read(context: Network, round_id: int) -> list[Happened]:
    """Return every event of a round, of both contracts, in the order of the chain."""
    happened = [
        *context.history.read(context.credits.address, _ROUND, topic(round_id)),
        *context.history.read(context.valuations.address, _GAME, topic(round_id)),
    ]
    return sorted(happened, key=lambda h: (h.block, h.index))


def tell(context: Network, happened: list[Happened]) -> tuple[Moment, ...]:
    """Return events as lines with their times."""
    return context.history.moments(happened, detail)


def detail(event: Event) -> str:  # noqa: PLR0911, PLR0912 -- one line per kind
    """Say in words what an event adds to its name."""
    match event:
        case ev.RoundOpened():
            return f"by {event.opener}, reward {format_amount(event.terms.reward)}"
        case ev.ContributionSubmitted():
            return f"{event.index} by {event.owner}, deposit {format_amount(event.deposit)}"
        case ev.ContributionRevealed():
            return f"{event.index}: {event.rows} rows"
        case ev.ContributionDisplaced():
            return f"{event.index}: {event.by} committed to the same rows earlier"
        case ev.ContributionExcluded():
            return f"{event.index}"
        case ev.Endorsed():
            return f"{event.index} by {event.endorser}: {format_credits(event.amount)}"
        case ev.RoundSealed():
            return f"{event.contributions} contributions, {event.rows} rows"
        case ev.RoundClaimed():
            return f"by {event.valuator} until {format_time(event.until)}"
        case ev.ClaimLapsed():
            return f"{event.valuator} loses {format_amount(event.burned)}"
        case ev.ValuationPublished():
            return f"attempt {event.attempt} by {event.valuator}"
        case ev.ValuationFaultProven() | ev.ValuatorSilent() | ev.TableDemanded():
            return f"by {event.challenger}"
        case ev.ValuatorConvicted():
            return f"{event.valuator}; {format_amount(event.bounty)} to {event.challenger}"
        case ev.RoundSettled():
            return f"{format_credits(event.credits)} credits; {format_amount(event.paid)} paid"
        case ev.RoundVoided():
            return f"{format_amount(event.compensation)} to each who revealed"
        case ev.CreditGranted():
            return f"{format_credits(event.credit)} to {event.owner}, deposit back"
        case ev.DepositForfeited():
            return f"{event.index}: {event.owner} loses {format_amount(event.deposit)}"
        case ev.DepositRefunded():
            return f"{event.index}: {format_amount(event.amount)} to {event.owner}"
        case ev.EndorsementSettled():
            kept = format_credits(event.returned + event.reward)
            return f"{event.index}: {kept} to {event.endorser}"
    return ""
