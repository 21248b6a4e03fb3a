"""The judge: computes one element again from a step alone, as StepVerifier.sol does, part for part.

docs/exact.md, section 6. Parts that `ProofInvalid` names, in the order of checking: `preamble`,
`operator` (words, path or model root), `operands` (their number), `inputs`, `operand k`, `slices`
(too few or too many), `slice k` (length, path or root), `result`, `element`.
"""

from collections.abc import Sequence
from typing import Any

from oracle.exact.commitments import join_inputs, trace_depth
from oracle.exact.dtypes import Spec, elements
from oracle.exact.elements import ElementReader, element, stored
from oracle.exact.errors import PositionInvalid, ProofInvalid
from oracle.exact.ops import Kind, Op, Operand, operator_leaf, read_op
from oracle.exact.program import model_root
from oracle.exact.steps import ExactClaim, ProofStep, Slice, TensorOpening
from oracle.exact.tensors import LEAF, leaf_hash, leaves_of, row_hash, tensor_leaf
from oracle.merkle import climb, log
from oracle.types import ZERO32


def check(claim: ExactClaim, step: ProofStep) -> bool:
    """Return whether the committed element is the one its operands imply.

    Raises:
        ProofInvalid: a part does not fit the claim, the program or its own shape.
        PositionInvalid: the program has no such element.
    """
    expected = compute(claim, step)
    return expected == _committed(claim, step)


def compute(claim: ExactClaim, step: ProofStep) -> int:
    """Return the stored form of the element that the operands imply; the result is not looked at.

    Raises:
        ProofInvalid, PositionInvalid: see `check`.
    """
    op = _bind_program(claim, step)
    opener = _Opener(op, _bind_operands(claim, step, op), step.slices)
    value = element(op, step.row, step.col, opener)
    require(opener.read == len(step.slices), "slices")
    return stored(value, op.result.dtype)


def require(holds: bool, part: str) -> None:
    """Refuse a step for one of its parts.

    Raises:
        ProofInvalid: it does not hold.
    """
    if not holds:
        raise ProofInvalid(part)


# ── Binding to the claim ──────────────────────────────────────────────────────────────────────────


def _bind_program(claim: ExactClaim, step: ProofStep) -> Op:
    """Return the operator, once the model root vouches for its words and it has the element."""
    require(len(step.preamble) > 0, "preamble")
    inputs, ops = _counts(step)
    require(len(step.preamble) == 1 + inputs, "preamble")
    if step.op >= ops:
        raise PositionInvalid(step.op, step.row, step.col)
    require(len(step.operator_path) == log(ops), "operator")
    graph_root = climb(operator_leaf(step.operator), step.op, step.operator_path)
    require(model_root(step.preamble, graph_root) == claim.model_root, "operator")
    op = read_op(step.op, step.operator)
    if step.row >= op.result.rows or step.col >= op.result.cols:
        raise PositionInvalid(step.op, step.row, step.col)
    return op


def _counts(step: ProofStep) -> tuple[int, int]:
    """Return the numbers of inputs and operators that the header states."""
    return step.preamble[0] >> 16 & 0xFF, step.preamble[0] & 0xFFFF


def _bind_operands(claim: ExactClaim, step: ProofStep, op: Op) -> list[bytes]:
    """Return the root of each operand, held against request, trace or program."""
    inputs, _ = _counts(step)
    require(len(step.operands) == len(op.operands), "operands")
    if any(o.kind == Kind.ACTIVATION and o.index < inputs for o in op.operands):
        require(len(step.input_leaves) == inputs, "inputs")
        require(join_inputs(step.input_leaves) == claim.input_root, "inputs")
    else:
        require(len(step.input_leaves) == 0, "inputs")
    return [
        _bind_operand(claim, step, operand, step.operands[k], part=f"operand {k}")
        for k, operand in enumerate(op.operands)
    ]


def _bind_operand(
    claim: ExactClaim, step: ProofStep, operand: Operand, opening: TensorOpening, *, part: str
) -> bytes:
    inputs, _ = _counts(step)
    if operand.kind == Kind.ACTIVATION and operand.index >= inputs:
        _in_trace(claim, step, operand.index - inputs, operand.spec, opening, part=part)
        return opening.root
    require(len(opening.path) == 0, part)
    if operand.kind == Kind.ACTIVATION:
        leaf = tensor_leaf(operand.index, operand.spec, opening.root)
        require(step.input_leaves[operand.index] == leaf, part)
        return opening.root
    require(operand.kind == Kind.CONSTANT or opening.root == ZERO32, part)
    return operand.root


def _in_trace(
    claim: ExactClaim, step: ProofStep, op: int, spec: Spec, opening: TensorOpening, *, part: str
) -> None:
    """Hold the tensor that `op` wrote against the trace, which has all but the last."""
    inputs, ops = _counts(step)
    require(len(opening.path) == trace_depth(ops), part)
    leaf = tensor_leaf(inputs + op, spec, opening.root)
    require(climb(leaf, op, opening.path) == claim.trace_root, part)


def _committed(claim: ExactClaim, step: ProofStep) -> int:
    """Return the committed element in stored form, held against trace or delivery."""
    (inputs, ops), spec = _counts(step), read_op(step.op, step.operator).result
    if step.op == ops - 1:
        require(len(step.result.path) == 0, "result")
        leaf = tensor_leaf(inputs + step.op, spec, step.result.root)
        require(leaf == claim.output_root, "result")
    else:
        _in_trace(claim, step, step.op, spec, step.result, part="result")
    at = step.col * spec.size
    _open_leaf(step.element, spec, step.result.root, step.row, at // LEAF, name="element")
    return int.from_bytes(step.element.data[at % LEAF : at % LEAF + spec.size])


# ── Opening slices ────────────────────────────────────────────────────────────────────────────────


class _Opener(ElementReader):
    """Opens a step's slices one after the other under the operands' roots."""

    def __init__(self, op: Op, roots: Sequence[bytes], slices: Sequence[Slice]) -> None:
        super().__init__(op)
        self.roots = roots
        self.slices = slices
        self.read = 0

    def row(self, operand: int, row: int) -> Sequence[int]:
        spec, part, name = self._next(operand)
        require(len(part.data) == spec.row_bytes and len(part.path) == log(spec.rows), name)
        require(climb(row_hash(part.data), row, part.path) == self.roots[operand], name)
        return elements(part.data, spec.dtype)

    def leaf(self, operand: int, row: int, leaf: int) -> Sequence[Any]:
        spec, part, name = self._next(operand)
        _open_leaf(part, spec, self.roots[operand], row, leaf, name=name)
        return elements(part.data, spec.dtype)

    def _next(self, operand: int) -> tuple[Spec, Slice, str]:
        k = self.read
        require(k < len(self.slices), "slices")
        self.read += 1
        return self.op.operands[operand].spec, self.slices[k], f"slice {k}"


def _open_leaf(part: Slice, spec: Spec, root: bytes, row: int, leaf: int, *, name: str) -> None:
    """Hold a row's share of a leaf against the root of its tensor."""
    beside = log(leaves_of(spec))
    require(len(part.data) == min(LEAF, spec.row_bytes - leaf * LEAF), name)
    require(len(part.path) == log(spec.rows) + beside, name)
    require(climb(leaf_hash(part.data), (row << beside) + leaf, part.path) == root, name)
