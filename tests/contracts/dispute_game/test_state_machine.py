"""The dispute game against its rules on a page, in any order of calls Hypothesis can think of.

One operator is honest and answers before each deadline, one lies and answers when it likes. After
every call: the contract holds the open bonds and what can be withdrawn, and nothing else; whose
turn it is and until when is as the reference says; and the honest operator's stake is untouched.
"""

from dataclasses import dataclass, field

import pytest
from eth_account import Account
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oracle.chain.bindings.dispute_game import Turn
from oracle.chain.codec import plain
from oracle.chain.deploy import created_address
from oracle.exact import game as decisions
from oracle.exact import proofs
from oracle.exact.partial_tensor import TreeNode
from oracle.exact.tensors import depth_of
from oracle.protocol.canonical import keccak
from tests.contracts.exact import FAULT, example
from tests.support.effort import LONG_MACHINES, MACHINES, machine
from tests.support.evm import Evm, Reverted

START = 1_800_000_000
ZERO, ZERO32, DEAD = "0x" + "00" * 20, bytes(32), "0x" + "00" * 18 + "dead"
WINDOW, MIN_REPLY, CLOCK, AGE = 60, 20, 50, 2 * 50 + 28 * 20
FEE, STAKE, SALT = 100_000, 10**9, b"\x5a" * 32
KEYS = {name: keccak(name.encode()) for name in ("honest", "liar")}
HONEST, LIAR = (Account.from_key(key).address for key in KEYS.values())
DEPLOYER, OWNER, REQUESTER, *CHALLENGERS = ("0x" + f"{0xD0 + i:040x}" for i in range(6))
PEOPLE = [*CHALLENGERS, HONEST, LIAR]
NO_RECEIPT = (ZERO32, ZERO32, b"")

people = st.sampled_from(PEOPLE)
picks = st.integers(0, 9)
places = st.sampled_from(
    [FAULT, FAULT, (0, 0, 0), (1, *FAULT[1:]), (2, 4, 6), (2, 0, 0), (0, 64, 0)]
)
nodes = st.sampled_from(
    [(0, 0, 0), (0, 6, 37), (0, 6, 0), (1, 1, 1), (2, 0, 0), (2, 4, 0), (0, 7, 9)]
)


@dataclass
class Play:
    """One challenge by the rules of docs/exact.md, section 7."""

    account: str
    witness: tuple[int, int, int] | None
    block: int
    bond: int
    turn: int
    deadline: int
    clocks: dict[str, int] = field(default_factory=lambda: {"challenger": CLOCK, "operator": CLOCK})
    demands: int = 0
    target: tuple[int, int, int] | None = None
    revealed: tuple[int, int, int] | None = None

    def pass_turn(self, turn: int, now: int) -> None:
        mover, other = ("challenger", "operator")[:: 1 if self.turn == Turn.CHALLENGER else -1]
        started = self.deadline - max(self.clocks[mover], MIN_REPLY)
        self.clocks[mover] = max(0, self.clocks[mover] - (now - started))
        self.deadline = now + max(self.clocks[other], MIN_REPLY)
        self.turn = turn

    def shows(self, op: int, row: int, col: int) -> bool:
        """Whether the element lies in the leaves that were revealed last."""
        if self.revealed is None or self.revealed[0] != op:
            return False
        result = example().program.ops[op].result
        if row >= result.rows:
            return False
        leaf = row  # one leaf a row in all of the example's tensors
        return leaf >> depth_of(result) - self.revealed[1] == self.revealed[2]


@dataclass
class Job:
    """One delivered answer."""

    words: tuple
    delivery: tuple
    request_id: bytes
    plays: list[Play] = field(default_factory=list)  # open ones, oldest first
    committed_at: int = 0
    alive: bool = True

    @property
    def honest(self) -> bool:
        return bool(self.delivery[0] == HONEST)

    @property
    def committed(self):
        return example().honest if self.honest else example().lie_inside

    def play_of(self, account: str) -> Play | None:
        return next((play for play in self.plays if play.account == account), None)


class GameMachine(RuleBasedStateMachine):
    @initialize()
    def deploy(self):
        self.jobs: list[Job] = []
        self.bonds = dict.fromkeys([*PEOPLE, DEAD], 0)
        world = self.world = Evm(START)
        token = world.deploy(DEPLOYER, "TestDollar")
        programs = world.deploy(DEPLOYER, "ProgramRegistry")
        verifier = world.deploy(DEPLOYER, "StepVerifier")
        market, game = created_address(DEPLOYER, 6), created_address(DEPLOYER, 7)
        operators = created_address(DEPLOYER, 5)
        registry = world.deploy(DEPLOYER, "ModelRegistry", programs, ZERO, 1, 100, 0, 0, operators)
        access = world.deploy(DEPLOYER, "ModelAccess", registry, market)
        stakes = world.deploy(DEPLOYER, "OperatorRegistry", token, registry, market, 10**6)
        wiring = (token, registry, access, stakes, ZERO, game, ZERO, ZERO, OWNER)
        world.deploy(DEPLOYER, "InferenceMarket", (*wiring, 500, 10**6, 10**5, 30, 60, AGE, 0))
        rules = (market, registry, verifier, MIN_REPLY, CLOCK)
        self.game = world.deploy(DEPLOYER, "DisputeGame", rules)
        assert self.game.lower() == game.lower()
        self._publish()
        self._fund(market, stakes)

    def _publish(self):
        call, program = self.world.call, example().program
        data = program.encode()
        words = [int.from_bytes(data[at : at + 32]) for at in range(0, len(data), 32)]
        call(OWNER, "ProgramRegistry", "registerProgram", words)
        call(OWNER, "ModelRegistry", "registerModel", "model", 0)
        root = program.model_root
        fields = (b"\1" * 32, root, 2, 0, FEE, 7_000, 1_000, 5, WINDOW, 0)
        call(OWNER, "ModelRegistry", "publishVersion", 1, ZERO32, fields)
        self.record = (ZERO32, b"\1" * 32, root, 0, OWNER, self.world.time)
        self.terms = call(OWNER, "ModelRegistry", "termsOf", 1, 1)

    def _fund(self, market, stakes):
        call = self.world.call
        for account in [*PEOPLE, REQUESTER]:
            self.world.fund(account, 10**18)
            call(account, "TestDollar", "faucet", account, 10**9)
            call(account, "TestDollar", "approve", market, 2**255)
            call(account, "TestDollar", "approve", stakes, 2**255)
        for account in (HONEST, LIAR):
            call(account, "OperatorRegistry", "register", ZERO32, "")
            call(OWNER, "OperatorRegistry", "authorize", 1, account, True)
            call(account, "OperatorRegistry", "stake", account, STAKE)
        call(REQUESTER, "InferenceMarket", "deposit", REQUESTER, 10**9)

    def _do(self, allowed, caller, function, *arguments, value=0):
        """Call the game; it must refuse exactly what the rules refuse."""
        try:
            self.world.call(caller, "DisputeGame", function, *arguments, value=value)
            refusal = ""
        except Reverted as error:
            refusal = error.name
        assert bool(allowed) == (refusal == ""), f"{function}: {refusal or 'not refused'}"

    # ── Time: nothing passes the honest operator by ─────────────────────────────────────────────
    def _pass(self, seconds):
        until = self.world.time + seconds
        while True:
            for job in self.jobs:
                for play in list(job.plays) if job.honest and job.alive else []:
                    if play.turn in (Turn.TRACE, Turn.NODE, Turn.STEP) and play.deadline <= until:
                        self._reply(job, play)
            pending = [
                play.deadline
                for job in self.jobs
                if job.honest and job.alive
                for play in job.plays
                if play.turn in (Turn.TRACE, Turn.NODE, Turn.STEP)
            ]
            if not any(deadline <= until for deadline in pending):
                break
        self.world.set_time(until)

    @rule(seconds=st.sampled_from([1, 3, 10, 19]))
    def wait(self, seconds):
        self._pass(seconds)

    @precondition(lambda self: any(job.plays for job in self.jobs))
    @rule(pick=picks, early=st.integers(0, 1))
    def wait_for_a_deadline(self, pick, early):
        deadlines = [play.deadline for job in self.jobs for play in job.plays]
        until = deadlines[pick % len(deadlines)] - early
        self._pass(max(0, until - self.world.time))

    # ── Answers ─────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: len(self.jobs) < 5)
    @rule(lie=st.booleans(), waiting=st.integers(0, 3), traced=st.booleans())
    def answer(self, lie, waiting, traced):
        """Deliver an answer that some challenge already, to get into games quickly."""
        call, now, lane = self.world.call, self.world.time, len(self.jobs)
        operator = LIAR if lie else HONEST
        committed = example().lie_inside if lie else example().honest
        root, output = committed.input_root, committed.output_root
        order = (1, 1, lane, root, ZERO32, ZERO32, FEE, 50, 100, operator, ZERO, 0, ZERO32)
        call(REQUESTER, "InferenceMarket", "request", order)
        words = (
            int(REQUESTER, 16) | lane << 160 | lane << 192,
            int(operator, 16) | now + 50 << 160 | now + 100 << 200,
            1 << 160 | 1 << 208,
            *(root, ZERO32, ZERO32, ZERO32, self.terms),
        )
        call(operator, "InferenceMarket", "deliver", words, (ZERO, 0), (output, ZERO32, 0))
        request_id = call(REQUESTER, "InferenceMarket", "requestIdOf", words)
        job = Job(words, (operator, now, output), request_id)
        self.jobs.append(job)
        for account in CHALLENGERS[:waiting]:
            self._challenge(job, account, None if traced else FAULT, 7)
        if waiting and traced:
            self._reply(job, job.plays[0])

    def _job(self, pick):
        """Return one of the last jobs; mostly a living one."""
        jobs = [job for job in self.jobs if job.alive or pick > 7] or self.jobs
        return jobs[-1 - pick % len(jobs)]

    def _play(self, pick, turns, about=lambda _: True):
        """Return an open challenge, rather one in one of these turns and of such a job."""
        plays = [(job, play) for job in self.jobs for play in job.plays if job.alive]
        fitting = [(job, play) for job, play in plays if play.turn in turns and about(job)]
        chosen = fitting if pick < 8 and fitting else plays
        return chosen[pick % len(chosen)]

    # ── The challenger ──────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: self.jobs)
    @rule(pick=picks, account=people, place=st.one_of(st.none(), places), bond=st.integers(0, 9))
    def challenge(self, pick, account, place, bond):
        self._challenge(self._job(pick), account, place, bond)

    def _challenge(self, job, account, place, bond):
        now = self.world.time
        known = job.play_of(account)
        allowed = job.alive and known is None and now < job.delivery[1] + WINDOW
        witness = self._witness(job, account, place) if place else ZERO32
        self._do(allowed, account, "challenge", job.words, job.delivery, witness, value=bond)
        if allowed:
            turn = Turn.CHALLENGER if place or job.committed_at else Turn.TRACE
            deadline = now + max(CLOCK, MIN_REPLY)
            job.plays.append(Play(account, place, self.world.number, bond, turn, deadline))

    def _witness(self, job, account, place):
        words = (int(account, 16), int.from_bytes(SALT), *place)
        return keccak(job.request_id + b"".join(word.to_bytes(32) for word in words))

    some_play = precondition(lambda self: any(job.plays for job in self.jobs if job.alive))

    @some_play
    @rule(pick=picks, place=nodes, answered=st.booleans())
    def demand_node(self, pick, place, answered):
        self._demand(pick, "demandNode", Turn.NODE, place, answered)

    @some_play
    @rule(pick=picks, place=places, answered=st.booleans())
    def demand_step(self, pick, place, answered):
        self._demand(pick, "demandStep", Turn.STEP, place, answered)

    def _demand(self, pick, function, turn, target, answered):
        job, play = self._play(pick, (Turn.CHALLENGER,))
        now = self.world.time
        allowed = job.committed_at and play.turn == Turn.CHALLENGER and now < play.deadline
        allowed = allowed and play.demands < 12
        self._do(allowed, play.account, function, job.words, job.delivery, *target)
        if allowed:
            play.pass_turn(turn, now)
            play.demands += 1
            play.target, play.revealed = target, None
        if allowed and answered:
            self._reply(job, play)

    @some_play
    @rule(pick=picks, place=places, served=st.booleans(), hinted=st.booleans())
    def prove(self, pick, place, served, hinted):
        job, play = self._play(pick, (Turn.CHALLENGER,), lambda job: hinted != job.honest)
        if hinted:
            self._pass(1)
            place = play.witness or FAULT
            if play not in job.plays:
                return
        op, row, col = place
        result = example().program.ops[op].result
        if row >= result.rows or col >= result.cols:
            return
        fits = place == play.witness and play.block < self.world.number
        allowed = play.turn == Turn.CHALLENGER and self.world.time < play.deadline
        allowed = allowed and (fits or play.shows(*place)) and (served or job.committed_at)
        allowed = allowed and not job.honest and place == FAULT
        receipt = self._receipt(job) if served else NO_RECEIPT
        step = plain(proofs.step(example().constants, job.committed, *place))
        arguments = (job.words, job.delivery, self.record, receipt, SALT, step)
        self._do(allowed, play.account, "prove", *arguments)
        if allowed:
            self._ended(job, play)

    def _receipt(self, job, **changes):
        roots = {"output": job.committed.output_root, "trace": job.committed.trace_root} | changes
        operator = "honest" if job.honest else "liar"
        arguments = (job.request_id, *roots.values())
        digest = self.world.call(OWNER, "DisputeGame", "receiptHash", *arguments)
        signed = Account.unsafe_sign_hash(digest, KEYS[operator])
        return (*roots.values(), bytes(signed.signature))

    @precondition(lambda self: self.jobs)
    @rule(pick=picks, account=people, twice=st.sampled_from([False] * 5 + [True]))
    def equivocate(self, pick, account, twice):
        """An honest operator signs one thing; a liar may sign two."""
        job = self._job(pick)
        true = self._receipt(job)
        first = true if job.honest or not twice else self._receipt(job, output=b"\7" * 32)
        in_time = bool(job.plays) or self.world.time < job.delivery[1] + WINDOW
        allowed = job.alive and first != true and in_time
        arguments = (job.words, job.delivery, first, true)
        self._do(allowed, account, "proveEquivocation", *arguments)
        if allowed:
            job.alive = False

    # ── The operator ────────────────────────────────────────────────────────────────────────────
    @some_play
    @rule(pick=picks)
    def reply(self, pick):
        self._reply(*self._play(pick, (Turn.TRACE, Turn.NODE, Turn.STEP)))

    def _reply(self, job, play):
        now, arguments = self.world.time, (job.words, job.delivery, self.record)
        in_time = now < play.deadline
        match play.turn:
            case Turn.TRACE:
                trace = decisions.answer_trace(job.committed)
                given = (*arguments, trace.preamble, trace.graph_root, trace.leaves)
                self._do(not job.committed_at, job.delivery[0], "commitTrace", *given)
                self._commit(job)
            case Turn.NODE:
                self._show(job, play, arguments, in_time)
            case Turn.STEP:
                step = decisions.answer_step(example().constants, job.committed, *play.target)
                allowed = in_time and (job.honest or play.target != FAULT)
                given = (*arguments, play.account, plain(step))
                self._do(allowed, job.delivery[0], "answerStep", *given)
                if allowed:
                    self._failed(job, play)

    def _commit(self, job):
        if job.committed_at:
            return
        job.committed_at = self.world.time
        for play in job.plays:
            if play.turn == Turn.TRACE and self.world.time < play.deadline:
                play.pass_turn(Turn.CHALLENGER, self.world.time)

    def _show(self, job, play, arguments, in_time):
        op, level, index = play.target
        shown = decisions.answer_node(job.committed, op, TreeNode(level, index))
        given = (*arguments, play.account, plain(shown.tensor))
        if isinstance(shown, decisions.OpenNodeArguments):
            given = (*given, shown.nodes, shown.path)
            self._do(in_time, job.delivery[0], "openNode", *given)
        else:
            given = (*given, shown.data, shown.path)
            self._do(in_time, job.delivery[0], "revealLeaves", *given)
        if not in_time:
            return
        if level > depth_of(example().program.ops[op].result):
            self._failed(job, play)
            return
        play.pass_turn(Turn.CHALLENGER, self.world.time)
        play.revealed = play.target if isinstance(shown, decisions.RevealLeavesArguments) else None

    # ── Ends ────────────────────────────────────────────────────────────────────────────────────
    def _failed(self, job, play):
        job.plays.remove(play)
        self.bonds[job.delivery[0]] += play.bond // 2
        self.bonds[DEAD] += play.bond - play.bond // 2

    def _ended(self, job, play):
        job.plays.remove(play)
        job.alive = False
        self.bonds[play.account] += play.bond

    @some_play
    @rule(pick=picks, account=people)
    def lapse(self, pick, account):
        job, play = self._play(pick, (Turn.CHALLENGER,))
        allowed = play.turn == Turn.CHALLENGER and self.world.time >= play.deadline
        self._do(allowed, account, "lapse", job.words, job.delivery, play.account)
        if allowed:
            self._failed(job, play)

    @some_play
    @rule(pick=picks, account=people)
    def convict_silent(self, pick, account):
        job, play = self._play(pick, (Turn.TRACE, Turn.NODE, Turn.STEP))
        allowed = play.turn != Turn.CHALLENGER and self.world.time >= play.deadline
        assert not (allowed and job.honest)
        self._do(allowed, account, "convictSilent", job.words, job.delivery, play.account)
        if allowed:
            self._ended(job, play)

    @precondition(lambda self: any(job.plays for job in self.jobs))
    @rule(pick=picks, dead=st.booleans())
    def release(self, pick, dead):
        plays = [(job, play) for job in self.jobs for play in job.plays]
        job, play = next(
            ((j, p) for j, p in plays if not j.alive and dead), plays[pick % len(plays)]
        )
        self._do(not job.alive, play.account, "releaseBond", job.request_id, play.account)
        if not job.alive:
            job.plays.remove(play)
            self.bonds[play.account] += play.bond

    @rule(account=people)
    def withdraw(self, account):
        self._do(self.bonds[account] > 0, account, "withdrawBond")
        self.bonds[account] = 0

    @precondition(lambda self: any(job.alive for job in self.jobs))
    @rule(pick=picks)
    def settle(self, pick):
        """The market pays out exactly what nobody challenges, or annuls what nobody ended."""
        job, now = self._job(pick), self.world.time
        arguments = ([job.words], [job.delivery])
        allowed = job.alive and not job.plays and now >= job.delivery[1] + WINDOW
        try:
            self.world.call(OWNER, "InferenceMarket", "finalize", *arguments)
            assert allowed
            job.alive = False
        except Reverted:
            assert not allowed
        stale = job.alive and job.plays and now >= job.delivery[1] + WINDOW + AGE
        try:
            arguments = (job.words, job.delivery)
            self.world.call(OWNER, "InferenceMarket", "annulStale", *arguments)
            assert stale
            job.alive = False
        except Reverted:
            assert not stale

    # ── What holds after every call ─────────────────────────────────────────────────────────────
    deployed = precondition(lambda self: hasattr(self, "game"))

    @invariant()
    @deployed
    def contract_holds_exactly_its_bonds(self):
        open_bonds = sum(play.bond for job in self.jobs for play in job.plays)
        held = self.world.balance(self.game)
        assert held == open_bonds + sum(self.bonds.values())
        for account, bond in self.bonds.items():
            assert self.world.call(OWNER, "DisputeGame", "bondOf", account) == bond

    @invariant()
    @deployed
    def turns_are_as_the_rules_say(self):
        call = self.world.call
        for job in self.jobs:
            for play in job.plays if job.alive else []:
                found = call(OWNER, "DisputeGame", "challengeOf", job.request_id, play.account)
                clocks = tuple(play.clocks.values())
                assert found[:5] == (play.turn, play.demands, play.deadline, *clocks)
                assert found[6] == play.bond

    @invariant()
    @deployed
    def challengers_stand_in_order(self):
        call = self.world.call
        for job in self.jobs:
            if not job.alive:
                continue
            seen = []
            account = call(OWNER, "DisputeGame", "firstChallengerOf", job.request_id)
            while int(account, 16):
                seen.append(account.lower())
                account = call(OWNER, "DisputeGame", "challengeOf", job.request_id, account)[10]
            assert seen == [play.account.lower() for play in job.plays]
            disputes = call(OWNER, "InferenceMarket", "openDisputesOf", job.request_id)
            assert disputes == len(job.plays)

    @invariant()
    @deployed
    def honest_operator_is_never_convicted(self):
        staked, _, _ = self.world.call(OWNER, "OperatorRegistry", "stakeOf", HONEST)
        assert staked == STAKE

    def teardown(self):
        """Whatever happened: everything can be ended by anyone, and every bond comes out."""
        if not hasattr(self, "game"):
            return
        while live := [(j, p) for j in self.jobs for p in j.plays if j.alive]:
            job, play = live[0]
            self._pass(max(0, play.deadline - self.world.time))
            if play not in job.plays:
                continue
            if play.turn == Turn.CHALLENGER and self.world.time >= play.deadline:
                self.lapse_of(job, play)
            elif self.world.time >= play.deadline:
                self._do(True, OWNER, "convictSilent", job.words, job.delivery, play.account)
                self._ended(job, play)
        for job in self.jobs:
            for play in list(job.plays):
                self._do(True, OWNER, "releaseBond", job.request_id, play.account)
                job.plays.remove(play)
                self.bonds[play.account] += play.bond
        for account in PEOPLE:
            if self.bonds[account]:
                self.withdraw(account)
        assert self.world.balance(self.game) == self.bonds[DEAD]
        self.honest_operator_is_never_convicted()

    def lapse_of(self, job, play):
        self._do(True, OWNER, "lapse", job.words, job.delivery, play.account)
        self._failed(job, play)


@pytest.mark.parametrize(("runs", "steps"), [(MACHINES, 15), (LONG_MACHINES, 60)])
def test_game__any_order_of_calls__keeps_the_rules(runs, steps):
    run_state_machine_as_test(GameMachine, settings=machine(runs, steps))
