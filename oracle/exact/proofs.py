"""Proofs: what a challenger shows of a committed trace, and what its owner shows when asked.

docs/exact.md, sections 6 and 7. Nothing here knows whether the trace is true.
"""

from collections.abc import Sequence
from typing import Any

from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import elements
from oracle.exact.elements import ElementReader, element
from oracle.exact.errors import PositionInvalid
from oracle.exact.program import Kind, Op
from oracle.exact.steps import ExactClaim, ProofStep, Slice, TensorOpening, TensorProof
from oracle.exact.tensors import LEAF, Openable
from oracle.types import ZERO32, Bytes32

OPENED_LEVELS = 6  # below a node that openNode shows


def claim(committed: Committed) -> ExactClaim:
    """Return what the chain would hold of this trace."""
    return ExactClaim(
        committed.program.model_root,
        committed.input_root,
        committed.output_root,
        committed.trace_root,
    )


def step(constants: Constants, committed: Committed, op: int, row: int, col: int) -> ProofStep:
    """Return the proof of element [row, col] of operator `op`.

    Raises:
        PositionInvalid: there is no such element.
    """
    program = committed.program
    if not 0 <= op < len(program.ops):
        raise PositionInvalid(op, row, col)
    operator = program.ops[op]
    if not (0 <= row < operator.result.rows and 0 <= col < operator.result.cols):
        raise PositionInvalid(op, row, col)
    recorder = _Recorder(operator, _trees(operator, constants, committed))
    element(operator, row, col, recorder)
    proof = tensor_proof(committed, op)
    return ProofStep(
        op,
        row,
        col,
        proof.preamble,
        proof.operator,
        proof.operator_path,
        committed.input_leaves if _reads_input(committed, operator) else (),
        tuple(_opening(committed, operator, k) for k in range(len(operator.operands))),
        tuple(recorder.slices),
        proof.result,
        leaf_slice(committed.tree(program.id_of(op)), row, col * operator.result.size // LEAF),
    )


def tensor_proof(committed: Committed, op: int) -> TensorProof:
    """Return the proof of which tensor operator `op` wrote."""
    program = committed.program
    root = committed.tree(program.id_of(op)).root
    return TensorProof(
        program.preamble,
        program.ops[op].words(),
        program.operator_path(op),
        TensorOpening(root, committed.trace_path(op)),
    )


def open_node(tree: Openable, level: int, index: int) -> tuple[Bytes32, ...]:
    """Return the nodes `min(6, levels left)` levels below a node, from left to right."""
    below = min(OPENED_LEVELS, tree.depth - level)
    first = index << below
    return tuple(tree.node(level + below, first + k) for k in range(1 << below))


def reveal_leaves(tree: Openable, level: int, index: int) -> bytes:
    """Return the logical bytes below a node."""
    return tree.below(level, index)


def row_slice(tree: Openable, row: int) -> Slice:
    """Return a row with its path."""
    return Slice(tree.row(row), tree.path(tree.row_levels, row))


def leaf_slice(tree: Openable, row: int, leaf: int) -> Slice:
    """Return a row's share of one leaf with its path."""
    index = (row << tree.depth - tree.row_levels) + leaf
    return Slice(tree.leaf(row, leaf), tree.path(tree.depth, index))


class _Recorder(ElementReader):
    """Reads committed operands and writes down what it showed."""

    def __init__(self, op: Op, trees: Sequence[Openable | None]) -> None:
        super().__init__(op)
        self.trees = trees
        self.slices: list[Slice] = []

    def row(self, operand: int, row: int) -> Sequence[int]:
        return self._show(operand, row_slice(self._tree(operand), row))

    def leaf(self, operand: int, row: int, leaf: int) -> Sequence[Any]:
        return self._show(operand, leaf_slice(self._tree(operand), row, leaf))

    def _show(self, operand: int, part: Slice) -> list[Any]:
        self.slices.append(part)
        return elements(part.data, self.op.operands[operand].spec.dtype)

    def _tree(self, operand: int) -> Openable:
        tree = self.trees[operand]
        assert tree is not None, "operators do not read absent operands"
        return tree


def _trees(op: Op, constants: Constants, committed: Committed) -> list[Openable | None]:
    trees: list[Openable | None] = []
    for operand in op.operands:
        match operand.kind:
            case Kind.NONE:
                trees.append(None)
            case Kind.ACTIVATION:
                trees.append(committed.tree(operand.index))
            case Kind.CONSTANT:
                trees.append(constants.tree(operand.index))
    return trees


def _reads_input(committed: Committed, op: Op) -> bool:
    inputs = len(committed.program.inputs)
    return any(o.kind == Kind.ACTIVATION and o.index < inputs for o in op.operands)


def _opening(committed: Committed, op: Op, k: int) -> TensorOpening:
    """Return the root of an activation with its path in the trace; constants need neither."""
    operand, inputs = op.operands[k], len(committed.program.inputs)
    if operand.kind != Kind.ACTIVATION:
        return TensorOpening(ZERO32)
    root = committed.tree(operand.index).root
    if operand.index < inputs:
        return TensorOpening(root)
    return TensorOpening(root, committed.trace_path(operand.index - inputs))
