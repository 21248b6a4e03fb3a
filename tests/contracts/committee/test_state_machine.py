"""The committee against its rules on two pages, in any order of calls Hypothesis can think of.

After every call: who may do what is as the reference says; the contract holds the seats, the
rewards, the open bonds and what can be withdrawn, and nothing else; and every dispute can be ended
by anyone.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contracts.committee.machine import (
    AGE,
    BOND,
    BOUNTY,
    CHALLENGER,
    COMMIT,
    DEAD,
    DEMAND,
    DOLLAR,
    DRAW,
    GENERAL,
    LEAVE,
    LONGEST,
    MEMBERS,
    MIN_STAKE,
    OPERATOR,
    OWNER,
    PENALTY,
    PEOPLE,
    REQUESTER,
    REVEAL,
    SEASONING,
    SEED_DELAY,
    STRANGER,
    TOLERANCE,
    WINDOW,
    CommitteeWorld,
    Job,
    commitment,
    rank,
)
from tests.support.effort import MACHINES, machine
from tests.support.evm import Reverted

MATCH, MISMATCH, NO_INPUT, NO_OUTPUT = range(1, 5)
CHALLENGED, VOTING, CLOSED = range(1, 4)
SALT, DIGEST = b"\5" * 32, b"\6" * 32
SEATED = [*MEMBERS, OPERATOR]  # who may hold seats; the operator is always excluded

picks = st.integers(0, 9)
seated = st.sampled_from(SEATED)
findings = st.sampled_from([MATCH, MATCH, MATCH, MISMATCH, MISMATCH, NO_INPUT, NO_OUTPUT])
activations = st.sampled_from([5_000] * 6 + [5_900, -5_000, 10**9, -(2**127)])
ballots = st.lists(st.tuples(findings, activations), min_size=7, max_size=7)
hiders = st.one_of(st.just(set()), st.sets(seated, max_size=1))


@dataclass
class Seat:
    """What a member has staked, and what that weighed since when."""

    stake: int = 0
    release_at: int = 0
    history: list[tuple[int, int]] = field(default_factory=list)

    def weight_at(self, time: int) -> int:
        return next((weight for since, weight in reversed(self.history) if since <= time), 0)

    def weigh(self, time: int) -> None:
        counts = not self.release_at and self.stake >= MIN_STAKE
        self.history.append((time, self.stake if counts else 0))


@dataclass
class Play:
    """A dispute by the rules of ICommittee.sol."""

    job: Job
    stage: int = 0
    round: int = 0
    tallied: int = 0
    challenged_at: int = 0
    seed_block: int = 0
    commit_until: int = 0
    reveal_until: int = 0
    challenger: str = ""
    seed: bytes = b""
    weights: dict[str, int] = field(default_factory=dict)
    eligible: int = 0
    votes: list[dict[str, list]] = field(default_factory=lambda: [{}, {}, {}])  # [vote, revealed]
    reported: set[tuple[int, str]] = field(default_factory=set)
    alive: bool = True  # the market still waits for it

    def drawn(self, member: str, round_: int) -> bool:
        """Tell in rational numbers what the contract tells in words of 256 bits."""
        weight = self.weights.get(member, 0)
        low = rank(self.seed, self.job.id, round_, member) * self.eligible
        return weight > 0 and (low < 2**256 * (3 << round_) * weight)


def count(votes: dict[str, list]) -> tuple[int, set[str], set[str]]:
    """Return (finding of the majority or 0, its voters, those whose activation is off)."""
    revealed = {member: vote for member, (vote, shown) in votes.items() if shown}
    shown = {member: vote[2] for member, vote in revealed.items() if vote[0] != NO_INPUT}
    off: set[str] = set()
    if shown:
        median = sorted(shown.values())[len(shown) // 2]
        reach = TOLERANCE + TOLERANCE * abs(median) // 10**9
        off = {member for member, value in shown.items() if abs(value - median) > reach}
        if 2 * len(off) >= len(shown):
            return 0, set(), set()
    valid = {member: vote[0] for member, vote in revealed.items() if member not in off}
    for finding in (MATCH, MISMATCH, NO_INPUT, NO_OUTPUT):
        winners = {member for member, found in valid.items() if found == finding}
        if len(valid) >= 3 and 2 * len(winners) > len(valid):
            return finding, winners, off
    return 0, set(), off


class CommitteeMachine(RuleBasedStateMachine):
    @initialize()
    def deploy(self):
        self.world = CommitteeWorld()
        self.evm = self.world.evm
        self.seats = {member: Seat() for member in SEATED}
        self.bonds = dict.fromkeys([*PEOPLE, DEAD], 0)
        self.rewards = dict.fromkeys(PEOPLE, 0)
        self.plays: list[Play] = []
        for member in MEMBERS[:4]:
            self._enlist(member, MIN_STAKE)
        self.evm.set_time(self.evm.time + SEASONING)
        self._answer(2)

    @property
    def now(self):
        return self.evm.time

    def _do(self, allowed, caller, function, *arguments, value=0, on="Committee"):
        """Call; it must refuse exactly what the rules refuse."""
        try:
            self.evm.call(caller, on, function, *arguments, value=value)
            refusal = ""
        except Reverted as error:
            refusal = error.name
        assert bool(allowed) == (refusal == ""), f"{function}: {refusal or 'not refused'}"

    def _play(self, pick, *stages):
        """Return one of the disputes, rather a living one in one of these stages."""
        fitting = [p for p in self.plays if p.alive and p.stage in stages]
        chosen = fitting if pick < 8 and fitting else self.plays
        return chosen[-1 - pick % len(chosen)]

    some = precondition(lambda self: self.plays)

    # ── Time ────────────────────────────────────────────────────────────────────────────────────
    @rule(seconds=st.sampled_from([1, 5, SEASONING, 60]))
    def wait(self, seconds):
        self.evm.set_time(self.now + seconds)

    @some
    @rule(pick=picks, early=st.integers(0, 1))
    def wait_for_a_deadline(self, pick, early):
        play = self._play(pick, CHALLENGED, VOTING)
        deadlines = [play.challenged_at + DRAW, play.commit_until, play.reveal_until]
        deadlines += [seat.release_at for seat in self.seats.values()]
        ahead = sorted(deadline for deadline in deadlines if deadline > self.now)
        if ahead:
            self.evm.set_time(max(self.now, ahead[pick % len(ahead) if pick > 7 else 0] - early))

    # ── Seats ───────────────────────────────────────────────────────────────────────────────────
    @rule(member=seated, amount=st.sampled_from([0, DOLLAR, MIN_STAKE, 3 * MIN_STAKE]))
    def enlist(self, member, amount):
        self._enlist(member, amount)

    def _enlist(self, member, amount):
        seat = self.seats[member]
        allowed = amount and not seat.release_at and seat.stake + amount >= MIN_STAKE
        if self.evm.call(member, "TestDollar", "balanceOf", member) < amount:
            return
        self._do(allowed, member, "enlist", GENERAL, amount)
        if allowed:
            seat.stake += amount
            seat.weigh(self.now)

    @rule(member=seated)
    def start_leave(self, member):
        seat = self.seats[member]
        allowed = seat.stake and not seat.release_at
        self._do(allowed, member, "startLeave", GENERAL)
        if allowed:
            seat.release_at = self.now + LEAVE
            seat.weigh(self.now)

    @rule(member=seated)
    def finish_leave(self, member):
        seat = self.seats[member]
        allowed = seat.release_at and self.now >= seat.release_at
        # while it had weight in them, no dispute is left that could be voted on
        bound = any(
            play.stage == VOTING
            and play.alive
            and play.weights.get(member)
            and self.now < play.reveal_until
            for play in self.plays
        )
        assert not (allowed and bound)
        self._do(allowed, member, "finishLeave", GENERAL)
        if allowed:
            seat.stake = seat.release_at = 0

    def _slash(self, member, amount):
        seat = self.seats[member]
        taken = min(amount, seat.stake)
        seat.stake -= taken
        if taken and not seat.release_at:
            seat.weigh(self.now)
        return taken

    # ── Disputes ────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: len(self.plays) < 5)
    @rule(depth=st.sampled_from([0, 1, 2, 2, 2, 2]))
    def answer(self, depth):
        self._answer(depth)

    def _answer(self, depth):
        """Deliver an answer; mostly challenge it and draw at once, to get into votes quickly."""
        play = Play(self.world.deliver())
        self.plays.append(play)
        if depth > 0:
            self._challenge(play, CHALLENGER, BOND)
        if depth > 1:
            self._draw(play, SEED_DELAY + 1)

    @some
    @rule(pick=picks, account=st.sampled_from([CHALLENGER, REQUESTER, *MEMBERS[:2]]), low=picks)
    def challenge(self, pick, account, low):
        self._challenge(self._play(pick, 0), account, BOND - (low == 0))

    def _challenge(self, play, account, bond):
        job, time = play.job, self.now - SEASONING
        parties = {OWNER, OPERATOR, REQUESTER, account}
        weights = {m: s.weight_at(time) for m, s in self.seats.items() if m not in parties}
        allowed = play.stage == 0 and play.alive and bond == BOND
        allowed = allowed and self.now < job.delivery[1] + WINDOW
        allowed = allowed and sum(weights.values()) >= 3 * MIN_STAKE
        self._do(allowed, account, "challenge", job.words, job.delivery, value=bond)
        if allowed:
            play.stage, play.challenger, play.challenged_at = CHALLENGED, account, self.now
            play.weights, play.eligible = weights, sum(weights.values())
            play.seed_block = self.evm.number + SEED_DELAY

    @some
    @rule(pick=picks, blocks=st.integers(0, SEED_DELAY + 1))
    def draw(self, pick, blocks):
        self._draw(self._play(pick, CHALLENGED), blocks)

    def _draw(self, play, blocks):
        self.evm.number += blocks
        self.evm.set_block()
        allowed = play.stage == CHALLENGED and self.now < play.challenged_at + DRAW
        allowed = allowed and self.evm.number > play.seed_block
        self._do(allowed, STRANGER, "draw", play.job.id)
        if allowed:
            play.stage = VOTING
            play.seed = self.world.dispute(play.job)["seed"]
            self._start(play, 0)

    def _start(self, play, round_):
        play.round, play.commit_until = round_, self.now + COMMIT
        play.reveal_until = play.commit_until + REVEAL

    @some
    @rule(pick=picks)
    def lapse(self, pick):
        self._lapse(self._play(pick, CHALLENGED))

    def _lapse(self, play):
        allowed = play.alive and play.stage == CHALLENGED
        allowed = allowed and self.now >= play.challenged_at + DRAW
        self._do(allowed, STRANGER, "lapse", play.job.words, play.job.delivery)
        if allowed:
            play.stage = CLOSED
            self.bonds[OPERATOR] += BOND // 2
            self.bonds[DEAD] += BOND - BOND // 2

    # ── Votes ───────────────────────────────────────────────────────────────────────────────────
    @some
    @rule(pick=picks, votes=ballots)
    def commit(self, pick, votes):
        self._commit(self._play(pick, VOTING), votes)

    def _commit(self, play, votes):
        """Some members commit, drawn or not; most find what the first one found."""
        votes = [votes[0] if number % 3 else vote for number, vote in enumerate(votes)]
        for member, (finding, activation) in zip(SEATED, votes, strict=False):
            vote, round_ = (finding, DIGEST, activation, SALT), play.round
            allowed = play.stage == VOTING and self.now < play.commit_until
            allowed = allowed and play.drawn(member, round_) and member not in play.votes[round_]
            word = commitment(play.job.id, round_, member, vote)
            self._do(allowed, member, "commit", play.job.id, word)
            if allowed:
                play.votes[round_][member] = [vote, False]

    @some
    @rule(pick=picks, hidden=hiders, wrong=st.booleans())
    def reveal(self, pick, hidden, wrong):
        self._reveal(self._play(pick, VOTING), hidden, wrong)

    def _reveal(self, play, hidden, wrong):
        for member in [m for m in SEATED if m not in hidden]:
            vote, shown = play.votes[play.round].get(member, [(MATCH, DIGEST, 0, SALT), False])
            in_time = play.commit_until <= self.now < play.reveal_until
            allowed = play.stage == VOTING and in_time and not shown and not wrong
            allowed = allowed and member in play.votes[play.round]
            given = (vote[0], vote[1], vote[2] + wrong, vote[3])
            self._do(allowed, member, "reveal", play.job.id, *given)
            if allowed:
                play.votes[play.round][member][1] = True

    @precondition(lambda self: any(play.stage == VOTING for play in self.plays))
    @rule(pick=st.integers(0, 7), votes=ballots, hidden=hiders)
    def vote(self, pick, votes, hidden):
        """A round as it should be: commit, reveal and tally in time, but for who hides."""
        play = self._play(pick, VOTING)
        self._commit(play, votes)
        if play.stage == VOTING:
            self.evm.set_time(max(self.now, play.commit_until))
            self._reveal(play, hidden, wrong=False)
            self.evm.set_time(max(self.now, play.reveal_until))
        self._tally(play)

    @some
    @rule(pick=picks, in_time=st.booleans())
    def tally(self, pick, in_time):
        play = self._play(pick, VOTING)
        if play.stage == VOTING and in_time:
            self.evm.set_time(max(self.now, play.reveal_until))
        self._tally(play)

    def _tally(self, play):
        job, votes = play.job, play.votes[play.round]
        allowed = play.alive and play.stage == VOTING and self.now >= play.reveal_until
        self._do(allowed, STRANGER, "tally", job.words, job.delivery)
        if not allowed:
            return
        finding, winners, off = count(votes)
        for member, (_, shown) in votes.items():
            if not shown or member in off:
                self._slash(member, PENALTY)
            elif finding and member not in winners:
                self._slash(member, PENALTY // 4)
        play.tallied = play.round + 1
        if finding:
            self._decide(play, finding, [member for member in votes if member in winners])
        elif play.tallied < 3 and self.now + COMMIT + REVEAL <= play.challenged_at + LONGEST:
            self._start(play, play.round + 1)
        else:
            play.stage, play.alive = CLOSED, False
            self.bonds[play.challenger] += BOND

    def _decide(self, play, finding, winners):
        pot, books = BOND - BOND // 2, self.bonds
        if finding == MISMATCH:
            self.bonds[play.challenger] += BOND
            pot, books = BOUNTY - BOUNTY // 2, self.rewards
        elif finding == NO_OUTPUT:
            self.bonds[play.challenger] += BOND // 2
        else:
            self.bonds[OPERATOR] += BOND // 2
        for number, member in enumerate(winners):
            books[member] += pot // len(winners) + (pot % len(winners) if number == 0 else 0)
        play.stage = CLOSED
        play.alive = finding == MATCH

    @some
    @rule(pick=picks, member=seated, round_=st.integers(0, 2))
    def report(self, pick, member, round_):
        play = self._play(9 if pick > 3 else pick, CLOSED, VOTING)
        allowed = round_ < play.tallied and play.drawn(member, round_)
        allowed = allowed and member not in play.votes[round_]
        allowed = allowed and (round_, member) not in play.reported
        self._do(allowed, STRANGER, "reportSilence", play.job.id, round_, member)
        if allowed:
            play.reported.add((round_, member))
            self.rewards[STRANGER] += self._slash(member, PENALTY) // 5

    # ── Other ends ──────────────────────────────────────────────────────────────────────────────
    @some
    @rule(pick=picks)
    def withhold(self, pick):
        """The operator does not answer a demand, and the market convicts it."""
        play, market = self._play(pick + 5, CHALLENGED, VOTING), "InferenceMarket"
        arguments = (play.job.words, play.job.delivery)
        live = play.alive and play.stage in (CHALLENGED, VOTING)
        in_time = self.now < play.job.delivery[1] + WINDOW
        if play.alive and (live or in_time):
            self._do(True, STRANGER, "demandOutput", *arguments, on=market)
            self.evm.set_time(self.now + DEMAND)
            self._do(True, STRANGER, "convictWithheld", *arguments, on=market)
            play.alive = False

    @some
    @rule(pick=picks)
    def settle(self, pick):
        """The market pays out exactly what nobody disputes, or annuls what nobody ended."""
        play, market = self._play(pick, CHALLENGED, VOTING, CLOSED), "InferenceMarket"
        job, open_ = play.job, play.stage in (CHALLENGED, VOTING)
        over = self.now >= job.delivery[1] + WINDOW
        paid = play.alive and not open_ and over
        self._do(paid, STRANGER, "finalize", [job.words], [job.delivery], on=market)
        stale = play.alive and open_ and self.now >= job.delivery[1] + WINDOW + AGE
        self._do(stale, STRANGER, "annulStale", job.words, job.delivery, on=market)
        if paid or stale:
            play.alive = False

    @some
    @rule(pick=picks)
    def release(self, pick):
        self._release(self._play(9 if pick > 4 else pick, CHALLENGED, VOTING))

    def _release(self, play):
        allowed = not play.alive and play.stage in (CHALLENGED, VOTING)
        self._do(allowed, STRANGER, "releaseBond", play.job.id)
        if allowed:
            play.stage = CLOSED
            self.bonds[play.challenger] += BOND

    @rule(account=st.sampled_from(PEOPLE))
    def withdraw(self, account):
        self._do(self.bonds[account] > 0, account, "withdrawBond")
        self._do(self.rewards[account] > 0, account, "withdrawReward")
        self.bonds[account] = self.rewards[account] = 0

    # ── What holds after every call ─────────────────────────────────────────────────────────────
    deployed = precondition(lambda self: hasattr(self, "world"))

    @invariant()
    @deployed
    def contract_holds_exactly_what_it_owes(self):
        call = self.evm.call
        held = call(OWNER, "TestDollar", "balanceOf", self.world.place)
        stakes = sum(seat.stake for seat in self.seats.values())
        assert held == stakes + sum(self.rewards.values())
        open_bonds = sum(BOND for play in self.plays if play.stage in (CHALLENGED, VOTING))
        held = self.evm.balance(self.world.place)
        assert held == open_bonds + sum(self.bonds.values())

    @invariant()
    @deployed
    def books_are_as_the_rules_say(self):
        call = self.world.call
        for account, bond in self.bonds.items():
            assert call(OWNER, "bondOf", account) == bond
        for account, reward in self.rewards.items():
            assert call(OWNER, "rewardOf", account) == reward
        for member, seat in self.seats.items():
            assert call(OWNER, "seatOf", GENERAL, member) == (seat.stake, seat.release_at)
        pool = sum(seat.weight_at(self.now) for seat in self.seats.values())
        assert call(OWNER, "poolAt", GENERAL, self.now) == pool

    @invariant()
    @deployed
    def disputes_are_as_the_rules_say(self):
        for play in self.plays:
            found = self.world.dispute(play.job)
            assert (found["stage"], found["round"]) == (play.stage, play.round)
            assert found["tallied"] == play.tallied
            if play.stage == VOTING:
                until = (found["commitUntil"], found["revealUntil"])
                assert until == (play.commit_until, play.reveal_until)

    def teardown(self):
        """Whatever happened: everything can be ended by anyone, and all money comes out."""
        if not hasattr(self, "world"):
            return
        for play in self.plays:
            while play.alive and play.stage == VOTING:
                self.evm.set_time(max(self.now, play.reveal_until))
                self._tally(play)
            if play.alive and play.stage == CHALLENGED:
                self.evm.set_time(max(self.now, play.challenged_at + DRAW))
                self._lapse(play)
            if play.stage in (CHALLENGED, VOTING):
                self._release(play)
        for member, seat in self.seats.items():
            if seat.stake and not seat.release_at:
                self.start_leave(member)
        self.evm.set_time(self.now + LEAVE)
        for member, seat in self.seats.items():
            if seat.release_at:
                self.finish_leave(member)
        for account in PEOPLE:
            self.withdraw(account)
        assert self.evm.balance(self.world.place) == self.bonds[DEAD]
        assert self.evm.call(OWNER, "TestDollar", "balanceOf", self.world.place) == 0


def test_committee__any_order_of_calls__keeps_the_rules():
    run_state_machine_as_test(CommitteeMachine, settings=machine(MACHINES, 40))
