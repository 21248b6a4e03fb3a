"""Any order of moves by anybody: nothing is made or lost, and every job comes to an end."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from oracle.exact.partial_tensor import TreeNode
from tests.contracts.data_credits.play import ALICE, BOB, CHALLENGER, DAVE, DEAD, RIVAL, refuses
from tests.contracts.training_jobs.play import (
    BOND_NEEDED,
    CLAIMED,
    CONVICTED,
    DELIVERED,
    OPEN,
    OPENER,
    PRICE,
    SALT,
    SETTLED,
    STAKE,
    TRAINER,
    VOID,
    Jobs,
    Withheld,
)
from tests.support.effort import LONG_MACHINES, MACHINES, machine
from tests.support.evm import Reverted
from worker.exact.training.run import WrongStep

PEOPLE = (OPENER, TRAINER, RIVAL, CHALLENGER, ALICE, BOB, DAVE, DEAD)
ASKING = (CHALLENGER, ALICE)


class Training(RuleBasedStateMachine):
    """One job; refused moves change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        histories = self.jobs.histories
        self.lied, self.served = histories.tell(1, 0, 0, 0)
        wrong = WrongStep(1, histories.traces[1])
        self.fault = histories.training.prove(self.lied, wrong, self.served)
        self.records = histories.records
        self.jobs.open()

    def tried(self, move: Callable[[], Any]) -> None:
        """Make a move that the job may refuse."""
        try:
            move()
        except Reverted as refused:
            if refused.name in ("Panic", "Error", ""):
                raise

    # ── Moves ───────────────────────────────────────────────────────────────────────────────────
    @rule(by=st.sampled_from([TRAINER, RIVAL]))
    def claim(self, by: str) -> None:
        self.tried(lambda: self.jobs.do(by, "claim", 1))

    @rule(by=st.sampled_from([OPENER, BOB]), move=st.sampled_from(["cancel", "lapse", "settle"]))
    def end(self, by: str, move: str) -> None:
        self.tried(lambda: self.jobs.do(by, move, 1))

    @rule(by=st.sampled_from([TRAINER, RIVAL]), honest=st.booleans())
    def deliver(self, by: str, honest: bool) -> None:
        told = self.jobs.histories.records if honest else self.lied

        def move() -> None:
            self.jobs.do(by, "deliver", 1, self.jobs.delivery(told))
            self.records = told

        self.tried(move)

    @rule(seconds=st.sampled_from([1, 19, 20, 100, 300]))
    def wait(self, seconds: int) -> None:
        self.jobs.wait(seconds)

    @rule()
    def go_on(self) -> None:
        """Let the phase end."""
        if self.jobs.state["until"] > self.jobs.world.time:
            self.jobs.until()

    @rule(by=st.sampled_from(ASKING), step=st.integers(0, 2))
    def demand_trace(self, by: str, step: int) -> None:
        self.tried(lambda: self.jobs.do(by, "demandTrace", 1, step, value=BOND_NEEDED))

    @rule(by=st.sampled_from(ASKING), level=st.integers(0, 2))
    def demand_history(self, by: str, level: int) -> None:
        self.tried(lambda: self.jobs.do(by, "demandHistory", 1, level, 0, value=BOND_NEEDED))

    @rule(by=st.sampled_from(ASKING), op=st.sampled_from([0, 11, 17]))
    def demand_tensor(self, by: str, op: int) -> None:
        operator = self.jobs.histories.operator(op)
        self.tried(
            lambda: self.jobs.do(by, "demandTensor", 1, 1, op, 0, 0, operator, value=BOND_NEEDED)
        )

    @rule(by=st.sampled_from(ASKING))
    def answer(self, by: str) -> None:
        """Show what this challenger asks for, as the trainer that delivered would."""
        game = self.jobs.demanded(by)
        if game[0] != 2:
            return
        told = Withheld(self.jobs, self.records, 1, self.trace, by)
        part, step, op, level, index = game[4], game[6], game[7], game[8], game[9]
        due = self.jobs.world.time < game[2] and self.jobs.state["stage"] == DELIVERED
        try:
            told.answer(told.asked(part, step, op, TreeNode(level, index)))
        except Reverted:
            assert not due, "who answers in time is heard"

    @property
    def trace(self) -> Any:
        return self.served if self.records is self.lied else self.jobs.histories.traces[1]

    @rule(by=st.sampled_from(ASKING))
    def announce(self, by: str) -> None:
        self.tried(lambda: self.jobs.do(by, "announce", self.jobs.witness(self.fault, by)))

    @rule(by=st.sampled_from(ASKING))
    def prove(self, by: str) -> None:
        def move() -> None:
            self.jobs.do(by, "prove", 1, SALT, self.fault)
            assert self.records is self.lied, "an honest trainer was convicted"

        self.tried(move)

    @rule(by=st.sampled_from(ASKING), move=st.sampled_from(["convictSilent", "lapseDemand"]))
    def end_challenge(self, by: str, move: str) -> None:
        self.tried(lambda: self.jobs.do(BOB, move, 1, by))

    @rule(by=st.sampled_from(ASKING))
    def release(self, by: str) -> None:
        self.tried(lambda: self.jobs.do(BOB, "releaseBond", 1, by))

    @rule(account=st.sampled_from(PEOPLE[:-1]), what=st.sampled_from(["withdraw", "withdrawBond"]))
    def withdraw(self, account: str, what: str) -> None:
        self.tried(lambda: self.jobs.do(account, what))

    # ── What always holds ───────────────────────────────────────────────────────────────────────
    @invariant()
    def tokens__held__are_those_owed(self) -> None:
        jobs, stage = self.jobs, self.jobs.state["stage"]
        owed = sum(jobs.balance(account) for account in PEOPLE)
        owed += PRICE if stage in (OPEN, CLAIMED, DELIVERED) else 0
        owed += STAKE if stage in (CLAIMED, DELIVERED) else 0
        assert jobs.money(jobs.address) == owed

    @invariant()
    def wei__held__is_that_owed(self) -> None:
        jobs = self.jobs
        bonds = [jobs.demanded(by)[3] for by in ASKING]
        owed = sum(jobs.bond(account) for account in PEOPLE) + sum(bonds)
        assert jobs.world.balance(jobs.address) == owed
        if jobs.state["stage"] == DELIVERED:
            assert jobs.state["challenges"] == sum(bond != 0 for bond in bonds)

    def teardown(self) -> None:
        """Whoever was honest, and whoever vanished: anybody can bring the job to its end."""
        jobs = self.jobs
        for _ in range(4):
            jobs.wait(1_000)
            for by in ASKING:
                for move in ("convictSilent", "lapseDemand"):
                    self.end_challenge(by, move)
            for move in ("cancel", "lapse", "settle"):
                self.end(BOB, move)
        assert jobs.state["stage"] in (SETTLED, CONVICTED, VOID)
        for by in ASKING:
            self.release(by)
        for account in PEOPLE[:-1]:
            self.withdraw(account, "withdraw")
            self.withdraw(account, "withdrawBond")
        assert jobs.money(jobs.address) == jobs.balance(DEAD)
        assert jobs.world.balance(jobs.address) == jobs.bond(DEAD)
        with refuses("AmountZero"):
            jobs.do(BOB, "withdraw")


@pytest.mark.parametrize(("runs", "steps"), [(MACHINES, 20), (LONG_MACHINES, 60)])
def test_jobs__any_order_of_moves__keeps_the_books(runs: int, steps: int) -> None:
    run_state_machine_as_test(Training, settings=machine(runs, steps))
