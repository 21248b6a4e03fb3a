"""Chooses the operator that a request names as preferred, and can say why.

Pure and deterministic: equal facts give an equal choice, whoever computes it. The facts come from
the chain alone (stake, authorisation, past deliveries, lapsed claims), so nobody's word is taken.
The price is no criterion: a version has one fee, whoever serves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.errors import NotFound
from oracle.types import Address, Amount

UNKNOWN_LATENCY = 5.0  # seconds assumed of an operator that has not answered yet: it gets a try
FAILURE_PENALTY = 4.0  # an operator that always fails counts as this many times slower, plus one


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the chain says about one operator, as far as one request is concerned."""

    operator: Address
    authorized: bool
    registered: bool
    free_stake: Amount
    in_flight: int = 0  # requests that name it or that it claimed, not delivered yet
    delivered: int = 0  # recent answers
    failed: int = 0  # recent lapsed claims, convictions, and requests that it let expire
    latency: float | None = None  # seconds from request to delivery, median of recent answers


@dataclass(frozen=True, slots=True)
class RankedOperator:
    """One candidate with its expected wait, or why it is out of the question."""

    operator: Address
    expected_wait: float | None  # seconds; None = not eligible
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The operator to prefer, and all candidates, best first."""

    operator: Address
    reason: str
    ranking: tuple[RankedOperator, ...]


def choose(candidates: Sequence[Candidate], lock: Amount) -> Placement:
    """Choose the operator with the shortest expected wait.

    Args:
        candidates: everybody who was ever authorised for the model.
        lock: stake that a delivery of this version locks.

    Raises:
        NotFound: nobody is eligible; the hint says why for each.
    """
    ranking = sorted(
        (rank(candidate, lock) for candidate in candidates),
        key=lambda r: (
            r.expected_wait is None,
            r.expected_wait or 0.0,
            -_stake_of(candidates, r.operator),
            r.operator.lower(),
        ),
    )
    if not ranking or ranking[0].expected_wait is None:
        raise NotFound(
            "no operator can serve this model now",
            hint="; ".join(f"{r.operator}: {r.reason}" for r in ranking)
            or "its owner has to authorise one: "
            "`tallystick operator authorize MODEL OPERATOR --key OWNER`",
        )
    best = ranking[0]
    return Placement(best.operator, best.reason, tuple(ranking))


def rank(candidate: Candidate, lock: Amount) -> RankedOperator:
    """Say how long one operator would take, or why it cannot answer."""
    if not candidate.registered:
        return RankedOperator(candidate.operator, None, "is not registered")
    if not candidate.authorized:
        return RankedOperator(candidate.operator, None, "is not authorised for the model")
    if candidate.free_stake < lock:
        missing = lock - candidate.free_stake
        return RankedOperator(
            candidate.operator, None, f"lacks {missing / 10**6:g} dollars of free stake"
        )
    latency = UNKNOWN_LATENCY if candidate.latency is None else candidate.latency
    attempts = candidate.delivered + candidate.failed
    share = candidate.failed / attempts if attempts else 0.0
    wait = latency * (1 + candidate.in_flight) * (1 + FAILURE_PENALTY * share)
    known = (
        "has not answered yet"
        if candidate.latency is None
        else f"answers in {_seconds(candidate.latency)}"
    )
    parts = [known]
    if candidate.in_flight:
        requests = "request" if candidate.in_flight == 1 else "requests"
        parts.append(f"{candidate.in_flight} {requests} before this one")
    if candidate.failed:
        parts.append(f"failed {candidate.failed} of its last {attempts}")
    return RankedOperator(candidate.operator, wait, ", ".join(parts))


def _seconds(latency: float) -> str:
    """Return a latency as people read it; blocks have whole seconds, so 0 is anything below 1."""
    return f"{latency:.1f} s" if latency >= 1 else "under 1 s"


def _stake_of(candidates: Sequence[Candidate], operator: Address) -> int:
    return max(c.free_stake for c in candidates if c.operator == operator)
