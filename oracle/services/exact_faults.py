"""What is known of the trace that an operator stands for, and which fault in it is provable. Pure.

```
 on chain:  leaves (TraceCommitted), nodes (NodeOpened), bytes (LeavesRevealed)  ─┐
 off chain: leaves (receipt), tensors, the output's record                       ─┴▶ next move, step
```
Nothing is taken that does not hash to the delivery, to the trace on chain, or to a signed root.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from oracle.chain.bindings.dispute_game import LeavesRevealed, NodeOpened
from oracle.errors import InputInvalid
from oracle.exact import files, game, judge, proofs
from oracle.exact.commitments import Committed, trace_root
from oracle.exact.constants import Constants
from oracle.exact.errors import PositionInvalid, ProofInvalid
from oracle.exact.partial_tensor import REVEALED_LEVELS, DisputedTensors, PartialTensor, TreeNode
from oracle.exact.program import Kind, Program
from oracle.exact.steps import ExactClaim, ProofStep
from oracle.exact.tensors import LEAF, TensorTree, depth_of, leaves_of, tensor_leaf
from oracle.merkle import log
from oracle.types import Bytes32

Fault = tuple[int, int, int]  # op, row, col
RECORD_HEADER = 11  # bytes: id, dtype, rows, columns


@dataclass(frozen=True, slots=True)
class HonestTrace:
    """The one honest trace of a request."""

    constants: Constants
    honest: Committed

    @property
    def program(self) -> Program:
        """What was run."""
        return self.honest.program

    @property
    def output_root(self) -> Bytes32:
        """Root of the right answer."""
        return self.honest.output_root


def needs_trace(program: Program) -> bool:
    """Return whether a proof about the last operator opens a tensor of the trace."""
    first = len(program.inputs)
    operands = program.ops[-1].operands
    return any(o.kind == Kind.ACTIVATION and o.index >= first for o in operands)


class KnownTrace:
    """One operator's trace, as far as it was shown, beside the true one."""

    def __init__(
        self,
        truth: HonestTrace,
        output_root: Bytes32,
        leaves: Iterable[Bytes32] | None,
    ) -> None:
        """Begin with what stands for the tensors.

        Args:
            truth: the honest trace.
            output_root: as delivered.
            leaves: tensor leaves of operators 0 … nOps−2, as posted or served; None = unknown.
        """
        self.truth = truth
        self.output_root = output_root
        self.leaves = None if leaves is None else tuple(leaves)
        self._pieces: dict[int, PartialTensor] = {}

    @property
    def wrong(self) -> bool:
        """Whether the delivered output is not the true one."""
        return self.output_root != self.truth.output_root

    @property
    def trace_root(self) -> Bytes32:
        """Root over the leaves; zero when they are unknown or there are none."""
        return trace_root(self.leaves or ())

    @property
    def suspect(self) -> int | None:
        """The first operator whose tensor is known to differ; None = not known."""
        if self.leaves is None:
            return None if needs_trace(self.truth.program) else self._last
        return game.first_difference(self.truth.honest, self.leaves, self.output_root)

    # ── Take what was shown ─────────────────────────────────────────────────────────────────────

    def add_tensor(self, op: int, record: bytes) -> bool:
        """Take a tensor's record; return whether it is the one that the operator stands for."""
        try:
            tensor_id, tree = files.read_output(record)
        except InputInvalid:
            return False
        program = self.truth.program
        if tensor_id != program.id_of(op) or tree.spec != program.spec_of(tensor_id):
            return False
        if tensor_leaf(tensor_id, tree.spec, tree.root) != self.stated(op):
            return False
        pieces = PartialTensor(tree.spec)
        pieces.add_leaves(TreeNode(0, 0), tree.stored.tobytes())
        self._pieces[op] = pieces
        return True

    def add_shown(self, shown: Iterable[NodeOpened | LeavesRevealed]) -> None:
        """Take what was opened on chain, where it was held against the trace, oldest first."""
        for event in shown:
            pieces = self._of(event.op)
            node = TreeNode(event.level, event.index)
            try:
                if isinstance(event, NodeOpened):
                    pieces.add_nodes(node, event.nodes)
                else:
                    pieces.add_leaves(node, event.data)
            except ProofInvalid:  # cannot be: keccak binds both to one root
                continue

    def stated(self, op: int) -> Bytes32 | None:
        """Return what stands for an operator's tensor; None = not known."""
        if op == self._last:
            return self.output_root
        return None if self.leaves is None else self.leaves[op]

    # ── Use it ──────────────────────────────────────────────────────────────────────────────────

    def move(self) -> game.Move:
        """Return what a challenger who may do everything would do next (`oracle.exact.game`)."""
        leaves = self.leaves
        if leaves is None and not needs_trace(self.truth.program):
            leaves = self.truth.honest.trace_leaves  # they do not enter the proof
        return game.next_move(self.truth.honest, self.output_root, leaves, self._pieces)

    def step(self, claim: ExactClaim, fault: Fault) -> ProofStep | None:
        """Return the proof of a fault, judged beforehand; None when it would not convict."""
        honest = self.truth.honest
        leaves = honest.trace_leaves if self.leaves is None else self.leaves
        disputed = DisputedTensors(honest, leaves, self.output_root, self._pieces)
        try:
            step = proofs.step(self.truth.constants, disputed, *fault)
            return None if judge.check(claim, step) else step
        except (ProofInvalid, PositionInvalid, KeyError):  # KeyError: a piece is missing
            return None

    def cover(self, fault: Fault) -> TreeNode:
        """Return the highest node whose demand makes the operator reveal this element."""
        op = fault[0]
        spec = self.truth.program.spec_of(self.truth.program.id_of(op))
        level = max(0, depth_of(spec) - REVEALED_LEVELS)
        return TreeNode(level, leaf_index(fault, self.truth.program) >> depth_of(spec) - level)

    @property
    def _last(self) -> int:
        return len(self.truth.program.ops) - 1

    def _of(self, op: int) -> PartialTensor:
        if op not in self._pieces:
            program = self.truth.program
            self._pieces[op] = PartialTensor(program.spec_of(program.id_of(op)))
        return self._pieces[op]


def leaf_index(fault: Fault, program: Program) -> int:
    """Return the index of the leaf that holds an element, among the leaves of its tensor."""
    op, row, col = fault
    spec = program.spec_of(program.id_of(op))
    return (row << log(leaves_of(spec))) + col * spec.size // LEAF


def record_size(program: Program, op: int) -> int:
    """Return the bytes of the record of an operator's tensor."""
    return RECORD_HEADER + program.spec_of(program.id_of(op)).bytes


def sound(truth: HonestTrace, input_root: Bytes32, most: int = 64) -> bool:
    """Return whether the judge agrees with our own trace, at one element of up to `most` operators.

    Whoever computes wrongly itself must not challenge others.
    """
    honest, program = truth.honest, truth.program
    claim = proofs.claim(honest)
    if claim.input_root != input_root:
        return False
    stride = max(1, len(program.ops) // most)
    chosen = {*range(0, len(program.ops), stride), len(program.ops) - 1}
    return all(judge.check(claim, sample_step(truth, op)) for op in sorted(chosen))


def sample_step(truth: HonestTrace, op: int) -> ProofStep:
    """Return the honest proof of the element in the middle of an operator's tensor."""
    spec = truth.program.spec_of(truth.program.id_of(op))
    return proofs.step(truth.constants, truth.honest, op, spec.rows // 2, spec.cols // 2)


def tensor_difference(truth: HonestTrace, op: int, record: bytes) -> tuple[Fault, int, int] | None:
    """Return where the tensor of an operator first differs, in rows and columns, got, expected."""
    program = truth.program
    try:
        tensor_id, tree = files.read_output(record)
    except InputInvalid:
        return None
    if tensor_id != program.id_of(op) or tree.spec != program.spec_of(tensor_id):
        return None
    mine = truth.honest.tree(tensor_id)
    assert isinstance(mine, TensorTree)
    differ = (tree.array != mine.array).nonzero()
    if not differ[0].size:
        return None
    row, col = int(differ[0][0]), int(differ[1][0])
    return (op, row, col), int(tree.array[row, col]), int(mine.array[row, col])
