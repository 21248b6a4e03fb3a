"""Which data sets of a round nobody could value: not served, not what was committed to, encrypted.

One of them would keep every valuator away. Anyone may demand its rows on chain, and the opener may
leave it out, before rows get numbers.
"""

from dataclasses import dataclass
from pathlib import Path

from oracle.chain.bindings.data_rounds import ContributionRevealed, ContributionStatus
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch
from oracle.ipfs import data_sets
from oracle.ipfs.port import CidUnresolved
from oracle.services.data import listing, rounds, row_demands
from oracle.services.data.listing import ContributionInfo
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent
from oracle.types import ZERO32, Address
from oracle.valuation.jobs import Source


@dataclass(frozen=True, slots=True)
class Inspected:
    """One revealed contribution: what is wrong with its rows, "" when they can be valued."""

    index: int
    owner: Address
    rows: int
    problem: str


def inspect(network: Network, round_id: int, folder: Path) -> tuple[Inspected, ...]:
    """Fetch the rows of all revealed contributions and hold them against their roots.

    Args:
        folder: where they are kept.

    Raises:
        NotFound: there is no such round. Unavailable: IPFS is away.
    """
    width = rounds.show(network, round_id).terms.features
    found = network.history.read(
        network.data_rounds.address, (ContributionRevealed,), topic(round_id)
    )
    hidden = {
        h.event.index
        for h in found
        if isinstance(h.event, ContributionRevealed) and h.event.envelope != ZERO32
    }
    return tuple(
        Inspected(
            one.index,
            one.owner,
            one.rows,
            "it is encrypted" if one.index in hidden else _problem(network, one, width, folder),
        )
        for one in listing.list_contributions(network, round_id)
        if one.status is ContributionStatus.REVEALED
    )


def demand(
    network: Network, wallet: Wallet, round_id: int, found: tuple[Inspected, ...]
) -> tuple[Sent, ...]:
    """Demand rows of what cannot be valued: shown, or it is left out at its owner's cost.

    Raises:
        ContractError: not the phase, or demanded before.
    """
    width = rounds.show(network, round_id).terms.features
    listed = listing.list_contributions(network, round_id)
    return tuple(
        row_demands.demand(network, wallet, listed[one.index], width)
        for one in found
        if one.problem
    )


def exclude(
    network: Network, wallet: Wallet, round_id: int, found: tuple[Inspected, ...]
) -> tuple[Sent, ...]:
    """Leave out what cannot be valued; the opener may, together with the test set.

    Raises:
        ContractError: not the opener, or not the phase.
    """
    return tuple(
        rounds.exclude(network, wallet, round_id, one.index) for one in found if one.problem
    )


def _problem(network: Network, one: ContributionInfo, width: int, folder: Path) -> str:
    assert one.data_root is not None
    assert one.cid is not None
    try:
        data_sets.fetch(network.ipfs, Source(one.data_root, one.rows, one.cid), width, folder)
    except (CidUnresolved, DigestMismatch) as error:
        return str(error)
    return ""
