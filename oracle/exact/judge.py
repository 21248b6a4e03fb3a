"""The judge: computes one element again from a step alone, as StepVerifier.sol does.

docs/exact.md, section 6. Parts that `ProofInvalid` names, in the order in which they are checked:
`preamble`, `operator` (words, path or model root), `operands` (their number), `inputs`,
`operand k`, `slices` (too few or too many), `slice k` (length, path or root), `result`, `element`.
"""

from collections.abc import Sequence
from typing import Any

from oracle.exact.commitments import join_inputs, trace_depth
from oracle.exact.dtypes import Spec, elements
from oracle.exact.elements import Reader, element, stored
from oracle.exact.errors import PositionInvalid, ProgramInvalid, ProofInvalid
from oracle.exact.ops import Kind, Op, read_op
from oracle.exact.program import model_root
from oracle.exact.steps import ExactClaim, Slice, Step
from oracle.exact.tensors import (
    LEAF,
    climb,
    leaf_hash,
    leaves_of,
    log,
    row_hash,
    tensor_leaf,
)


def check(claim: ExactClaim, step: Step) -> bool:
    """Return whether the committed element is the one its operands imply.

    Raises:
        ProofInvalid: a part does not fit the claim, the program or its own shape.
        PositionInvalid: the program has no such element.
    """
    expected = compute(claim, step)
    return expected == _committed(claim, step)


def compute(claim: ExactClaim, step: Step) -> int:
    """Return the stored form of the element that the operands imply; the result is not looked at.

    Raises:
        ProofInvalid, PositionInvalid: see `check`.
    """
    op = _operator(claim, step)
    roots = _operand_roots(claim, step, op)
    opener = _Opener(op, roots, step.slices)
    value = element(op, step.row, step.col, opener)
    require(opener.next == len(step.slices), "slices")
    return stored(value, op.result.dtype)


def require(holds: bool, part: str) -> None:
    """Refuse a step for one of its parts.

    Raises:
        ProofInvalid: it does not hold.
    """
    if not holds:
        raise ProofInvalid(part)


def _operator(claim: ExactClaim, step: Step) -> Op:
    """Return the operator that the model root vouches for, the position being inside its result."""
    inputs, ops = _counts(step)
    require(len(step.preamble) == 1 + inputs, "preamble")
    if not 0 <= step.op < ops:
        raise PositionInvalid(step.op, step.row, step.col)
    require(len(step.operator) == 9 and len(step.operator_path) == log(ops), "operator")
    try:
        op = read_op(step.op, step.operator)
    except ProgramInvalid as error:
        raise ProofInvalid("operator") from error
    graph_root = climb(op.leaf, step.op, step.operator_path)
    require(model_root(step.preamble, graph_root) == claim.model_root, "operator")
    if not (0 <= step.row < op.result.rows and 0 <= step.col < op.result.cols):
        raise PositionInvalid(step.op, step.row, step.col)
    return op


def _counts(step: Step) -> tuple[int, int]:
    """Return the numbers of inputs and operators that the header states."""
    require(len(step.preamble) > 0, "preamble")
    return step.preamble[0] >> 16 & 0xFF, step.preamble[0] & 0xFFFF


def _operand_roots(claim: ExactClaim, step: Step, op: Op) -> list[bytes]:
    """Return the root of each operand, held against program, request or trace."""
    inputs, ops = _counts(step)
    require(len(step.operands) == len(op.operands), "operands")
    reads_input = any(o.kind == Kind.ACTIVATION and o.index < inputs for o in op.operands)
    require(len(step.input_leaves) == (inputs if reads_input else 0), "inputs")
    require(not reads_input or join_inputs(step.input_leaves) == claim.input_root, "inputs")
    roots: list[bytes] = []
    for k, (operand, opening) in enumerate(zip(op.operands, step.operands, strict=True)):
        if operand.kind != Kind.ACTIVATION:
            require(len(opening.path) == 0, f"operand {k}")
            roots.append(operand.root)
            continue
        leaf = tensor_leaf(operand.index, operand.spec, opening.root)
        if operand.index < inputs:
            fits = len(opening.path) == 0 and step.input_leaves[operand.index] == leaf
        else:
            fits = len(opening.path) == trace_depth(ops)
            fits = fits and climb(leaf, operand.index - inputs, opening.path) == claim.trace_root
        require(fits, f"operand {k}")
        roots.append(opening.root)
    return roots


class _Opener(Reader):
    """Opens a step's slices one after the other under the operands' roots."""

    def __init__(self, op: Op, roots: Sequence[bytes], slices: Sequence[Slice]) -> None:
        super().__init__(op)
        self.roots = roots
        self.slices = slices
        self.next = 0

    def row(self, operand: int, row: int) -> Sequence[int]:
        spec = self.op.operands[operand].spec
        part, name = self._take()
        fits = len(part.data) == spec.row_bytes and len(part.path) == log(spec.rows)
        require(fits and climb(row_hash(part.data), row, part.path) == self.roots[operand], name)
        return elements(part.data, spec.dtype)

    def leaf(self, operand: int, row: int, leaf: int) -> Sequence[Any]:
        spec = self.op.operands[operand].spec
        part, name = self._take()
        require(leaf_root(part, spec, row, leaf) == self.roots[operand], name)
        return elements(part.data, spec.dtype)

    def _take(self) -> tuple[Slice, str]:
        require(self.next < len(self.slices), "slices")
        self.next += 1
        return self.slices[self.next - 1], f"slice {self.next - 1}"


def leaf_root(part: Slice, spec: Spec, row: int, leaf: int) -> bytes | None:
    """Return the root above a row's share of a leaf; None when its lengths are not the spec's."""
    beside = log(leaves_of(spec))
    size = min(LEAF, spec.row_bytes - leaf * LEAF)
    if len(part.data) != size or len(part.path) != log(spec.rows) + beside:
        return None
    return climb(leaf_hash(part.data), (row << beside) + leaf, part.path)


def _committed(claim: ExactClaim, step: Step) -> int:
    """Return the committed element in stored form, held against trace or delivery."""
    (inputs, ops), op = _counts(step), read_op(step.op, step.operator)
    spec, last = op.result, step.op == ops - 1
    leaf = tensor_leaf(inputs + step.op, spec, step.result.root)
    require(len(step.result.path) == (0 if last else trace_depth(ops)), "result")
    root = climb(leaf, step.op, step.result.path)
    require(root == (claim.output_root if last else claim.trace_root), "result")
    at = step.col * spec.size
    found = leaf_root(step.element, spec, step.row, at // LEAF)
    require(found == step.result.root, "element")
    return int.from_bytes(step.element.data[at % LEAF : at % LEAF + spec.size])
