"""The contributions to a round, folded from its events: who brought what, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oracle.chain.bindings.data_credits import Endorsed
from oracle.chain.bindings.data_rounds import (
    ContributionDisplaced,
    ContributionExcluded,
    ContributionNumbered,
    ContributionRevealed,
    ContributionStatus,
    ContributionSubmitted,
    ContributionUnserved,
    CreditGranted,
    DepositForfeited,
    DepositRefunded,
)
from oracle.chain.event import Event
from oracle.errors import NotFound
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.types import Address, Amount, Bytes32, Credits, Timestamp

_KINDS = (
    ContributionSubmitted, ContributionRevealed, ContributionDisplaced,
    ContributionExcluded, ContributionUnserved, ContributionNumbered, CreditGranted,
    DepositForfeited, DepositRefunded,
)  # fmt: skip
_STATUS: dict[type[Event], ContributionStatus] = {
    ContributionRevealed: ContributionStatus.REVEALED,
    ContributionDisplaced: ContributionStatus.DISPLACED,
    ContributionExcluded: ContributionStatus.EXCLUDED,
    ContributionUnserved: ContributionStatus.UNSERVED,
    CreditGranted: ContributionStatus.CLOSED,
    DepositForfeited: ContributionStatus.CLOSED,
    DepositRefunded: ContributionStatus.CLOSED,
}


@dataclass(frozen=True, slots=True)
class ContributionInfo:
    """One contribution as it stands now.

    Attributes:
        deposit: token units that were laid down.
        rows: 0 while they are hidden.
        endorsed: credits that others staked on it.
        number: its place in the valuation; None before it has one.
        value, credit: by the settled valuation and as granted; None before.
    """

    round_id: int
    index: int
    owner: Address
    payer: Address
    status: ContributionStatus
    commitment: Bytes32
    data_root: Bytes32 | None
    cid: Bytes32 | None
    rows: int
    deposit: Amount
    endorser_bps: int
    endorsed: Credits
    number: int | None
    value: int | None
    credit: Credits | None
    lost: bool  # its deposit
    submitted_at: Timestamp
    record: Bytes32  # heads the model's chain of contributions after it was submitted


def show(network: Network, round_id: int, index: int) -> ContributionInfo:
    """Return one contribution.

    Raises:
        NotFound: the round has none of this index.
    """
    found = list_contributions(network, round_id)
    if not 0 <= index < len(found):
        raise NotFound(
            f"round {round_id} has no contribution {index}",
            hint=f"it has {len(found)}: `tallystick data list {round_id}`",
        )
    return found[index]


def list_contributions(network: Network, round_id: int) -> tuple[ContributionInfo, ...]:
    """Return the contributions to a round in the order of their commitments."""
    happened = network.history.read(network.data_rounds.address, _KINDS, topic(round_id))
    happened += network.history.read(network.credits.address, (Endorsed,), topic(round_id))
    happened.sort(key=lambda one: (one.block, one.index))
    times = network.history.times(
        h.block for h in happened if isinstance(h.event, ContributionSubmitted)
    )
    found: list[ContributionInfo] = []
    for one in happened:
        if isinstance(one.event, ContributionSubmitted):
            found.append(_submitted(one.event, times[one.block]))
        else:
            info = _changed(found, one.event)
            found[info.index] = info
    return tuple(found)


def _submitted(event: ContributionSubmitted, time: Timestamp) -> ContributionInfo:
    return ContributionInfo(
        round_id=event.round_id,
        index=event.index,
        owner=event.owner,
        payer=event.payer,
        status=ContributionStatus.COMMITTED,
        commitment=event.commitment,
        data_root=None,
        cid=None,
        rows=0,
        deposit=event.deposit,
        endorser_bps=event.endorser_bps,
        endorsed=Credits(0),
        number=None,
        value=None,
        credit=None,
        lost=False,
        submitted_at=time,
        record=event.record,
    )


def _changed(found: Sequence[ContributionInfo], event: Event) -> ContributionInfo:
    """Return the contribution that an event changes, as it is afterwards."""
    index: int = getattr(event, "index", -1)
    if isinstance(event, CreditGranted):  # names its number alone
        index = next(info.index for info in found if info.number == event.number)
    info = found[index]
    match event:
        case ContributionRevealed():
            info = replace(info, data_root=event.data_root, cid=event.cid, rows=event.rows)
        case ContributionNumbered():
            info = replace(info, number=event.number)
        case Endorsed():
            info = replace(info, endorsed=Credits(info.endorsed + event.amount))
        case CreditGranted():
            info = replace(info, value=event.value, credit=event.credit)
        case DepositForfeited():
            info = replace(info, lost=True)
    return replace(info, status=_STATUS.get(type(event), info.status))
