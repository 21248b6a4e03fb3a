"""What to demand of a trainer next, and what to answer: decisions alone, no chain and no files.

docs/training-jobs.md. A challenger did the job again, so it knows the one honest history. The first
record that differs names the step, and the first tensor of that step that differs has honest
operands. It asks for as little as shows one wrong element:
```
 DemandHistory ──▶ DemandStepTrace ──▶ DemandTensor ──▶ … ──▶ ProveStep
```
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.game import NoFault
from oracle.exact.partial_tensor import (
    REVEALED_LEVELS,
    DisputedTensors,
    PartialTensor,
    PartialTree,
    TreeNode,
)
from oracle.exact.proofs import OPENED_LEVELS
from oracle.exact.steps import Path, TensorOpening
from oracle.exact.tensors import TensorTree, tensor_leaf
from oracle.merkle import HashTree, log, tree_root
from oracle.training.exact_job import (
    NO_RECORD,
    SAMPLES,
    ExactJob,
    OpenedNode,
    StepFault,
    StepRecord,
)
from oracle.types import ZERO32, Bytes32


def history_tree(records: Sequence[StepRecord]) -> HashTree:
    """Return the tree over records 0 … steps."""
    leaves = b"".join(record.leaf for record in records)
    return HashTree(np.frombuffer(leaves, np.uint8).reshape(-1, 1, 32))


# ── The trainer ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class JobDelivery:
    """What a trainer delivers, as ITrainingJobs.sol declares it.

    Attributes:
        nodes: six levels below the history's root, or its leaves when there are fewer levels.
        first_path, last_path: of the first and of the last record up to their nodes.
        cid, digest: of the last state's file.
    """

    nodes: Path
    first_trace: Bytes32
    first_path: Path
    last_state: Bytes32
    last_path: Path
    cid: Bytes32
    digest: Bytes32


@dataclass(frozen=True, slots=True)
class TensorNode:
    """Where a demanded node of a tensor hangs, as ITrainingJobs.sol declares it."""

    record: StepRecord
    record_path: Path
    tensor: TensorOpening
    path: Path


def delivery(records: Sequence[StepRecord], cid: Bytes32, digest: Bytes32) -> JobDelivery:
    """Return what a trainer with this history delivers."""
    tree, depth, last = history_tree(records), log(len(records)), len(records) - 1
    levels = min(OPENED_LEVELS, depth)
    return JobDelivery(
        open_history(tree, depth, TreeNode(0, 0)),
        records[0].trace,
        tree.path(depth, 0)[: depth - levels],
        records[-1].state,
        tree.path(depth, last)[: depth - levels],
        cid,
        digest,
    )


def open_history(tree: HashTree, depth: int, node: TreeNode) -> Path:
    """Return the nodes six levels below one of a history, or the leaves when fewer are left."""
    below = min(OPENED_LEVELS, depth - node.level)
    first = node.index << below
    return tuple(tree.node(node.level + below, first + k) for k in range(1 << below))


def tensor_node(
    records: Sequence[StepRecord], step: int, committed: Committed, op: int, node: TreeNode
) -> TensorNode:
    """Return where a node of the tensor hangs that operator `op` of a step wrote.

    Args:
        records: the trainer's.
        step: whose tensor it is.
        committed: the trainer's trace of the step.
        op: the operator.
        node: which node is demanded.
    """
    number = step + (op == len(committed.program.ops) - 1)
    tree = committed.tree(committed.program.id_of(op))
    return TensorNode(
        records[number],
        history_tree(records).path(log(len(records)), number),
        TensorOpening(tree.root, committed.trace_path(op)),
        tree.path(node.level, node.index),
    )


def shown_below(committed: Committed, op: int, node: TreeNode) -> Path | bytes:
    """Return what answers a demand of a tensor's node: 64 nodes, or the bytes of its leaves."""
    tree = committed.tree(committed.program.id_of(op))
    if tree.depth - node.level > REVEALED_LEVELS:
        return proofs.open_node(tree, node.level, node.index)
    return proofs.reveal_leaves(tree, node.level, node.index)


# ── The challenger ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """A node of the history is not known further down."""

    node: TreeNode


@dataclass(frozen=True, slots=True)
class DemandStepTrace:
    """The record and the tensor leaves of a step are not known."""

    step: int


@dataclass(frozen=True, slots=True)
class DemandTensor:
    """A node of the tensor that `op` of a step wrote is not known further down."""

    step: int
    op: int
    node: TreeNode


@dataclass(frozen=True, slots=True)
class ProveStep:
    """Element [row, col] of `op` of a step is not what its operands imply."""

    step: int
    op: int
    row: int
    col: int


JobMove: TypeAlias = NoFault | DemandHistory | DemandStepTrace | DemandTensor | ProveStep


@dataclass
class JobSearch:
    """One search for a wrong element in a history, from what was delivered and shown of it.

    Attributes:
        job: its terms.
        records: the honest history.
        traced: the honest trace of a step.
        delivered: what the trainer delivered.
    """

    job: ExactJob
    records: Sequence[StepRecord]
    traced: Callable[[int], Committed]
    delivered: JobDelivery
    _traces: dict[int, tuple[Bytes32, Path]] = field(default_factory=dict)
    _tensors: dict[tuple[int, int], PartialTensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._depth = log(self.job.steps + 1)
        self._honest = history_tree(self.records)
        self._history = PartialTree(self._depth)
        self._history.add_below(TreeNode(0, 0), self.delivered.nodes)

    # ── What was shown ────────────────────────────────────────────────────────────────────────────

    def add_history(self, node: TreeNode, nodes: Sequence[bytes]) -> None:
        """Take what `openHistory` showed below a node."""
        self._history.add_below(node, nodes)

    def add_trace(self, step: int, state: Bytes32, leaves: Sequence[Bytes32]) -> None:
        """Take what `showTrace` showed: the state before a step, and its tensor leaves."""
        self._traces[step] = state, tuple(leaves)

    def add_tensor(self, demanded: DemandTensor, shown: Path | bytes) -> None:
        """Take what `openNode` or `revealLeaves` showed below a node of a tensor."""
        known = self._tensor(demanded.step, demanded.op)
        if isinstance(shown, bytes):
            known.add_leaves(demanded.node, shown)
        else:
            known.add_nodes(demanded.node, shown)

    # ── What follows ──────────────────────────────────────────────────────────────────────────────

    def next_move(self) -> JobMove:
        """Return what to do next."""
        node = self._history.first_difference(self._honest)
        if node is None:
            return NoFault()
        if node.level < self._depth:
            return DemandHistory(node)
        number, last = node.index, len(self.job.program.ops) - 1
        if number < self.job.steps and number not in self._traces:
            return DemandStepTrace(number)
        if self._state(number) != self.records[number].state:
            return self._look(number - 1, last)
        honest, (_, leaves) = self.traced(number).trace_leaves, self._traces[number]
        pairs = enumerate(zip(leaves, honest, strict=True))
        return self._look(number, next(op for op, (mine, true) in pairs if mine != true))

    def fault(
        self, move: ProveStep, constants: Constants, batch: Sequence[TensorTree]
    ) -> StepFault:
        """Return the proof of an element that `next_move` named.

        Args:
            move: which element.
            constants: of the program.
            batch: the trees of all samples and of all labels.
        """
        job, program, honest = self.job, self.job.program, self.traced(move.step)
        last = move.op == len(program.ops) - 1
        leaves = honest.trace_leaves if last else self._traces[move.step][1]
        state = self._state(move.step + 1) if last else ZERO32
        output = tensor_leaf(program.id_of(len(program.ops) - 1), program.output, state)
        known = {move.op: self._tensor(move.step, move.op)}
        told = DisputedTensors(honest, leaves, output, known)
        samples, labels = batch
        number = job.batch(move.step)
        level = samples.row_levels - log(program.inputs[SAMPLES].rows)
        record = StepRecord(self.records[move.step].state, _root(leaves))
        return StepFault(
            move.step,
            record,
            self._path(move.step),
            self._record(move.step + 1) if last else NO_RECORD,
            self._path(move.step + 1) if last else (),
            OpenedNode(samples.node(level, number), samples.path(level, number)),
            OpenedNode(
                labels.node(labels.row_levels, number), labels.path(labels.row_levels, number)
            ),
            proofs.step(constants, told, move.op, move.row, move.col),
        )

    def _look(self, step: int, op: int) -> JobMove:
        true = self.traced(step).tree(self.job.program.id_of(op))
        assert isinstance(true, TensorTree)
        match self._tensor(step, op).difference(true):
            case TreeNode() as node:
                return DemandTensor(step, op, node)
            case (row, col):
                return ProveStep(step, op, row, col)
        raise AssertionError("a root differs, so a node does")

    def _tensor(self, step: int, op: int) -> PartialTensor:
        spec = self.job.program.ops[op].result
        return self._tensors.setdefault((step, op), PartialTensor(spec))

    def _state(self, number: int) -> Bytes32:
        shown = self._traces.get(number)
        return self.delivered.last_state if shown is None else shown[0]

    def _record(self, number: int) -> StepRecord:
        if number == self.job.steps:
            return StepRecord(self.delivered.last_state)
        state, leaves = self._traces[number]
        return StepRecord(state, _root(leaves))

    def _path(self, number: int) -> Path:
        """Return a record's path: what nobody showed of it lies before the first difference."""
        found = []
        for level in range(self._depth, 0, -1):
            beside = number >> self._depth - level ^ 1
            shown = self._history.knows(TreeNode(level, beside))
            found.append((self._history if shown else self._honest).node(level, beside))
        return tuple(found)


def _root(leaves: Path) -> Bytes32:
    return tree_root(leaves, log(len(leaves))) if leaves else ZERO32
