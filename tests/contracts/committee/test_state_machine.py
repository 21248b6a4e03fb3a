"""The committee against its model, in any order of calls Hypothesis can think of.

After every call: who may do what is as the rules say; books, drawn members and findings are those
of `benchmarks/committee_model.py`; the contracts hold what they owe; and anyone can end disputes.
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

from benchmarks.committee_model import (
    ROUNDS,
    Bond,
    End,
    Votes,
    end,
    is_drawn,
    settle,
)
from tests.contracts.committee.machine import (
    AGE,
    APPEAL,
    BOND,
    BOUNTY,
    CHALLENGER,
    CLOSED,
    COMMIT,
    DEAD,
    DEMAND,
    DIGEST,
    DOLLAR,
    DRAW,
    DRAWING,
    FEE,
    GENERAL,
    LEAVE,
    LOCK,
    LONGEST,
    MATCH,
    MEMBERS,
    MIN_STAKE,
    MISMATCH,
    NO_INPUT,
    NO_OUTPUT,
    OPERATOR,
    OWNER,
    PENALTY,
    REQUESTER,
    REVEAL,
    RULES,
    SALT,
    SEASONING,
    SEED_DELAY,
    STRANGER,
    TOLERANCE,
    VOTING,
    WINDOW,
    CommitteeWorld,
    Job,
    commitment,
    rank,
)
from tests.support.effort import MACHINES, machine
from tests.support.evm import Reverted

SEATED = [*MEMBERS[:12], OPERATOR]  # who may hold seats; the operator is always excluded
AT_STAKE = FEE + LOCK

picks = st.integers(0, 9)
seated = st.sampled_from(SEATED)
findings = st.sampled_from([MATCH, MATCH, MATCH, MISMATCH, MISMATCH, NO_INPUT, NO_OUTPUT])
activations = st.sampled_from([5_000] * 6 + [5_900, -5_000, 10**9, -(2**127)])
ballots = st.lists(st.tuples(findings, activations), min_size=len(SEATED), max_size=len(SEATED))
hiders = st.one_of(st.just(set()), st.sets(seated, max_size=2))


@dataclass
class Seat:
    """What a member has staked, and what that weighed since when."""

    stake: int = 0
    release_at: int = 0
    bound: int = 0
    history: list[tuple[int, int]] = field(default_factory=list)

    def weight_at(self, time: int) -> int:
        return next((weight for since, weight in reversed(self.history) if since <= time), 0)

    def weigh(self, time: int) -> None:
        counts = not self.release_at and self.stake >= MIN_STAKE
        self.history.append((time, self.stake if counts else 0))


@dataclass
class Ballot:
    """One vote: what was committed to, whether it was revealed, and what became of it."""

    vote: tuple
    bound: int
    shown: bool = False
    settled: bool = False


@dataclass
class Play:
    """A dispute by the rules of ICommittee.sol."""

    job: Job
    stage: int = 0
    challenged_at: int = 0
    seed_block: int = 0
    until: int = 0
    weights: dict[str, int] = field(default_factory=dict)
    first: int = 0
    seeds: list[bytes] = field(default_factory=list)
    bonds: list[Bond] = field(default_factory=list)  # one a round
    votes: list[Votes] = field(default_factory=list)
    ballots: list[dict[str, Ballot]] = field(default_factory=list)
    tallied: int = 0
    ended: End | None = None
    reported: set[tuple[int, str]] = field(default_factory=set)
    alive: bool = True  # the market still waits for it

    @property
    def round(self) -> int:
        return max(len(self.bonds) - 1, 0)

    @property
    def eligible(self) -> int:
        return sum(self.weights.values())

    def size(self, round_: int) -> int:
        return RULES.size(self.first, round_, self.eligible)

    def is_last(self) -> bool:
        return self.size(self.round) == RULES.pool_size(self.eligible)

    def found(self, round_: int) -> int:
        return self.votes[round_].finding(self.size(round_), RULES)

    def deposit(self, member: str, round_: int) -> int:
        weight, size = self.weights.get(member, 0), self.size(round_)
        if round_ >= len(self.seeds):
            return 0
        low = rank(self.seeds[round_], self.job.id, round_, member)
        drawn = is_drawn(low, size, weight, self.eligible)
        return RULES.deposit(size, weight, self.eligible) if drawn else 0


class CommitteeMachine(RuleBasedStateMachine):
    @initialize()
    def deploy(self):
        self.world = CommitteeWorld()
        self.evm = self.world.evm
        self.seats = {member: Seat() for member in SEATED}
        self.bonds = dict.fromkeys([*self.world.people, DEAD], 0)
        self.rewards = dict.fromkeys([*self.world.people, DEAD], 0)
        self.dust = 0
        self.plays: list[Play] = []
        for member in MEMBERS[:10]:
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
        play = self._play(pick, DRAWING, VOTING)
        deadlines = [play.until + later for later in (0, REVEAL, REVEAL + APPEAL)]
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
        self._do(allowed, member, "enlist", GENERAL, amount, on="CommitteeSeats")
        if allowed:
            seat.stake += amount
            seat.weigh(self.now)

    @rule(member=seated)
    def start_leave(self, member):
        seat = self.seats[member]
        allowed = seat.stake and not seat.release_at
        self._do(allowed, member, "startLeave", GENERAL, on="CommitteeSeats")
        if allowed:
            seat.release_at = self.now + LEAVE
            seat.weigh(self.now)

    @rule(member=seated)
    def finish_leave(self, member):
        seat = self.seats[member]
        allowed = seat.release_at and self.now >= seat.release_at and not seat.bound
        # while it had weight in them, no dispute is left that could be voted on
        owed = any(
            play.stage == VOTING
            and play.alive
            and play.weights.get(member)
            and self.now < play.until + REVEAL
            for play in self.plays
        )
        assert not (allowed and owed)
        self._do(allowed, member, "finishLeave", GENERAL, on="CommitteeSeats")
        if allowed:
            seat.stake = seat.release_at = 0

    def _take(self, member, amount):
        seat = self.seats[member]
        seat.stake -= amount
        if amount and not seat.release_at:
            seat.weigh(self.now)

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
            self._challenge(play, CHALLENGER, low=False)
        if depth > 1:
            self._draw(play, SEED_DELAY + 1)

    @some
    @rule(pick=picks, account=st.sampled_from([CHALLENGER, REQUESTER, *MEMBERS[:2]]), low=picks)
    def challenge(self, pick, account, low):
        self._challenge(self._play(pick, 0), account, low=low == 0)

    def _challenge(self, play, account, *, low):
        job, time = play.job, self.now - SEASONING
        parties = {OWNER, OPERATOR, REQUESTER, account}
        weights = {m: s.weight_at(time) for m, s in self.seats.items() if m not in parties}
        eligible = sum(weights.values())
        first = RULES.first_size(AT_STAKE, eligible)
        bond = first * BOND - low
        allowed = play.stage == 0 and play.alive and not low
        allowed = allowed and self.now < job.delivery[1] + WINDOW
        allowed = allowed and eligible >= 3 * MIN_STAKE
        self._do(allowed, account, "challenge", job.words, job.delivery, value=bond)
        if allowed:
            play.challenged_at = self.now
            play.weights, play.first = weights, first
            self._open(play, Bond(account, bond))

    def _open(self, play, bond):
        play.stage, play.until = DRAWING, self.now + DRAW
        play.seed_block = self.evm.number + SEED_DELAY
        play.bonds.append(bond)
        play.votes.append(Votes())
        play.ballots.append({})

    @some
    @rule(pick=picks, blocks=st.integers(0, SEED_DELAY + 1))
    def draw(self, pick, blocks):
        self._draw(self._play(pick, DRAWING), blocks)

    def _draw(self, play, blocks):
        self.evm.number += blocks
        self.evm.set_block()
        allowed = play.stage == DRAWING and self.now < play.until
        allowed = allowed and self.evm.number > play.seed_block
        self._do(allowed, STRANGER, "draw", play.job.id)
        if allowed:
            play.stage, play.until = VOTING, self.now + COMMIT
            play.seeds.append(self.world.round(play.job, play.round)["seed"])

    @some
    @rule(pick=picks)
    def lapse(self, pick):
        self._lapse(self._play(pick, DRAWING))

    def _lapse(self, play):
        allowed = play.alive and play.stage == DRAWING and self.now >= play.until
        self._do(allowed, STRANGER, "lapse", play.job.words, play.job.delivery)
        if not allowed:
            return
        if play.round:
            self._end(play, play.found(play.round - 1) if play.bonds[-1].wei else 0)
            return
        play.stage = CLOSED
        bond = play.bonds[0].wei
        self.bonds[OPERATOR] += bond // 2
        self.bonds[DEAD] += bond - bond // 2

    # ── Votes ───────────────────────────────────────────────────────────────────────────────────
    @some
    @rule(pick=picks, votes=ballots)
    def commit(self, pick, votes):
        self._commit(self._play(pick, VOTING), votes)

    def _commit(self, play, votes):
        """Some members commit, drawn or not; most find what the first one found."""
        votes = [votes[0] if number % 3 else vote for number, vote in enumerate(votes)]
        for member, (finding, activation) in zip(SEATED, votes, strict=True):
            vote, round_, seat = (finding, DIGEST, activation, SALT), play.round, self.seats[member]
            allowed = play.stage == VOTING and self.now < play.until
            deposit = play.deposit(member, round_) if allowed else 0
            bound = min(deposit, seat.stake - seat.bound) & ~1
            allowed = bound and member not in play.ballots[round_]
            allowed = allowed and (round_, member) not in play.reported
            word = commitment(play.job.id, round_, member, vote)
            self._do(allowed, member, "commit", play.job.id, word)
            if allowed:
                play.ballots[round_][member] = Ballot(vote, bound)
                play.votes[round_].committed += bound
                seat.bound += bound

    @some
    @rule(pick=picks, hidden=hiders, wrong=st.booleans())
    def reveal(self, pick, hidden, wrong):
        self._reveal(self._play(pick, VOTING), hidden, wrong)

    def _reveal(self, play, hidden, wrong):
        for member in [m for m in SEATED if m not in hidden]:
            given = play.ballots[play.round].get(member) if play.ballots else None
            vote = given.vote if given else (MATCH, DIGEST, 0, SALT)
            in_time = play.until <= self.now < play.until + REVEAL
            allowed = play.stage == VOTING and in_time and not wrong
            allowed = allowed and given and not given.shown
            words = (vote[0], vote[1], vote[2] + wrong, vote[3])
            self._do(allowed, member, "reveal", play.job.id, *words)
            if allowed:
                given.shown = True
                play.votes[play.round].reveal(vote[0], given.bound, vote[2], TOLERANCE)

    @precondition(lambda self: any(play.stage == VOTING for play in self.plays))
    @rule(pick=st.integers(0, 7), votes=ballots, hidden=hiders, appealed=st.booleans())
    def vote(self, pick, votes, hidden, appealed):
        """A round as it should be, but for who hides: appealed and drawn, or tallied in time."""
        play = self._play(pick, VOTING)
        self._commit(play, votes)
        if play.stage == VOTING:
            self.evm.set_time(max(self.now, play.until))
            self._reveal(play, hidden, wrong=False)
            self.evm.set_time(max(self.now, play.until + REVEAL))
        if appealed:
            self._appeal(play, OPERATOR, low=False)
            self._draw(play, SEED_DELAY + 1)
        else:
            self.evm.set_time(max(self.now, play.until + REVEAL + APPEAL))
            self._tally(play)

    @some
    @rule(pick=picks, account=st.sampled_from([OPERATOR, STRANGER, *MEMBERS[:2]]), low=picks)
    def appeal(self, pick, account, low):
        self._appeal(self._play(pick, VOTING), account, low=low == 0)

    def _appeal(self, play, account, *, low):
        bond = play.size(play.round + 1) * BOND - low if play.bonds else 0
        opens = play.until + REVEAL
        allowed = play.stage == VOTING and opens <= self.now < opens + APPEAL and not low
        allowed = allowed and play.found(play.round) and not play.is_last()
        self._do(allowed, account, "appeal", play.job.id, value=bond)
        if allowed:
            play.tallied = play.round + 1
            self._open(play, Bond(account, bond))

    @some
    @rule(pick=picks, in_time=st.booleans())
    def tally(self, pick, in_time):
        play = self._play(pick, VOTING)
        if play.stage == VOTING and in_time:
            self.evm.set_time(max(self.now, play.until + REVEAL + APPEAL))
        self._tally(play)

    def _tally(self, play):
        job, round_ = play.job, play.round
        allowed = play.alive and play.stage == VOTING
        finding = play.found(round_) if allowed else 0
        last = allowed and play.is_last()
        opens = play.until + REVEAL + (APPEAL if finding and not last else 0)
        allowed = allowed and self.now >= opens
        self._do(allowed, STRANGER, "tally", job.words, job.delivery)
        if not allowed:
            return
        play.tallied = round_ + 1
        fits = self.now <= play.challenged_at + LONGEST * play.tallied // ROUNDS
        if not finding and play.tallied < ROUNDS and fits:
            self._open(play, Bond())
        else:
            self._end(play, finding)

    def _end(self, play, finding):
        found = [play.found(number) for number in range(play.tallied)]
        bounty = BOUNTY - BOUNTY // 2
        done = play.ended = end(finding, found, play.votes[: play.tallied], play.bonds, bounty)
        play.stage, play.alive = CLOSED, finding == MATCH
        self.bonds[OPERATOR] += done.operator_wei
        for bond in done.bonds:
            self.bonds[bond.caller] += bond.wei
        for account, amount in done.rewards:
            self.rewards[account] += amount

    # ── Settlement ──────────────────────────────────────────────────────────────────────────────
    @some
    @rule(pick=picks, round_=st.integers(0, ROUNDS - 1))
    def settle(self, pick, round_):
        self._settle(self._play(9 if pick > 3 else pick, CLOSED), round_)

    def _settle(self, play, round_):
        self._do(play.stage == CLOSED, STRANGER, "settle", play.job.id, round_, SEATED)
        if play.stage != CLOSED or round_ >= len(play.ballots):
            return
        for member, ballot in play.ballots[round_].items():
            if ballot.settled:
                continue
            ballot.settled = True
            self.seats[member].bound -= ballot.bound
            if round_ >= play.tallied:
                continue
            vote = (ballot.vote[0] if ballot.shown else 0, ballot.bound, ballot.vote[2])
            ended = play.ended or End(0)
            fate = settle(ended, play.votes[round_], vote, TOLERANCE, RULES)
            self._take(member, fate.lost)
            self.rewards[member] += fate.tokens if not fate.lost else 0
            self.bonds[member] += fate.weis if not fate.lost else 0
            self.rewards[STRANGER] += fate.reporter
            self.rewards[DEAD] += fate.burned
            self.bonds[DEAD] += fate.burned_wei

    @some
    @rule(pick=picks, member=seated, round_=st.integers(0, 2))
    def report(self, pick, member, round_):
        play = self._play(9 if pick > 3 else pick, CLOSED, VOTING)
        allowed = round_ < play.tallied and play.deposit(member, round_)
        allowed = allowed and member not in play.ballots[round_]
        allowed = allowed and (round_, member) not in play.reported
        self._do(allowed, STRANGER, "reportSilence", play.job.id, round_, member)
        if allowed:
            play.reported.add((round_, member))
            taken = min(PENALTY, self.seats[member].stake - self.seats[member].bound)
            self._take(member, taken)
            self.rewards[STRANGER] += taken // 5
            self.rewards[DEAD] += taken - taken // 5

    # ── Other ends ──────────────────────────────────────────────────────────────────────────────
    @some
    @rule(pick=picks)
    def withhold(self, pick):
        """The operator does not answer a demand, and the market convicts it; beside a dispute only
        once that should have ended long ago."""
        play, market = self._play(pick + 5, DRAWING, VOTING), "InferenceMarket"
        arguments = (play.job.words, play.job.delivery)
        live = play.alive and play.stage in (DRAWING, VOTING)
        in_time = self.now < play.job.delivery[1] + WINDOW
        if play.alive and (live or in_time):
            self._do(True, STRANGER, "demandOutput", *arguments, on=market)
            stale = play.job.delivery[1] + WINDOW + AGE if live else 0
            self.evm.set_time(max(self.now + DEMAND, stale))
            self._do(True, STRANGER, "convictWithheld", *arguments, on=market)
            play.alive = False

    @some
    @rule(pick=picks)
    def finalize(self, pick):
        """The market pays out exactly what nobody disputes, or annuls what nobody ended."""
        play, market = self._play(pick, DRAWING, VOTING, CLOSED), "InferenceMarket"
        job, open_ = play.job, play.stage in (DRAWING, VOTING)
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
        self._release(self._play(9 if pick > 4 else pick, DRAWING, VOTING))

    def _release(self, play):
        allowed = not play.alive and play.stage in (DRAWING, VOTING)
        self._do(allowed, STRANGER, "releaseBond", play.job.id)
        if allowed:
            play.stage = CLOSED
            for bond in play.bonds:
                self.bonds[bond.caller] = self.bonds.get(bond.caller, 0) + bond.wei

    @rule(pick=picks)
    def withdraw(self, pick):
        self._withdraw(self.world.people[pick])

    def _withdraw(self, account):
        self._do(self.bonds[account] > 0, account, "withdrawBond")
        self._do(self.rewards[account] > 0, account, "withdrawReward", on="CommitteeSeats")
        self.bonds[account] = self.rewards[account] = 0

    # ── What holds after every call ─────────────────────────────────────────────────────────────
    deployed = precondition(lambda self: hasattr(self, "world"))

    @invariant()
    @deployed
    def contracts_hold_what_they_owe(self):
        """What is not whole stays: less than a unit a vote, and what nobody settled yet."""
        call = self.evm.call
        held = call(OWNER, "TestDollar", "balanceOf", self.world.seats)
        held += call(OWNER, "InferenceMarket", "balanceOf", self.world.seats)
        stakes = sum(seat.stake for seat in self.seats.values())
        assert held >= stakes + sum(self.rewards.values())
        live = [play for play in self.plays if play.stage in (DRAWING, VOTING)]
        owed = sum(bond.wei for play in live for bond in play.bonds)
        assert self.evm.balance(self.world.place) >= owed + sum(
            wei for account, wei in self.bonds.items() if account
        )

    @invariant()
    @deployed
    def books_are_as_the_rules_say(self):
        """Of some, by turns: a look at everybody after every call would take minutes."""
        self.turn = getattr(self, "turn", 0) + 1
        self._check_books(sorted(self.bonds)[self.turn % 5 :: 5], SEATED[self.turn % 5 :: 5])

    def _check_books(self, accounts, members):
        world = self.world
        for account in accounts:
            assert not account or world.bond_of(account) == self.bonds[account]
            assert not account or world.reward_of(account) == self.rewards.get(account, 0)
        for member in members:
            seat = self.seats[member]
            words = (seat.stake, seat.release_at, seat.bound)
            assert world.seat(OWNER, "seatOf", GENERAL, member) == words
        pool = sum(seat.weight_at(self.now) for seat in self.seats.values())
        assert world.seat(OWNER, "poolAt", GENERAL, self.now) == pool

    @invariant()
    @deployed
    def disputes_are_as_the_rules_say(self):
        for play in self.plays:
            found = self.world.dispute(play.job)
            assert (found["stage"], found["round"]) == (play.stage, play.round)
            assert found["tallied"] == play.tallied
            if play.stage in (DRAWING, VOTING):
                assert found["until"] == play.until
                call, number = self.world.call, play.round
                assert call(OWNER, "sizeOf", play.job.id, number) == play.size(number)
                assert call(OWNER, "findingOf", play.job.id, number) == play.found(number)
            if play.ended:
                shares = (found["winners"], found["tokens"], found["weis"])
                assert shares == (play.ended.winners, play.ended.tokens, play.ended.weis)

    def teardown(self):
        """Whatever happened: everything can be ended by anyone, and all money comes out."""
        if not hasattr(self, "world"):
            return
        for play in self.plays:
            while play.alive and play.stage in (DRAWING, VOTING):
                if play.stage == DRAWING:
                    self.evm.set_time(max(self.now, play.until))
                    self._lapse(play)
                else:
                    self.evm.set_time(max(self.now, play.until + REVEAL + APPEAL))
                    self._tally(play)
            if play.stage in (DRAWING, VOTING):
                self._release(play)
            for round_ in range(len(play.ballots)):
                self._settle(play, round_)
        assert not any(seat.bound for seat in self.seats.values())
        self._check_books(list(self.bonds), SEATED)
        for member, seat in self.seats.items():
            if seat.stake and not seat.release_at:
                self.start_leave(member)
        self.evm.set_time(self.now + LEAVE)
        for member, seat in self.seats.items():
            if seat.release_at:
                self.finish_leave(member)
        for account in self.world.people:
            self._withdraw(account)
        votes = sum(len(ballots) for play in self.plays for ballots in play.ballots)
        left = self.evm.balance(self.world.place) - self.bonds[DEAD]
        assert 0 <= left <= votes + len(self.plays)
        held = self.evm.call(OWNER, "TestDollar", "balanceOf", self.world.seats)
        held += self.world.market(OWNER, "balanceOf", self.world.seats)
        assert 0 <= held - self.rewards[DEAD] <= votes + 4 * len(self.plays)


def test_committee__any_order_of_calls__keeps_the_rules():
    run_state_machine_as_test(CommitteeMachine, settings=machine(MACHINES // 4, 40))
