"""Rows that are demanded on chain: asked for by who doubts them, shown by who has them.

```
 TEST  demand ─▶ (row_demands contract) ─▶ show: rows from this machine or from IPFS
                                       └─▶ nobody shows: the round leaves the data set out
```
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oracle.chain.bindings.data_rounds import ContributionStatus
from oracle.chain.bindings.row_demands import RowsDemanded
from oracle.chain.contract import Call
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch
from oracle.ipfs import data_sets
from oracle.ipfs.port import CidUnresolved
from oracle.services.data import listing
from oracle.services.data.listing import ContributionInfo
from oracle.services.data.secrets import SecretBook
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Bytes32, Wei
from oracle.valuation.dataset import DataSet
from oracle.valuation.jobs import Source

CHUNK = 64  # rows; RowDemands.sol
_LEVELS = 6  # of a chunk's tree


@dataclass(frozen=True, slots=True)
class DemandedRows:
    """A chunk of rows that somebody demanded; `bond` 0: shown, or given back."""

    index: int
    chunk: int
    demander: Address
    bond: Wei


def demand(network: Network, wallet: Wallet, one: ContributionInfo, width: int) -> Sent:
    """Demand any chunk of a contribution's rows, with the bond that showing them earns.

    Raises:
        ContractError: not in the phase of the test set, or demanded before.
    """
    chunk = secrets.randbelow(-(-one.rows // CHUNK))
    bond = Wei(2 * network.row_demands.bond_needed(width))  # the base fee may rise until it is in
    return send(wallet, network.row_demands.demand(one.round_id, one.index, chunk, value=bond))[0]


def open_demands(network: Network, round_id: int) -> tuple[DemandedRows, ...]:
    """Return the demands of a round whose bond nobody has yet."""
    place, kinds = network.row_demands.address, (RowsDemanded,)
    found = [
        DemandedRows(h.event.index, h.event.chunk, h.event.demander, h.event.bond)
        for h in network.history.read(place, kinds, topic(round_id))
        if isinstance(h.event, RowsDemanded)
    ]
    held = network.row_demands.demand_of
    return tuple(one for one in found if held(round_id, one.index, one.chunk).bond)


def answers(network: Network, round_id: int, width: int) -> Iterator[Call]:
    """Yield what shows demanded rows, of all data sets that this machine has or can fetch."""
    wanted = open_demands(network, round_id)
    if not wanted:
        return
    found = listing.list_contributions(network, round_id)
    for demanded in wanted:
        one = found[demanded.index]
        if one.status is not ContributionStatus.REVEALED:
            continue
        if (data := _rows(network, one, width)) is not None:
            rows, path = chunk_of(data, demanded.chunk)
            yield network.row_demands.show(round_id, one.index, demanded.chunk, rows, path)


def releases(network: Network, round_id: int) -> Iterator[Call]:
    """Yield what gives bonds back for rows that nobody showed in time."""
    for one in open_demands(network, round_id):
        yield network.row_demands.release_bond(round_id, one.index, one.chunk)


def chunk_of(data: DataSet, chunk: int) -> tuple[bytes, tuple[Bytes32, ...]]:
    """Return the bytes of a chunk of rows, and the path from its node up."""
    start = chunk * CHUNK
    rows = b"".join(data.row(row) for row in range(start, min(start + CHUNK, data.rows)))
    return rows, data.path(start)[_LEVELS:]


def _rows(network: Network, one: ContributionInfo, width: int) -> DataSet | None:
    """Return a contribution's rows: from this machine, or from IPFS; None when nobody has them."""
    assert one.data_root is not None
    assert one.cid is not None
    book = SecretBook.of(network.settings.home, network.contracts)
    if secret := book.find(one.commitment):
        return book.data(secret)
    source = Source(one.data_root, one.rows, one.cid)
    try:
        return data_sets.fetch(network.ipfs, source, width, _folder(network, one.round_id))
    except (CidUnresolved, DigestMismatch):
        return None


def _folder(network: Network, round_id: int) -> Path:
    return network.settings.home / "cache" / "rounds" / str(round_id)
