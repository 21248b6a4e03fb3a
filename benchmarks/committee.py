"""What a share of the stake can do to disputes about float answers: 10,000 of each, by the model.

The model (`committee_model.py`) is played against the contract by a state machine of the suite.
Writes the table between the markers of docs/committee.md. Assumptions, all in the attacker's favour
but the last two:

- Seats are equal. The attacker knows who is drawn and who will vote before it votes itself.
- It is also requester, challenger and operator, wherever that pays. It pays no gas.
- A success earns fee and locked stake, all that is at stake.
- Honest members find what is right, but for one vote in a thousand, and 95 % of those drawn vote.
- One honest watcher appeals each wrong finding. It has the bond.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.committee_model import (
    AGAINST,
    MATCH,
    MISMATCH,
    ROUNDS,
    Bond,
    End,
    Rules,
    Votes,
    end,
    settle,
)

DISPUTES = 10_000
SHARES = (0.10, 0.20, 0.25, 0.33, 0.40, 0.44)
SEATS = 100
POOLS = (30, 300)  # other sizes, at a third
DOLLAR = 10**6
RULES = Rules(min_stake=20 * DOLLAR, penalty=DOLLAR, vote_stake=5 * DOLLAR)
BOND = 10**14  # wei for each expected vote
ETHER = 3_000  # dollars
FEE, LOCK = 250_000, 2_500_000  # of the terms that the examples have
TURNOUT, ERROR = 0.95, 0.001
PAGE = Path("docs/committee.md")
START, STOP = "<!-- make bench writes this table -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Plan:
    """What the attacker does in each round.

    Attributes:
        lies: whether it lies, given its own and the honest votes of a round; None = it is silent.
        appeals: whether it appeals a finding that is right.
    """

    lies: Callable[[int, int], bool | None]
    appeals: bool


PLANS = {
    "where it has the majority": Plan(lambda own, others: own > others, appeals=False),
    "the same, and appeals": Plan(lambda own, others: own > others, appeals=True),
    "always, and appeals": Plan(lambda own, others: True, appeals=True),
    "by silence": Plan(lambda own, others: None, appeals=False),
}


@dataclass
class Outcome:
    """What a plan came to."""

    won: int = 0
    profit: float = 0.0  # dollars, the sum
    rounds: int = 0


def play(
    rng: np.random.Generator, seats: int, share: float, plan: Plan, *, liar: bool, appeal: float
) -> tuple[bool, float, int]:
    """Play one dispute.

    Args:
        liar: whether the answer is wrong and its operator attacks; else a right one is attacked.
        appeal: probability that somebody honest appeals a wrong finding.

    Returns:
        Whether the attacker won; what it earned, in dollars; how many rounds there were.
    """
    own_seats = round(seats * share)
    eligible = seats * RULES.min_stake
    first = RULES.first_size(FEE + LOCK, eligible)
    truth, lie = (MISMATCH, MATCH) if liar else (MATCH, MISMATCH)
    votes: list[Votes] = []
    found: list[int] = []
    cast: list[tuple[int, int]] = []  # the attacker's votes of a round: finding (0 = none), number
    bonds = [Bond("honest" if liar else "attacker", first * BOND)]
    while True:
        size = RULES.size(first, len(votes), eligible)
        chance = min(1.0, size / seats)
        own = int(rng.binomial(own_seats, chance))
        others = int(rng.binomial(seats - own_seats, chance * TURNOUT))
        wrong = int(rng.binomial(others, ERROR))
        lies = plan.lies(own, others)
        counted, said = Votes(), lie if lies else truth
        heads = {truth: others - wrong, lie: wrong}
        if lies is not None:
            heads[said] += own
        counted.committed = sum(heads.values()) * RULES.vote_stake
        for finding, number in heads.items():
            counted.bound[finding] = number * RULES.vote_stake
        votes.append(counted)
        cast.append((said, own) if lies is not None else (0, own))
        found.append(counted.finding(size, RULES))
        finding, whole = found[-1], size == RULES.pool_size(eligible)
        if len(votes) == ROUNDS or (whole and finding):
            break
        bond = RULES.size(first, len(votes), eligible) * BOND
        if not finding:
            bonds.append(Bond())
        elif (finding in AGAINST) != (truth in AGAINST) and rng.random() < appeal:
            bonds.append(Bond("honest", bond))
        elif (finding in AGAINST) == (truth in AGAINST) and plan.appeals:
            bonds.append(Bond("attacker", bond))
        else:
            break
    bounty = LOCK * 30 // 100 // 2
    done = end(finding, found, votes, bonds, bounty)
    won = finding not in AGAINST if liar else finding in AGAINST
    return won, _profit(done, votes, cast, bonds, won=won), len(votes)


def _profit(
    done: End, votes: list[Votes], cast: list[tuple[int, int]], bonds: list[Bond], *, won: bool
) -> float:
    """Return what the attacker has more than before, in dollars."""
    tokens = FEE + LOCK if won else 0
    wei = -sum(bond.wei for bond in bonds if bond.caller == "attacker")
    wei += sum(bond.wei for bond in done.bonds if bond.caller == "attacker")
    tokens += sum(amount for caller, amount in done.rewards if caller == "attacker")
    for counted, (finding, number) in zip(votes, cast, strict=True):
        if not finding:
            tokens -= number * RULES.penalty
            continue
        fate = settle(done, counted, (finding, RULES.vote_stake, 0), 0, RULES)
        paid = fate.tokens if not fate.lost else 0
        tokens += number * (paid - fate.lost + fate.reporter)
        wei += number * fate.weis
    return tokens / DOLLAR + wei / 10**18 * ETHER


def measure(seats: int, share: float, *, liar: bool, appeal: float = 1.0) -> Outcome:
    """Return what the best plan comes to: its highest rate of success, and its highest profit."""
    best = Outcome(profit=float("-inf"))
    for name, plan in PLANS.items():
        rng = np.random.default_rng([seats, round(100 * share), liar, round(appeal), len(name)])
        played = [play(rng, seats, share, plan, liar=liar, appeal=appeal) for _ in range(DISPUTES)]
        best.won = max(best.won, sum(won for won, _, _ in played))
        best.profit = max(best.profit, sum(profit for _, profit, _ in played))
        best.rounds = max(best.rounds, sum(rounds for _, _, rounds in played))
    return best


def run(say: Callable[[str], None], folder: Path) -> dict[str, Any]:
    """Measure all, write the page's table, and return the figures."""
    rows, report = [], {}
    for seats, share in [*((SEATS, share) for share in SHARES), *((n, 0.33) for n in POOLS)]:
        convict = measure(seats, share, liar=False)
        acquit = measure(seats, share, liar=True)
        alone = measure(seats, share, liar=False, appeal=0.0)
        needed = max(0.0, alone.profit / (alone.profit - convict.profit))
        rounds = max(convict.rounds, acquit.rounds) / DISPUTES
        rows.append(
            f"| {share:.0%} of {seats} | {convict.won / DISPUTES:.2%} | "
            f"{convict.profit / DISPUTES:+.2f} | {acquit.won / DISPUTES:.2%} | "
            f"{acquit.profit / DISPUTES:+.2f} | {rounds:.1f} | {needed:.0%} |"
        )
        say(rows[-1])
        report[f"{share:.0%} of {seats}"] = {
            "honest convicted": convict.won / DISPUTES,
            "its profit": convict.profit / DISPUTES,
            "liar acquitted": acquit.won / DISPUTES,
            "its gain": acquit.profit / DISPUTES,
        }
    _write(rows)
    return report


def _write(rows: list[str]) -> None:
    head = (
        "| stake of the attacker | honest convicted | it earns, $ | liar acquitted | it earns, $ "
        "| rounds | appeals needed |\n|---|---|---|---|---|---|---|\n"
    )
    before, rest = PAGE.read_text().split(START)
    after = rest.split(STOP)[1]
    PAGE.write_text(f"{before}{START}\n\n{head}" + "\n".join(rows) + f"\n\n{STOP}{after}")
