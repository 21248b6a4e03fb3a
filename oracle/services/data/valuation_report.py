"""What a published valuation says of each contribution, and what other methods say beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from oracle.errors import DigestMismatch, TransientError
from oracle.ipfs import valuation_tables
from oracle.ipfs.valuation_tables import Index
from oracle.services.data import listing, sealed_rounds
from oracle.services.network import Network
from oracle.types import Address, Bytes32

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Valued:
    """One contribution in a valuation.

    Attributes:
        value: as published on chain, in units of 2⁻⁴⁰ accuracy times test rows.
        total: the same before it was clamped at zero; None when the index is not served.
        leave_one_out, data_shapley: second opinions in accuracy, reported and never paid.
    """

    number: int
    owner: Address
    rows: int
    value: int
    total: int | None
    leave_one_out: float | None
    data_shapley: float | None


@dataclass(frozen=True, slots=True)
class ValuationInfo:
    """A round's last published valuation."""

    round_id: int
    attempt: int
    valuator: Address
    cid: Bytes32
    served: bool  # the index, with this very valuation
    rows: int
    kept: int  # rows without a flag
    test_rows: int
    contributions: tuple[Valued, ...]


def show(network: Network, round_id: int) -> ValuationInfo:
    """Return a round's valuation.

    Raises:
        NotFound: nobody has published one.
    """
    said = sealed_rounds.published(network, round_id)
    index = _index(network, said.cid)
    if index is not None and index.valuation != sealed_rounds.valuation(said.valuation):
        index = None
    numbered = {
        info.number: info
        for info in listing.list_contributions(network, round_id)
        if info.number is not None
    }
    held = tuple(
        Valued(
            number=c,
            owner=numbered[c].owner,
            rows=numbered[c].rows,
            value=value,
            total=_at(index.totals, c) if index else None,
            leave_one_out=_at(index.opinions.get("leave_one_out", ()), c) if index else None,
            data_shapley=_at(index.opinions.get("data_shapley", ()), c) if index else None,
        )
        for c, value in enumerate(said.values)
    )
    given = said.valuation
    return ValuationInfo(
        round_id=round_id,
        attempt=said.attempt,
        valuator=said.valuator,
        cid=said.cid,
        served=index is not None,
        rows=given.N,
        kept=given.n,
        test_rows=given.T,
        contributions=held,
    )


def _index(network: Network, cid: Bytes32) -> Index | None:
    try:
        return valuation_tables.fetch_index(network.ipfs, cid)
    except (TransientError, DigestMismatch):
        return None


def _at(values: Sequence[N], c: int) -> N | None:
    return values[c] if c < len(values) else None
