"""Training jobs as tests play them: the contract and its market in an EVM in this process.

Histories and proofs are those of `oracle/training`; here they meet a chain.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from examples.exact.training import Digits
from oracle.chain.codec import interface, plain
from oracle.chain.deploy import created_address
from oracle.exact.commitments import Committed
from oracle.exact.errors import ProofInvalid
from oracle.exact.game import NoFault
from oracle.exact.partial_tensor import TreeNode
from oracle.merkle import keccak, log
from oracle.training import job_game
from oracle.training.exact_job import ExactJob, StepFault, StepProofInvalid, StepRecord, judge
from oracle.training.job_game import (
    DemandHistory,
    DemandStepTrace,
    DemandTensor,
    JobDelivery,
    JobSearch,
    ProveStep,
)
from oracle.types import Bytes32
from tests.contracts.data_credits.play import (
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
from worker.exact.training import run

OPENER, TRAINER = OWNER, VALUATOR
NONE, OPEN, CLAIMED, DELIVERED, SETTLED, CONVICTED, VOID = range(7)
REPLY, MAX_PERIOD = 20, 10_000  # seconds
MIN_GAS_PRICE = 10  # wei
BOND_NEEDED = 2 * 150_000 * MIN_GAS_PRICE
CLAIM, TRAIN, WINDOW = 100, 200, 300  # seconds
PRICE, STAKE = 30 * DOLLAR, 50 * DOLLAR + 1
SALT = b"\x5a" * 32
JOB_FIELDS = (
    *("opener", "stage", "operators", "challenges", "until", "trainer", "historyRoot"),
    "lastState",
)


@functools.cache
def made(network: str) -> Digits:
    """Return a network of digits; its twin was trained."""
    return Digits(network)


class Histories:
    """A job's honest history, and what it is when one element of one step is another."""

    def __init__(self, network: str, steps: int = 2) -> None:
        self.digits = made(network)
        self.training = self.digits.training(steps)
        self.job: ExactJob = self.training.job
        self.program = self.job.program
        traces = list(self.training.run())
        self.traces = [Committed(self.program, trace.tensors) for trace in traces]
        self.records = run.records(traces)

    def tell(
        self, step: int, op: int, row: int, col: int
    ) -> tuple[tuple[StepRecord, ...], Committed]:
        """Return the records and the step's trace with another element in an operator's tensor."""
        honest, number = self.traces[step], self.program.id_of(op)
        tensors = list(honest.tensors)
        tensors[number] = tensors[number].copy()
        tensors[number][row, col] ^= 1
        trees = {key: honest.tree(key) for key in range(len(tensors)) if key != number}
        served = Committed(self.program, tensors, trees)
        told = list(self.records)
        told[step] = replace(told[step], trace=served.trace_root)
        told[step + 1] = replace(told[step + 1], state=served.tree(len(tensors) - 1).root)
        return tuple(told), served

    def show(self, records: Sequence[StepRecord], step: int, element: Any) -> StepFault:
        return self.training.show(records, step, element)

    def operator(self, op: int) -> tuple[Any, ...]:
        """Return an operator as the contract takes it."""
        operators = self.program.ops[op].words()
        return self.program.preamble, operators, self.program.operator_path(op)


@dataclass
class Jobs:
    """The contract with a job's program; everybody has money and has approved everything."""

    histories: Histories = field(default_factory=lambda: regression())  # noqa: PLW0108 -- defined below
    data: Data = field(default_factory=lambda: Data(min_gas_price=MIN_GAS_PRICE))

    def __post_init__(self) -> None:
        world = self.world
        programs = world.places["ProgramRegistry"]
        verifier = world.deploy(DEPLOYER, "StepVerifier")
        self.config = (self.data.market, programs, verifier, REPLY, MAX_PERIOD)
        nonce = world.revm.basic(DEPLOYER).nonce
        self.address = created_address(DEPLOYER, nonce)
        world.deploy(DEPLOYER, "TrainingJobs", self.config)
        for account in PEOPLE:
            world.call(account, "TestDollar", "approve", self.address, 2**256 - 1)
        world.call(OWNER, "ProgramRegistry", "registerProgram", list(self.histories.program.words))

    @property
    def world(self) -> Any:
        return self.data.world

    @property
    def job(self) -> ExactJob:
        return self.histories.job

    def do(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        return self.world.call(caller, "TrainingJobs", function, *arguments, value=value)

    def gas(self, caller: str, function: str, *arguments: Any, value: int = 0) -> int:
        """Call, and return what the transaction costs, the floor of EIP-7623 included."""
        data = interface("TrainingJobs")[function].encode(arguments)
        self.do(caller, function, *arguments, value=value)
        zeros = data.count(0)
        tokens = zeros + 4 * (len(data) - zeros)
        return 21_000 + max(4 * tokens + int(self.world.gas), 10 * tokens)

    # ── What is there ───────────────────────────────────────────────────────────────────────────
    @property
    def state(self) -> dict[str, Any]:
        return dict(zip(JOB_FIELDS, self.do(OPENER, "jobOf", 1), strict=True))

    def balance(self, account: str) -> int:
        return int(self.do(OPENER, "balanceOf", account))

    def bond(self, account: str) -> int:
        return int(self.do(OPENER, "bondOf", account))

    def money(self, account: str) -> int:
        return int(self.world.call(OPENER, "TestDollar", "balanceOf", account))

    def at(self, time: int) -> None:
        self.world.set_time(time)

    def wait(self, seconds: int = 1) -> None:
        self.at(self.world.time + seconds)

    def until(self) -> None:
        """Let the job's phase end."""
        self.at(self.state["until"])

    # ── A job's life ────────────────────────────────────────────────────────────────────────────
    def terms(self, **changes: Any) -> tuple[Any, ...]:
        job = self.job
        fields = {
            "program": job.program.model_root,
            "stateRoot": job.state,
            "samplesRoot": job.samples,
            "labelsRoot": job.labels,
            "seed": job.seed,
            "batches": job.batches,
            "steps": job.steps,
            "claimPeriod": CLAIM,
            "trainPeriod": TRAIN,
            "challengePeriod": WINDOW,
            "price": PRICE,
            "bond": STAKE,
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())

    def open(self, output: tuple[Any, ...] | None = None, **changes: Any) -> int:
        output = output or self.histories.operator(len(self.job.program.ops) - 1)
        return int(self.do(OPENER, "open", self.terms(**changes), output, CID, CID))

    def claim(self) -> None:
        self.open()
        self.do(TRAINER, "claim", 1)

    def delivery(self, records: Sequence[StepRecord]) -> JobDelivery:
        return job_game.delivery(records, Bytes32(CID), Bytes32(CID))

    def deliver(self, records: Sequence[StepRecord]) -> JobDelivery:
        """Open, claim, and deliver a history."""
        self.claim()
        delivery = self.delivery(records)
        self.do(TRAINER, "deliver", 1, delivery)
        return delivery

    # ── Convict ─────────────────────────────────────────────────────────────────────────────────
    def witness(self, fault: StepFault, by: str = CHALLENGER) -> bytes:
        element = fault.element
        place = fault.step, element.op, element.row, element.col
        return keccak(words(1, by, SALT, *place))

    def announce(self, fault: StepFault, by: str = CHALLENGER) -> None:
        self.do(by, "announce", self.witness(fault, by))
        self.wait()

    def prove(self, fault: StepFault, by: str = CHALLENGER) -> None:
        self.do(by, "prove", 1, SALT, fault)

    def outcome(self, fault: StepFault) -> bool | str:
        """Return whether the chain convicts, or the part that it refuses; and change nothing."""
        before = self.world.revm.snapshot()
        try:
            self.announce(fault)
            self.prove(fault)
        except Reverted as refused:
            if refused.name == "ElementRight":
                return False
            if refused.name not in ("StepProofInvalid", "ProofInvalid"):
                raise
            return str(refused.arguments[0])
        finally:
            self.world.revm.revert(before)
        return True

    # ── Demand and answer ───────────────────────────────────────────────────────────────────────
    def demanded(self, by: str = CHALLENGER) -> Any:
        return self.do(OPENER, "demandOf", 1, by)


@functools.cache
def regression() -> Histories:
    """Return two steps of the smallest network."""
    return Histories("regression")


def ruled(job: ExactJob, history: Bytes32, fault: StepFault) -> bool | str:
    """Return what the judge says, in the words of `Jobs.outcome`."""
    try:
        return judge(job, history, fault)
    except (StepProofInvalid, ProofInvalid) as refused:
        return refused.part


@dataclass
class Withheld:
    """A liar that shows on chain what is demanded and nothing else, and who convicts it.

    Attributes:
        records, step, served: the liar's history, its one wrong step, and that step's trace.
        gas: by transaction, in their order.
    """

    jobs: Jobs
    records: Sequence[StepRecord]
    step: int
    served: Committed
    challenger: str = CHALLENGER
    gas: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        histories = self.jobs.histories
        delivered = self.jobs.delivery(self.records)
        self.search = JobSearch(
            self.jobs.job, histories.records, lambda step: histories.traces[step], delivered
        )
        self._tree = job_game.history_tree(self.records)
        self._depth = log(len(self.records))

    def play(self) -> None:
        """Take every turn of both until the trainer is convicted."""
        while not isinstance(move := self.search.next_move(), ProveStep):
            assert not isinstance(move, NoFault)
            self.demand(move)
            self.answer(move)
        histories = self.jobs.histories
        batch = (histories.training.data.samples, histories.training.data.labels)
        fault = self.search.fault(move, histories.digits.step.constants, batch)
        self._send(self.challenger, "prove", 1, SALT, fault)

    def demand(self, move: Any) -> None:
        match move:
            case DemandHistory(node):
                self._send(self.challenger, "demandHistory", 1, node.level, node.index)
            case DemandStepTrace(step):
                self._send(self.challenger, "demandTrace", 1, step)
            case DemandTensor(step, op, node):
                operator = self.jobs.histories.operator(op)
                place = step, op, node.level, node.index
                self._send(self.challenger, "demandTensor", 1, *place, operator)

    def answer(self, move: Any) -> None:
        match move:
            case DemandHistory(node):
                nodes = job_game.open_history(self._tree, self._depth, node)
                path = self._tree.path(node.level, node.index)
                self._send(DAVE, "openHistory", 1, self.challenger, nodes, path)
                self.search.add_history(node, nodes)
            case DemandStepTrace(step):
                state, leaves = self.records[step].state, self.trace(step).trace_leaves
                path = self._tree.path(self._depth, step)
                self._send(DAVE, "showTrace", 1, self.challenger, state, leaves, path)
                self.search.add_trace(step, state, leaves)
            case DemandTensor(step, op, node):
                self.show(step, op, node)
                shown = job_game.shown_below(self.trace(step), op, node)
                self.search.add_tensor(move, shown)

    def asked(self, part: int, step: int, op: int, node: TreeNode) -> Any:
        """Return a demand as the chain holds it, as a move."""
        moves = (DemandHistory(node), DemandStepTrace(step), DemandTensor(step, op, node))
        return moves[part]

    def show(self, step: int, op: int, node: TreeNode) -> None:
        shown = job_game.shown_below(self.trace(step), op, node)
        where = job_game.tensor_node(self.records, step, self.trace(step), op, node)
        function = "revealLeaves" if isinstance(shown, bytes) else "openNode"
        self._send(DAVE, function, 1, self.challenger, where, shown)

    def trace(self, step: int) -> Committed:
        return self.served if step == self.step else self.jobs.histories.traces[step]

    def _send(self, by: str, function: str, *arguments: Any) -> None:
        value = BOND_NEEDED if function.startswith("demand") else 0
        arguments = tuple(plain(argument) for argument in arguments)
        self.gas.append((function, self.jobs.gas(by, function, *arguments, value=value)))
        self.jobs.wait()
