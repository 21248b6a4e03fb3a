"""The pages about data: rounds, what each contribution was worth, and the tiers."""

from typing import Any

from oracle.services.data import listing, round_events, rounds
from oracle.services.data.rounds import RoundInfo
from oracle.services.data.standing import TIERS
from oracle.services.network import Network
from oracle.services.request_timeline import Words
from oracle.types import Timestamp

WIDTH = 600  # of the picture of the phases
_LAST = 0.2  # of it, for what has no end: valuation and settlement


def overview(network: Network) -> dict[str, Any]:
    """Return what `data.html` shows."""
    every = rounds.list_rounds(network)
    names = {r.model_id: network.registry.name_of(r.model_id) for r in every}
    return {"rounds": every, "names": names, "tiers": TIERS}


def one(network: Network, round_id: int, t: Words) -> dict[str, Any]:
    """Return what `round.html` shows.

    Raises:
        NotFound: there is no such round.
    """
    info = rounds.show(network, round_id)
    happened = round_events.read(network, round_id)
    brought = listing.list_contributions(network, round_id)
    tiers = {
        owner: network.data_rounds.tier_of(info.model_id, owner)
        for owner in dict.fromkeys(c.owner for c in brought)
    }
    spans, now_at = phases(info, network.history.now())
    return {
        "round": info,
        "contributions": brought,
        "tiers": tiers,
        "details": [round_events.detail(h.event, t) for h in happened],
        "spans": spans,
        "now_at": now_at,
        "valued": any(info.valuation_root),
    }


def phases(
    info: RoundInfo, now: Timestamp
) -> tuple[list[tuple[str, float, float, str]], float | None]:
    """Return each phase's (name, from, to, colour) along the picture, and where now is."""
    start = info.moves[0].time if info.moves else info.submit_until
    ends = (info.submit_until, info.reveal_until, info.test_until)
    whole = max(1, ends[-1] - start)
    scale = WIDTH * (1 - _LAST) / whole
    marks = [0.0, *(round(max(0, end - start) * scale, 1) for end in ends), float(WIDTH)]
    names = ("submit", "reveal", "test", "value")
    colours = ("s1", "good", "s3", "rail")
    spans = [(name, marks[at], marks[at + 1], colours[at]) for at, name in enumerate(names)]
    at = round(min(max(0, now - start) * scale, WIDTH - 4), 1)
    return spans, None if info.phase.name in ("SETTLED", "VOID") else at
