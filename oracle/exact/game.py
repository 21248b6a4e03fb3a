"""What to do next in a dispute, and what to answer: decisions alone, no chain and no files.

docs/exact.md, section 7. A challenger knows the one honest trace. The first tensor that differs has
honest operands, so it looks for one differing element there and proves it:
```
 DemandTrace ──▶ DemandNode ──▶ … ──▶ Prove
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.partial_tensor import REVEALED_LEVELS, PartialTensor, TreeNode
from oracle.exact.proofs import open_node, reveal_leaves, step, tensor_proof
from oracle.exact.steps import Path, ProofStep, Slice, TensorOpening, TensorProof
from oracle.exact.tensors import TensorTree, depth_of
from oracle.types import ZERO32, Bytes32

# ── The challenger ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NoFault:
    """The delivered output is the honest one: whatever else was committed, nobody is wronged."""


@dataclass(frozen=True, slots=True)
class DemandTrace:
    """The tensor leaves are not known."""


@dataclass(frozen=True, slots=True)
class DemandNode:
    """A node of the tensor that `op` wrote is not known."""

    op: int
    node: TreeNode


@dataclass(frozen=True, slots=True)
class ProveElement:
    """Element [row, col] of `op` is not what its operands imply."""

    op: int
    row: int
    col: int


Move: TypeAlias = NoFault | DemandTrace | DemandNode | ProveElement


def first_difference(honest: Committed, leaves: Sequence[bytes], output_root: bytes) -> int | None:
    """Return the first operator whose tensor differs; None when the output does not.

    Args:
        honest: the true trace.
        leaves: tensor leaves of operators 0 … nOps−2, as posted or served.
        output_root: as delivered.
    """
    if output_root == honest.output_root:
        return None
    for op, (leaf, true) in enumerate(zip(leaves, honest.trace_leaves, strict=True)):
        if leaf != true:
            return op
    return len(leaves)


def next_move(
    honest: Committed,
    output_root: bytes,
    leaves: Sequence[bytes] | None,
    known: Mapping[int, PartialTensor],
) -> Move:
    """Return what a challenger does next.

    Args:
        honest: the true trace.
        output_root: as delivered.
        leaves: tensor leaves of operators 0 … nOps−2; None = unknown.
        known: by operator, what was shown of its tensor.
    """
    if output_root == honest.output_root:
        return NoFault()
    if leaves is None:
        return DemandTrace()
    op = first_difference(honest, leaves, output_root)
    assert op is not None
    tensor = honest.program.id_of(op)
    pieces = known.get(op) or PartialTensor(honest.program.spec_of(tensor))
    true = honest.tree(tensor)
    assert isinstance(true, TensorTree)
    match pieces.difference(true):
        case TreeNode() as node:
            return DemandNode(op, node)
        case (row, col):
            return ProveElement(op, row, col)
    raise AssertionError("a root differs, so a node does")


# ── Whoever is challenged ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CommitTraceArguments:
    """Arguments of `commitTrace`."""

    preamble: tuple[int, ...]
    graph_root: Bytes32
    leaves: Path


@dataclass(frozen=True, slots=True)
class OpenNodeArguments:
    """Arguments of `openNode`."""

    tensor: TensorProof
    nodes: Path
    path: Path


@dataclass(frozen=True, slots=True)
class RevealLeavesArguments:
    """Arguments of `revealLeaves`."""

    tensor: TensorProof
    data: bytes
    path: Path


def answer_trace(committed: Committed) -> CommitTraceArguments:
    """Answer a challenge that demands the trace."""
    program = committed.program
    return CommitTraceArguments(program.preamble, program.graph_root, committed.trace_leaves)


def answer_node(
    committed: Committed, op: int, node: TreeNode
) -> OpenNodeArguments | RevealLeavesArguments:
    """Answer `demandNode`; of a node below the leaves, show that there is none."""
    proof = tensor_proof(committed, op)
    tree = committed.tree(committed.program.id_of(op))
    left = depth_of(tree.spec) - node.level
    if left < 0:
        return OpenNodeArguments(replace(proof, result=TensorOpening(ZERO32)), (), ())
    path = tree.path(node.level, node.index)
    if left > REVEALED_LEVELS:
        return OpenNodeArguments(proof, open_node(tree, node.level, node.index), path)
    return RevealLeavesArguments(proof, reveal_leaves(tree, node.level, node.index), path)


def answer_step(
    constants: Constants, committed: Committed, op: int, row: int, col: int
) -> ProofStep:
    """Answer `demandStep`; of an element outside the tensor, show the operator alone."""
    result = committed.program.ops[op].result
    if row < result.rows and col < result.cols:
        return step(constants, committed, op, row, col)
    proof = tensor_proof(committed, op)
    return ProofStep(
        op,
        row,
        col,
        proof.preamble,
        proof.operator,
        proof.operator_path,
        input_leaves=(),
        operands=(),
        slices=(),
        result=TensorOpening(ZERO32),
        element=Slice(b"", ()),
    )
