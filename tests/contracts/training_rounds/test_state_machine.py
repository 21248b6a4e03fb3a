"""Any order of moves by anybody: nothing is made or lost, and every round comes to an end."""

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

from oracle.training.aggregation import AggregationRule
from oracle.training.faults import find_unclipped
from tests.contracts.data_credits.play import ALICE, BOB, CHALLENGER, CID, DEAD, OWNER, RIVAL
from tests.contracts.training_rounds.play import (
    AGGREGATOR,
    BOND,
    BOND_NEEDED,
    CLIENTS,
    COLLECTING,
    FEE,
    PUBLISHED,
    REVEALED,
    REWARD,
    SETTLED,
    STAKE,
    SUMS_PART,
    UPDATE,
    VOID,
    Training,
    Vectors,
)
from tests.support.effort import LONG_MACHINES, MACHINES, machine
from tests.support.evm import Reverted

PEOPLE = (*CLIENTS, OWNER, AGGREGATOR, RIVAL, CHALLENGER, DEAD)
NUMBERS = st.integers(0, 3)


class Rounds(RuleBasedStateMachine):
    """One round; refused moves change nothing."""

    def __init__(self) -> None:
        super().__init__()
        vectors = Vectors.random((3, 1, 2, 7), AggregationRule.MEAN)
        vectors.updates[3][9] = 2_000  # out of bounds
        self.true = Vectors(vectors.aggregation, vectors.base, vectors.updates)
        self.training = Training(vectors=self.true)
        self.training.open()

    def money(self, account: str) -> int:
        return int(self.training.world.call(BOB, "TestDollar", "balanceOf", account))

    def tried(self, move: Callable[[], Any]) -> None:
        """Make a move that the round may refuse."""
        try:
            move()
        except Reverted as refused:
            if refused.name in ("Panic", "Error", ""):
                raise

    # ── Moves ───────────────────────────────────────────────────────────────────────────────────
    @rule(client=NUMBERS)
    def commit(self, client: int) -> None:
        self.tried(lambda: self.training.commit(client))

    @rule(client=NUMBERS)
    def reveal(self, client: int) -> None:
        self.tried(lambda: self.training.reveal(client))

    @rule(seconds=st.sampled_from([1, 19, 20, 60, 150, 400]))
    def wait(self, seconds: int) -> None:
        self.training.at(self.training.world.time + seconds)

    @rule()
    def go_on(self) -> None:
        """Let the phase end."""
        seen = self.training.round
        phases = ("commitUntil", "revealUntil", "serveUntil", "until", "endBy")
        later = [seen[name] for name in phases if seen[name] > self.training.world.time]
        if later:
            self.training.at(min(later))

    @rule(by=st.sampled_from([AGGREGATOR, RIVAL]))
    def claim(self, by: str) -> None:
        self.tried(lambda: self.training.do(by, "claim", 1))

    @rule(by=st.sampled_from([AGGREGATOR, RIVAL]), sums=st.booleans(), honest=st.booleans())
    def publish(self, by: str, sums: bool, honest: bool) -> None:
        root = CID if honest else bytes(32)
        self.tried(
            lambda: self.training.do(by, "publish", 1, root if sums else CID, root, CID, CID)
        )

    @rule(by=st.sampled_from([CHALLENGER, ALICE]), number=st.integers(0, 4))
    def demand(self, by: str, number: int) -> None:
        part = UPDATE if number else SUMS_PART
        self.tried(lambda: self.training.demand(part, number, by=by))

    @rule(by=st.sampled_from([CHALLENGER, ALICE]), number=st.integers(1, 4))
    def serve(self, by: str, number: int) -> None:
        trees = self.true.evidence.updates
        order = [self.training.do(OWNER, "updateOf", 1, n)[3] for n in range(1, 5)]
        tree = next((tree for tree in trees if tree.root == order[number - 1]), trees[0])
        self.tried(lambda: self.training.serve(tree, number, by))

    @rule(by=st.sampled_from([CHALLENGER, ALICE]), number=st.integers(0, 4))
    def convict_silent(self, by: str, number: int) -> None:
        self.tried(lambda: self.training.do(BOB, "convictSilent", 1, number, by))

    @rule(by=st.sampled_from([CHALLENGER, ALICE]), number=st.integers(0, 4))
    def lapse_demand(self, by: str, number: int) -> None:
        self.tried(lambda: self.training.do(BOB, "lapseDemand", 1, number, by))

    @rule(
        by=st.sampled_from([CHALLENGER, ALICE]),
        attempt=st.integers(0, 2),
        number=st.integers(0, 4),
    )
    def release(self, by: str, attempt: int, number: int) -> None:
        self.tried(lambda: self.training.do(BOB, "releaseBond", 1, attempt, number, by))

    @rule(number=st.integers(1, 4))
    def prove_clip(self, number: int) -> None:
        fault = find_unclipped(self.true.aggregation, self.true.evidence.updates[3], number)
        assert fault is not None
        self.tried(lambda: self.training.prove(fault))

    @rule(move=st.sampled_from(["lapse", "settle", "voidRound"]))
    def end(self, move: str) -> None:
        self.tried(lambda: self.training.do(BOB, move, 1))

    @rule(number=st.integers(1, 4))
    def collect(self, number: int) -> None:
        self.tried(lambda: self.training.do(BOB, "collect", 1, number))

    @rule(account=st.sampled_from([*CLIENTS, AGGREGATOR, RIVAL, OWNER, CHALLENGER]))
    def withdraw(self, account: str) -> None:
        self.tried(lambda: self.training.do(account, "withdraw"))

    @rule(account=st.sampled_from([CHALLENGER, ALICE, BOB]))
    def withdraw_bond(self, account: str) -> None:
        self.tried(lambda: self.training.do(account, "withdrawBond"))

    # ── What always holds ───────────────────────────────────────────────────────────────────────
    @invariant()
    def tokens__held__are_those_owed(self) -> None:
        training, seen = self.training, self.training.round
        live = seen["stage"] in (COLLECTING, PUBLISHED)
        statuses = [training.status(number) for number in range(1, seen["revealed"] + 1)]
        bonded = statuses.count(REVEALED)
        owed = sum(training.balance(account) for account in PEOPLE) + bonded * BOND
        if live:
            owed += (seen["committed"] - seen["revealed"]) * BOND + REWARD + FEE
            owed += STAKE if seen["aggregator"] != "0x" + "00" * 20 else 0
        else:
            owed += bonded * seen["share"]
        assert self.money(training.rounds) == owed

    @invariant()
    def wei__held__is_that_owed(self) -> None:
        training = self.training
        open_bonds = sum(
            training.demanded(target, by, attempt)[3]
            for target in range(5)
            for by in (CHALLENGER, ALICE)
            for attempt in range(4)
        )
        owed = sum(training.bond(account) for account in PEOPLE) + open_bonds
        assert training.world.balance(training.world.places["TrainingGame"]) == owed
        assert open_bonds % BOND_NEEDED == 0

    @invariant()
    def counts__of_updates__are_those_of_their_states(self) -> None:
        training, seen = self.training, self.training.round
        shown = [training.do(OWNER, "updateOf", 1, n) for n in range(1, seen["revealed"] + 1)]
        counted = [update for update in shown if update[2] != 2]
        assert seen["counted"] == len(counted)
        assert seen["weight"] == sum(update[1] for update in counted)

    def teardown(self) -> None:
        """Whoever was honest, and whoever vanished: anybody can bring the round to its end."""
        training = self.training
        for _ in range(10):
            if training.round["stage"] not in (COLLECTING, PUBLISHED):
                break
            training.at(training.world.time + 1_000)
            for by in (CHALLENGER, ALICE):
                for number in range(5):
                    self.convict_silent(by, number)
                    self.lapse_demand(by, number)
            for move in ("lapse", "settle", "voidRound"):
                self.end(move)
        assert training.round["stage"] in (SETTLED, VOID)
        for number in range(1, 5):
            self.collect(number)
        for by in (CHALLENGER, ALICE):
            for attempt in range(4):
                for number in range(5):
                    self.release(by, attempt, number)
        for account in PEOPLE[:-1]:
            self.withdraw(account)
        assert self.money(training.rounds) == training.balance(DEAD)
        for account in (CHALLENGER, *CLIENTS, AGGREGATOR, RIVAL):
            self.tried(lambda account=account: training.do(account, "withdrawBond"))
        game = training.world.places["TrainingGame"]
        assert training.world.balance(game) == training.bond(DEAD)


@pytest.mark.parametrize(("runs", "steps"), [(MACHINES, 20), (LONG_MACHINES, 60)])
def test_rounds__any_order_of_moves__keeps_the_books(runs: int, steps: int) -> None:
    run_state_machine_as_test(Rounds, settings=machine(runs, steps))
