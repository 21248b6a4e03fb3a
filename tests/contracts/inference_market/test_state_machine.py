"""The whole market against the reference, call for call, in any order Hypothesis can think of.

Every call must be refused with the error that the reference names, or change the books in the same
way; after every call the money is all there (solvency), no request has ended twice, and no stake
is below its locks. The token is one that can be paused and blocks accounts: only who moves it meets
that.
"""

import hashlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oracle.chain.deploy import created_address
from oracle.protocol.canonical import keccak
from tests.contracts import blocking_token
from tests.contracts.reference import (
    CLAIM_FORFEIT,
    CLAIM_PERIOD,
    DEMAND_PERIOD,
    MAX_DISPUTE_AGE,
    MIN_LOCK,
    PROTOCOL_BPS,
    UNBONDING_DELAY,
    Books,
    Job,
    Version,
)
from tests.support.effort import LONG_MACHINES, MACHINES, machine
from tests.support.evm import Evm, Reverted

START = 1_800_000_000
ZERO, ZERO32 = "0x" + "00" * 20, bytes(32)
OUTPUT = b"answer"
ROOT = hashlib.sha256(OUTPUT).digest()
VERSIONS = (
    Version(100_003, 6_999, 1_001, 5, 60),
    Version(7, 3_333, 3_333, 1, 20),
    Version(10_007, 6_999, 1_001, 5, 60, 13),  # metered
)
STAKE = 5_000_000
FUNDS = 1_000_000


def person(number: int) -> str:
    return "0x" + f"{number:040x}"


DEPLOYER, OWNER, TREASURY, COMMITTEE, STRANGER = (person(0xD0 + i) for i in range(5))
REQUESTERS = [person(0xA0), person(0xA1)]
OPERATORS = [person(0xB0), person(0xB1)]
PEOPLE = [*REQUESTERS, *OPERATORS, STRANGER]
REFUSED = keccak(b"Refused()")[:4].hex()  # by the token

requesters = st.sampled_from(REQUESTERS)
operators = st.sampled_from(OPERATORS)
people = st.sampled_from(PEOPLE)
# Which request a rule is about: mostly one in a phase where the call makes sense, so that runs get
# deep; every fourth time any request at all, ended ones included.
counts = st.sampled_from([1, 2, 7, 12, 13, 13, 0, 14, 2**32])  # units, some of them refused
whens = st.sampled_from(["at", "before", "now"])
picks = st.tuples(st.integers(0, 5), st.sampled_from([True, True, True, False]))


def waiting(job):
    return job.phase in ("requested", "claimed")


def delivered(job):
    return job.phase == "delivered"


def disputed(job):
    return job.open > 0 and delivered(job)


def demanded(job):
    return job.demander is not None


def some(fits):
    """Run a rule only while there is a request that it fits."""
    return precondition(lambda self: any(map(fits, self.books.jobs)))


class MarketMachine(RuleBasedStateMachine):
    @initialize()
    def deploy(self):
        self.books, self.world = Books(OWNER, TREASURY), Evm(START)
        world = self.world
        token = blocking_token.deploy(world, DEPLOYER)
        market = created_address(DEPLOYER, 4)
        operators = created_address(DEPLOYER, 3)
        registry = world.deploy(DEPLOYER, "ModelRegistry", ZERO, ZERO, 1, 100, 0, 0, operators)
        access = world.deploy(DEPLOYER, "ModelAccess", registry, market)
        stakes = world.deploy(
            DEPLOYER, "OperatorRegistry", token, registry, market, UNBONDING_DELAY
        )
        wiring = (token, registry, access, stakes, ZERO, ZERO, COMMITTEE, ZERO, TREASURY)
        numbers = (PROTOCOL_BPS, MIN_LOCK, CLAIM_FORFEIT, CLAIM_PERIOD, DEMAND_PERIOD)
        self.market = world.deploy(
            DEPLOYER, "InferenceMarket", (*wiring, *numbers, MAX_DISPUTE_AGE, 0)
        )
        assert self.market.lower() == market.lower()
        self._publish()
        self._fund(market, stakes)

    def _publish(self):
        call, head = self.world.call, ZERO32
        call(OWNER, "ModelRegistry", "registerModel", "model", 0)
        for v in VERSIONS:
            terms = (v.fee, v.operator_bps, v.data_bps, v.multiple, v.window, v.max_units)
            fields = (b"\1" * 32, b"\2" * 32, 1, 1_000, *terms)
            _, head = call(OWNER, "ModelRegistry", "publishVersion", 1, head, fields)

    def _fund(self, market, stakes):
        call = self.world.call
        for account in PEOPLE:
            self.world.fund(account, 10**18)
            call(account, "TestDollar", "faucet", account, 10 * STAKE)
            call(account, "TestDollar", "approve", market, 2**255)
            call(account, "TestDollar", "approve", stakes, 2**255)
        for account in OPERATORS:
            call(account, "OperatorRegistry", "register", ZERO32, "")
            call(OWNER, "OperatorRegistry", "authorize", 1, account, True)
            call(account, "OperatorRegistry", "stake", account, STAKE)
            self.books.staked[account], self.books.authorized[account] = STAKE, True
        for account in REQUESTERS:
            call(account, "InferenceMarket", "deposit", account, FUNDS)
            self.books.deposit(account, FUNDS)

    def _pick(self, pick, fits):
        """Return the newest but n-th request that fits, or of all."""
        number, fitting = pick
        jobs = [job for job in self.books.jobs if not fitting or fits(job)]
        return jobs[-1 - number % len(jobs)]

    def both(self, caller, function, arguments, reference, contract="InferenceMarket", value=0):
        """Do one thing on chain and in the books; both must agree. Returns whether it was done."""
        try:
            reference()
            expected = None
        except Reverted as refusal:
            expected = refusal.name
        try:
            self.world.call(caller, contract, function, *arguments, value=value)
            actual = None
        except Reverted as refusal:
            actual = "Refused" if REFUSED in refusal.name else refusal.name
        assert actual == expected, f"{function}: chain says {actual}, reference {expected}"
        return actual is None

    # ── Time and money ──────────────────────────────────────────────────────────────────────────
    @rule(seconds=st.sampled_from([1, 9, 30, 60, UNBONDING_DELAY]))
    def wait(self, seconds):
        self.world.set_time(self.world.time + seconds)

    def _reach(self, deadline, when):
        """Go to a deadline, to the second before it, or stay."""
        if when != "now":
            self.world.set_time(max(self.world.time, deadline - (when == "before")))

    @rule(account=people, amount=st.sampled_from([0, 1, 50_000, FUNDS]), inward=st.booleans())
    def move(self, account, amount, inward):
        reference = self.books.deposit if inward else self.books.withdraw
        name = "deposit" if inward else "withdraw"
        self.both(account, name, (account, amount), lambda: reference(account, amount))

    @rule(account=people, to=people, amount=st.sampled_from([0, 1, 50_000]))
    def hand_over(self, account, to, amount):
        move = self.books.transfer
        self.both(account, "transfer", (to, amount), lambda: move(account, to, amount))

    @rule(paused=st.booleans())
    def pause(self, paused):
        self.books.paused = paused
        blocking_token.pause(self.world, paused)

    @rule(account=st.sampled_from([*PEOPLE, OWNER, TREASURY]), blocked=st.booleans())
    def block(self, account, blocked):
        (self.books.blocked.add if blocked else self.books.blocked.discard)(account)
        blocking_token.block(self.world, account, blocked)

    @rule(account=people)
    def collect(self, account):
        self.both(account, "collectModelEarnings", (1,), self.books.collect_model)
        self.both(account, "withdrawBond", (), lambda: self.books.withdraw_bond(account))

    # ── Stake ───────────────────────────────────────────────────────────────────────────────────
    @rule(operator=operators, amount=st.sampled_from([None, 1, MIN_LOCK, STAKE]))
    def unstake(self, operator, amount):
        now, contract = self.world.time, "OperatorRegistry"
        if amount is None:
            finish = self.books.finish_unstake
            finish_to = (operator,)
            self.both(operator, "finishUnstake", finish_to, lambda: finish(operator, now), contract)
        else:
            start = self.books.start_unstake
            arguments = (amount,)
            self.both(
                operator, "startUnstake", arguments, lambda: start(operator, amount, now), contract
            )

    @rule(operator=operators, authorized=st.sampled_from([True, True, False]))
    def authorize(self, operator, authorized):
        self.world.call(OWNER, "OperatorRegistry", "authorize", 1, operator, authorized)
        self.books.authorized[operator] = authorized

    # ── The life of a request ───────────────────────────────────────────────────────────────────
    @rule(
        requester=requesters,
        lane=st.integers(0, 5),
        operator=st.sampled_from([*OPERATORS, *OPERATORS, None]),
        priority=st.sampled_from([20, 100, 0]),
        number=st.integers(0, len(VERSIONS) - 1),
        deliver=st.sampled_from([True, False]),
        units=counts,
    )
    def request(self, requester, lane, operator, priority, number, deliver, units):
        now, version, priority = self.world.time, VERSIONS[number], priority if operator else 0
        root = keccak(len(self.books.jobs).to_bytes(4, "big"))
        terms = self.world.call(STRANGER, "ModelRegistry", "termsOf", 1, number + 1)
        words = (
            int(requester, 16) | lane << 160 | self.books.nonces[requester] << 192,
            int(operator or ZERO, 16) | now + priority << 160 | now + 100 << 200,
            1 << 160 | number + 1 << 208,
            *(root, ZERO32, ZERO32, ZERO32, terms),
        )
        job = Job(requester, lane, operator, now + priority, now + 100, version, words)
        order = (1, number + 1, lane, root, ZERO32, ZERO32, version.fee, priority, 100)
        order += (operator or ZERO, ZERO, 0, ZERO32)
        done = self.both(requester, "request", (order,), lambda: self.books.request(job))
        if done and deliver and operator:
            self._deliver(job, operator, units)

    @some(waiting)
    @rule(pick=picks, when=whens, operator=operators)
    def claim(self, pick, when, operator):
        job = self._pick(pick, waiting)
        self._reach(job.claim[1] if job.claim else job.priority_until, when)
        arguments = (job.words, job.claim or (ZERO, 0))
        now = self.world.time
        self.both(operator, "claim", arguments, lambda: self.books.claim(job, operator, now))

    @some(waiting)
    @rule(
        pick=picks,
        operator=st.sampled_from([*OPERATORS, STRANGER]),
        units=counts,
        batch=st.booleans(),
    )
    def deliver(self, pick, operator, units, batch):
        job = self._pick(pick, waiting)
        if pick[1]:
            operator = job.claim[0] if job.claim else job.operator or operator
        self._deliver(job, operator, units, batch)

    def _deliver(self, job, operator, units, batch=False):
        units = units if job.version.max_units else units // 15  # mostly 0 under a flat fee
        arguments = (job.words, job.claim or (ZERO, 0), (ROOT, ZERO32, units))
        name = "deliver"
        if batch:
            name, arguments = "deliverBatch", tuple([argument] for argument in arguments)
        now = self.world.time
        self.both(
            operator, name, arguments, lambda: self.books.deliver(job, operator, ROOT, units, now)
        )

    @some(delivered)
    @rule(pick=picks, when=whens, account=people)
    def finalize(self, pick, when, account):
        job = self._pick(pick, delivered)
        self._reach(self._window_end(job), when)
        now = self.world.time
        arguments = ([job.words], [self._delivery(job)])
        self.both(account, "finalize", arguments, lambda: self.books.finalize(job, now))

    @some(waiting)
    @rule(pick=picks, when=whens, account=people)
    def cancel(self, pick, when, account):
        job = self._pick(pick, waiting)
        self._reach(job.expires_at, when)
        now = self.world.time
        arguments = (job.words, job.claim or (ZERO, 0))
        self.both(account, "cancelExpired", arguments, lambda: self.books.cancel(job, now))

    # ── Demands and disputes ────────────────────────────────────────────────────────────────────
    @some(delivered)
    @rule(pick=picks, account=people, bond=st.integers(0, 3))
    def demand(self, pick, account, bond):
        job = self._pick(pick, delivered)
        now = self.world.time
        self.both(
            account,
            "demandOutput",
            (job.words, self._delivery(job)),
            lambda: self.books.demand(job, account, bond, now),
            value=bond,
        )

    @some(demanded)
    @rule(pick=picks, when=whens, account=people, right=st.booleans())
    def post(self, pick, when, account, right):
        job = self._pick(pick, demanded)
        self._reach(job.demand_deadline, when)
        now = self.world.time
        arguments = (job.words, self._delivery(job), OUTPUT if right else b"nonsense")
        self.both(account, "postOutput", arguments, lambda: self.books.post(job, right, now))

    @some(demanded)
    @rule(pick=picks, when=whens, account=people)
    def convict_withheld(self, pick, when, account):
        job = self._pick(pick, demanded)
        self._reach(job.demand_deadline, when)
        now = self.world.time
        arguments = (job.words, self._delivery(job))
        self.both(
            account,
            "convictWithheld",
            arguments,
            lambda: self.books.convict_withheld(job, account, now),
        )

    @some(delivered)
    @rule(pick=picks)
    def open_dispute(self, pick):
        job = self._pick(pick, delivered)
        now = self.world.time
        arguments = (job.words, self._delivery(job))
        self.both(COMMITTEE, "openDispute", arguments, lambda: self.books.open_dispute(job, now))

    @some(disputed)
    @rule(pick=picks)
    def close_dispute(self, pick):
        job = self._pick(pick, disputed)
        arguments = (job.words, self._delivery(job))
        self.both(COMMITTEE, "closeDispute", arguments, lambda: self.books.close_dispute(job))

    @some(disputed)
    @rule(pick=picks, challenger=people, prover=people)
    def convict(self, pick, challenger, prover):
        job = self._pick(pick, disputed)
        arguments = (job.words, self._delivery(job), 0, challenger, prover)
        self.both(
            COMMITTEE,
            "convict",
            arguments,
            lambda: self.books.convict(job, challenger, prover),
        )

    @some(disputed)
    @rule(pick=picks)
    def annul(self, pick):
        job = self._pick(pick, disputed)
        arguments = (job.words, self._delivery(job))
        self.both(COMMITTEE, "annul", arguments, lambda: self.books.annul(job))

    @some(disputed)
    @rule(pick=picks, when=whens, account=people)
    def annul_stale(self, pick, when, account):
        job = self._pick(pick, disputed)
        self._reach(self._window_end(job) + MAX_DISPUTE_AGE, when)
        now = self.world.time
        arguments = (job.words, self._delivery(job))
        self.both(account, "annulStale", arguments, lambda: self.books.annul_stale(job, now))

    def _window_end(self, job):
        return job.window_end if job.delivery else 0

    def _delivery(self, job):
        return job.delivery or (ZERO, 0, ZERO32)

    # ── What holds after every call ─────────────────────────────────────────────────────────────
    @invariant()
    @precondition(lambda self: hasattr(self, "market"))
    def market_holds_exactly_what_it_owes(self):
        # What was slashed lies with the stakes until a payout needs it; what was burned, for ever.
        held = sum(map(self._tokens, (self.market, self.world.places["OperatorRegistry"])))
        assert held == self.books.custody + self.books.stakes + self.books.burned
        assert self.world.balance(self.market) == self.bonds_held

    def _tokens(self, account):
        return self.world.call(STRANGER, "TestDollar", "balanceOf", account)

    @property
    def bonds_held(self):
        return sum(self.books.bonds.values()) + sum(job.bond for job in self.books.jobs)

    @invariant()
    @precondition(lambda self: hasattr(self, "market"))
    def accounts_agree(self):
        call = self.world.call
        for account in (*PEOPLE, OWNER, TREASURY):
            assert (
                call(STRANGER, "InferenceMarket", "balanceOf", account)
                == (self.books.balances[account])
            )
        earned = call(STRANGER, "InferenceMarket", "modelEarnings", 1)
        assert earned == (self.books.owner_fees, self.books.data_fees)

    @invariant()
    @precondition(lambda self: hasattr(self, "market"))
    def stakes_cover_their_locks(self):
        for operator in OPERATORS:
            staked, locked, _ = self.world.call(STRANGER, "OperatorRegistry", "stakeOf", operator)
            assert staked == self.books.staked[operator]
            assert staked >= locked == self.books.locked[operator] == self.books.locks_of(operator)
        assert self.world.call(STRANGER, "OperatorRegistry", "burned") == self.books.burned

    @invariant()
    def nothing_ends_twice(self):
        assert all(job.ends <= 1 for job in getattr(self, "books", Books()).jobs)

    def teardown(self):
        """Whatever happened, everybody can be paid out: every state has a way out."""
        if not hasattr(self, "market"):
            return
        self.world.set_time(self.world.time + 10 * MAX_DISPUTE_AGE)
        blocking_token.pause(self.world)
        for job in self.books.live():
            undelivered = (job.words, job.claim or (ZERO, 0))
            answered = (job.words, self._delivery(job))
            if waiting(job):
                self.world.call(STRANGER, "InferenceMarket", "cancelExpired", *undelivered)
            elif job.demander:
                self.world.call(STRANGER, "InferenceMarket", "convictWithheld", *answered)
            elif job.open:
                self.world.call(STRANGER, "InferenceMarket", "annulStale", *answered)
            else:
                arguments = [[argument] for argument in answered]
                self.world.call(STRANGER, "InferenceMarket", "finalize", *arguments)
        if sum(self.world.call(STRANGER, "InferenceMarket", "modelEarnings", 1)):
            self.world.call(STRANGER, "InferenceMarket", "collectModelEarnings", 1)
        blocking_token.pause(self.world, paused=False)
        elsewhere = person(0xEE)  # whom the token blocks is paid at another account
        for account in (*PEOPLE, OWNER, TREASURY):
            if balance := self.world.call(STRANGER, "InferenceMarket", "balanceOf", account):
                self.world.call(account, "InferenceMarket", "withdraw", elsewhere, balance)
            if self.world.call(STRANGER, "InferenceMarket", "bondOf", account):
                self.world.call(account, "InferenceMarket", "withdrawBond")
        held = self._tokens(self.world.places["OperatorRegistry"])
        assert self._tokens(self.market) == 0
        call = self.world.call
        for operator in OPERATORS:
            held -= call(STRANGER, "OperatorRegistry", "stakeOf", operator)[0]
            held -= call(STRANGER, "OperatorRegistry", "unbondingOf", operator)[0]
        assert held == call(STRANGER, "OperatorRegistry", "burned")
        assert self.world.balance(self.market) == 0


@pytest.mark.parametrize(("runs", "steps"), [(MACHINES, 25), (LONG_MACHINES, 100)])
def test_market__any_sequence_of_calls__agrees_with_the_reference(runs, steps):
    run_state_machine_as_test(MarketMachine, settings=machine(runs, steps))
