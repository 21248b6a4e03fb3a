"""The committee's rules as `contracts/Committee.sol` has them, for millions of votes.

A state machine plays both against each other (`tests/contracts/committee/test_state_machine.py`):
same members drawn, same findings, same money to the last unit. Knows nothing of deadlines and of
who may call: those are the test's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROUNDS = 5
MIN_FIRST_SIZE = 7
COVER = 6
MIN_QUORUM = 2  # votes
MATCH, MISMATCH, NO_INPUT, NO_OUTPUT = 1, 2, 3, 4
AGAINST = (MISMATCH, NO_OUTPUT)  # the operator


@dataclass(frozen=True)
class Rules:
    """What is fixed at deployment, in token units and wei."""

    min_stake: int
    penalty: int
    vote_stake: int

    def pool_size(self, eligible: int) -> int:
        """Return how many members are expected when everybody is drawn."""
        return -(-eligible // self.min_stake)

    def first_size(self, at_stake: int, eligible: int) -> int:
        """Return how many members round 0 expects."""
        wanted = -(-COVER * at_stake // self.vote_stake)
        return min(max(wanted, MIN_FIRST_SIZE), self.pool_size(eligible))

    def size(self, first: int, round_: int, eligible: int) -> int:
        """Return how many members a round expects; the last, or as many as there are, is all."""
        pool = self.pool_size(eligible)
        return pool if round_ + 1 >= ROUNDS else min(first << round_, pool)

    def deposit(self, size: int, weight: int, eligible: int) -> int:
        """Return what the vote of a drawn member binds and weighs at the most."""
        share = size * weight
        return self.vote_stake * share // eligible if share > eligible else self.vote_stake


def is_drawn(rank: int, size: int, weight: int, eligible: int) -> bool:
    """Tell in rational numbers what the contract tells in words of 256 bits."""
    return weight > 0 and rank * eligible < 2**256 * size * weight


def is_near(activation: int, common: int, tolerance: int) -> bool:
    """Tell whether two activations agree: absolute, plus the same relative."""
    return abs(activation - common) <= tolerance + tolerance * abs(common) // 10**9


@dataclass
class Votes:
    """What a round's votes bind, counted as they are revealed."""

    bound: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(1, 5), 0))
    committed: int = 0
    activation: int = 0
    margin: int = 0

    def reveal(self, finding: int, bound: int, activation: int, tolerance: int) -> None:
        """Count a vote."""
        self.bound[finding] += bound
        if finding == NO_INPUT:
            return
        if self.margin and is_near(activation, self.activation, tolerance):
            self.margin += bound
        elif bound > self.margin:
            self.activation, self.margin = activation, bound - self.margin
        else:
            self.margin -= bound

    def side(self, finding: int) -> int:
        """Return what votes of this finding's side bind."""
        return sum(v for f, v in self.bound.items() if (f in AGAINST) == (finding in AGAINST))

    def finding(self, size: int, rules: Rules) -> int:
        """Return what most found; 0 = nothing."""
        total, against = sum(self.bound.values()), self.side(MISMATCH)
        few = total < MIN_QUORUM * rules.vote_stake or 3 * total < size * rules.vote_stake
        if few or 2 * against == total:
            return 0
        if 2 * against > total:
            return NO_OUTPUT if self.bound[NO_OUTPUT] > self.bound[MISMATCH] else MISMATCH
        return NO_INPUT if self.bound[NO_INPUT] > self.bound[MATCH] else MATCH

    def is_off(self, finding: int, activation: int, tolerance: int) -> bool:
        """Tell whether a revealed activation is punished."""
        shown = sum(self.bound.values()) - self.bound[NO_INPUT]
        if finding == NO_INPUT or 3 * self.margin <= shown:
            return False
        return not is_near(activation, self.activation, 2 * tolerance)


@dataclass
class Bond:
    """Who called a round, and with what; nobody when the round before found nothing."""

    caller: str = ""
    wei: int = 0


@dataclass(frozen=True)
class End:
    """What a dispute's last finding does to everybody's money."""

    finding: int
    winners: int = 0  # token units bound by the votes that found it
    tokens: int = 0  # they share, with the bounty
    weis: int = 0
    operator_wei: int = 0
    bonds: tuple[Bond, ...] = ()  # that go back
    rewards: tuple[tuple[str, int], ...] = ()  # of appellants


def end(
    finding: int, found: Sequence[int], votes: Sequence[Votes], bonds: Sequence[Bond], bounty: int
) -> End:
    """End a dispute.

    Args:
        finding: the last one; 0 = none.
        found: what each round that counts found.
        votes: those rounds.
        bonds: of all rounds, one more than `votes` when a draw was missed.
        bounty: the voters', credited by the market when it convicts.
    """
    if not finding:
        return End(0, bonds=tuple(bond for bond in bonds if bond.wei))
    winners = sum(one.bound[finding] for one in votes)
    lost = sum(one.committed - one.side(finding) for one in votes)
    back, weis, operator = [bonds[0]], 0, 0
    if finding not in AGAINST:
        operator = bonds[0].wei // 2
        back, weis = [], bonds[0].wei - operator
    right = [b for i, b in enumerate(bonds) if i and b.wei and found[i - 1] != finding]
    weis += sum(bond.wei for i, bond in enumerate(bonds) if i and found[i - 1] == finding)
    stake = sum(bond.wei for bond in right)
    rewards = tuple((bond.caller, lost // 4 * bond.wei // stake) for bond in right)
    tokens = lost // 2 - (lost // 4 if right else 0) + (bounty if finding in AGAINST else 0)
    return End(finding, winners, tokens, weis, operator, (*back, *right), rewards)


@dataclass(frozen=True)
class Fate:
    """What settling one vote does."""

    lost: int = 0
    reporter: int = 0
    burned: int = 0
    burned_wei: int = 0
    tokens: int = 0
    weis: int = 0


def settle(
    ended: End, votes: Votes, vote: tuple[int, int, int], tolerance: int, rules: Rules
) -> Fate:
    """Settle a vote of a round that counts: (finding or 0 = not revealed, bound, activation)."""
    finding, bound, activation = vote
    other = ended.finding and (finding in AGAINST) != (ended.finding in AGAINST)
    if not finding or other:
        rest = bound // 2 if ended.finding else bound
        reporter = min(rules.penalty, rest) // 5
        return Fate(bound, reporter, rest - reporter)
    paid = finding == ended.finding
    tokens = ended.tokens * bound // ended.winners if paid else 0
    weis = ended.weis * bound // ended.winners if paid else 0
    if votes.is_off(finding, activation, tolerance):
        taken = min(rules.penalty, bound)
        return Fate(taken, taken // 5, taken - taken // 5 + tokens, weis)
    return Fate(tokens=tokens, weis=weis)
