"""Rounds of training as tests play them: both contracts and their market in an EVM in this process.

Vectors, aggregates and proofs are those of `oracle/training`; here they meet a chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle.chain.codec import plain
from oracle.chain.deploy import created_address
from oracle.merkle import keccak
from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums
from oracle.training.errors import TrainingFaultInvalid
from oracle.training.faults import (
    AggregateFault,
    ClipFault,
    Evidence,
    ShownFault,
    StateFault,
    SumFault,
)
from oracle.training.judge import PublishedAggregate, judge
from oracle.training.vectors import STATE, SUMS, VectorTree
from oracle.types import ZERO32, Bytes32
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CHALLENGER,
    CID,
    DAVE,
    DEPLOYER,
    DOLLAR,
    OWNER,
    PEOPLE,
    VALUATOR,
    Data,
    words,
)
from tests.support.evm import Reverted

AGGREGATOR = VALUATOR
CLIENTS = (ALICE, BOB, CAROL, DAVE)
NONE, COLLECTING, PUBLISHED, SETTLED, VOID = range(5)
REVEALED, UNSERVED, UNCLIPPED, COLLECTED = range(1, 5)
UPDATE, SUMS_PART, STATE_PART = range(3)
REPLY, MAX_PERIOD = 20, 10_000  # seconds
MIN_GAS_PRICE = 10  # wei
BOND_NEEDED = 2 * 150_000 * MIN_GAS_PRICE
COMMIT, REVEAL, SERVE, AGGREGATE, WINDOW = 100, 60, 40, 200, 300  # seconds
BOND, STAKE, REWARD, FEE = 10 * DOLLAR, 50 * DOLLAR, 30 * DOLLAR + 2, 3 * DOLLAR
SALT = b"\x5a" * 32
P = 70
ROUND_FIELDS = (
    *("opener", "stage", "attempt", "challenges", "committed", "revealed", "aggregator", "until"),
    *("endBy", "commitUntil", "revealUntil", "serveUntil", "weight", "counted", "sharing"),
    *("sumsRoot", "nextRoot", "share"),
)
TERMS: dict[str, Any] = {
    "modelId": 1,
    "version": 1,
    "parameters": P,
    "clip": 1_000,
    "rule": 0,
    "trim": 0,
    "scaleBits": 16,
    "maxWeight": 500,
    "leastClients": 2,
    "mostClients": 4,
    "stateRoot": ZERO32,
    "commitPeriod": COMMIT,
    "revealPeriod": REVEAL,
    "servePeriod": SERVE,
    "aggregatePeriod": AGGREGATE,
    "challengePeriod": WINDOW,
    "aggregatorBond": STAKE,
    "participantBond": BOND,
    "reward": REWARD,
    "fee": FEE,
}


@dataclass
class Vectors:
    """A round's vectors; what an aggregator publishes of them is the truth until a test changes it.

    Attributes:
        sums, state: as they are published.
    """

    aggregation: Aggregation
    base: Any
    updates: list[Any]
    sums: Any = None
    state: Any = None

    def __post_init__(self) -> None:
        shown = np.stack(self.updates)
        if self.state is None:
            self.state = self.aggregation.next_state(self.base, shown)
        if self.sums is None and self.aggregation.rule == AggregationRule.MEAN:
            self.sums = RunningSums(self.aggregation, self.updates)[: P * len(self.updates)]

    @classmethod
    def random(
        cls, weights: Sequence[int], rule: AggregationRule, seed: int = 0, **terms: Any
    ) -> Any:
        """Return vectors whose updates keep to the clip of the terms."""
        rng = np.random.default_rng(seed)
        base = rng.integers(-(2**31), 2**31, P).astype(np.int32)
        updates = [rng.integers(-1_000, 1_001, P).astype(np.int32) for _ in weights]
        return cls(Aggregation(P, TERMS["clip"], tuple(weights), rule, **terms), base, updates)

    @property
    def evidence(self) -> Evidence:
        trees = [VectorTree(update, STATE) for update in self.updates]
        sums = None if self.sums is None else VectorTree(self.sums, SUMS)
        return Evidence(VectorTree(self.base, STATE), trees, sums, VectorTree(self.state, STATE))

    @property
    def published(self) -> PublishedAggregate:
        seen = self.evidence
        roots = tuple(tree.root for tree in seen.updates)
        sums = ZERO32 if seen.sums is None else seen.sums.root
        return PublishedAggregate(self.aggregation, seen.base.root, roots, sums, seen.state.root)


@dataclass
class Training:
    """Both contracts, with model 1 of OWNER; everybody has money and has approved everything."""

    data: Data = field(default_factory=lambda: Data(min_gas_price=MIN_GAS_PRICE))
    game: str = ""  # another than the one deployed here
    vectors: Vectors = field(
        default_factory=lambda: Vectors.random((3, 1, 2), AggregationRule.MEAN)
    )

    def __post_init__(self) -> None:
        world = self.world
        nonce = world.revm.basic(DEPLOYER).nonce
        self.rounds, game = (created_address(DEPLOYER, nonce + i) for i in range(2))
        world.deploy(DEPLOYER, "TrainingRounds", (self.data.market, self.game or game, MAX_PERIOD))
        if not self.game:
            world.deploy(DEPLOYER, "TrainingGame", (self.rounds, REPLY))
        for account in PEOPLE:
            world.call(account, "TestDollar", "approve", self.rounds, 2**256 - 1)

    @property
    def world(self) -> Any:
        return self.data.world

    def do(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        """Call either contract: no function but `config` is in both."""
        return self.world.call(caller, self.of(function), function, *arguments, value=value)

    def of(self, function: str) -> str:
        """Return which contract has a function."""
        in_game = {"demand", "openNode", "revealLeaf", "convictSilent", "lapseDemand", "demandOf"}
        in_game |= {"releaseBond", "withdrawBond", "bondOf", "bondNeeded"}
        moves = function in in_game or function.startswith("prove")
        return "TrainingGame" if moves else "TrainingRounds"

    # ── Time ────────────────────────────────────────────────────────────────────────────────────
    def at(self, time: int) -> None:
        self.world.set_time(time)

    def until(self, phase: str) -> None:
        """Let time pass to a deadline of the round."""
        self.at(self.round[phase])

    @property
    def round(self) -> dict[str, Any]:
        return dict(zip(ROUND_FIELDS, self.do(OWNER, "roundOf", 1), strict=True))

    def balance(self, account: str) -> int:
        return int(self.do(OWNER, "balanceOf", account))

    def bond(self, account: str) -> int:
        return int(self.do(OWNER, "bondOf", account))

    def status(self, number: int) -> int:
        return int(self.do(OWNER, "updateOf", 1, number)[2])

    # ── A round's life ──────────────────────────────────────────────────────────────────────────
    def terms(self, **changes: Any) -> tuple[Any, ...]:
        aggregation = self.vectors.aggregation
        fields = TERMS | {
            "stateRoot": VectorTree(self.vectors.base, STATE).root,
            "rule": int(aggregation.rule),
            "trim": aggregation.trim,
            "leastClients": max(2, 2 * aggregation.trim + 1),
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())

    def open(self, **changes: Any) -> int:
        return int(self.do(OWNER, "open", self.terms(**changes)))

    def root(self, client: int) -> Bytes32:
        return VectorTree(self.vectors.updates[client], STATE).root

    def weight(self, client: int) -> int:
        return self.vectors.aggregation.weights[client]

    def commit(self, client: int, **said: Any) -> None:
        self.do(CLIENTS[client], "commit", 1, self.commitment(client, **said))

    def commitment(self, client: int, **said: Any) -> bytes:
        root, weight = said.get("root", self.root(client)), said.get("weight", self.weight(client))
        return keccak(words(root, weight, SALT, CLIENTS[client], 1))

    def reveal(self, client: int, **said: Any) -> int:
        root, weight = said.get("root", self.root(client)), said.get("weight", self.weight(client))
        return int(self.do(CLIENTS[client], "reveal", 1, root, weight, SALT, CID, CID))

    def collect_updates(self, **terms: Any) -> None:
        """Open the round, commit to all updates and reveal them."""
        self.open(**terms)
        clients = range(len(self.vectors.updates))
        for client in clients:
            self.commit(client)
        self.until("commitUntil")
        for client in clients:
            self.reveal(client)
        self.until("revealUntil")

    def publish(self, by: str = AGGREGATOR) -> None:
        """Claim the round, in its time, and publish the vectors as they are."""
        if self.world.time < self.round["serveUntil"]:
            self.until("serveUntil")
        self.do(by, "claim", 1)
        seen = self.vectors.published
        self.do(by, "publish", 1, seen.sums_root, seen.next_root, CID, CID)

    # ── Challenges ──────────────────────────────────────────────────────────────────────────────
    def prove(self, fault: AggregateFault | ClipFault, by: str = CHALLENGER) -> None:
        name = {SumFault: "Sum", StateFault: "State", ShownFault: "Shown", ClipFault: "Clip"}
        self.do(by, f"prove{name[type(fault)]}", 1, *plain(fault))

    def outcome(self, fault: AggregateFault | ClipFault) -> bool | str:
        """Return whether the chain convicts, or the part that it refuses; and change nothing."""
        before = self.world.revm.snapshot()
        try:
            self.prove(fault)
        except Reverted as refused:
            if refused.name == "CoordinateRight":
                return False
            if refused.name != "TrainingProofInvalid":
                raise
            return str(refused.arguments[0])
        finally:
            self.world.revm.revert(before)
        return True

    def demand(
        self,
        part: int,
        number: int = 0,
        level: int = 0,
        index: int = 0,
        *,
        by: str = CHALLENGER,
        bond: int = BOND_NEEDED,
    ) -> None:
        self.do(by, "demand", 1, part, number, level, index, value=bond)

    def demanded(self, target: int = 0, by: str = CHALLENGER, attempt: int | None = None) -> Any:
        attempt = self.round["attempt"] if attempt is None else attempt
        return self.do(OWNER, "demandOf", 1, attempt, target, by)

    def serve(self, tree: VectorTree, target: int = 0, challenger: str = CHALLENGER) -> None:
        """Answer what is demanded of a tree."""
        game = self.demanded(target, challenger)
        level, index = game[6], game[7]
        path = tree.path(level, index)
        if level == tree.depth:
            self.do(DAVE, "revealLeaf", 1, target, challenger, tree.leaf(index), path)
            return
        levels = min(6, tree.depth - level)
        nodes = [tree.node(level + levels, (index << levels) + i) for i in range(1 << levels)]
        self.do(DAVE, "openNode", 1, target, challenger, nodes, path)


def ruled(published: PublishedAggregate, fault: AggregateFault | ClipFault) -> bool | str:
    """Return what the judge says, in the words of `Training.outcome`."""
    try:
        return judge(published, fault)
    except TrainingFaultInvalid as refused:
        return refused.part
