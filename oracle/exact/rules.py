"""Which programs are valid: the rules that registration checks on chain, with the same names.

docs/exact.md, section 3 and the shapes of section 4. Parts, in the order of checking: `reserved`,
`opcode`, `result`, `operands`, `operand k`, `params`, `shape`, `row`, `bounds`, `output`. What a
word means is checked where it is read (ops.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oracle.exact.dtypes import NUMBERS, DType, Spec
from oracle.exact.errors import ProgramInvalid
from oracle.exact.ops import LANES, Kind, Op, Opcode, Operand
from oracle.exact.tensors import depth_of
from oracle.types import ZERO32

MAX_ROW_BYTES = 8192  # of a row that an operator reads whole
MAX_OUTPUT_BYTES = 65536
MAX_OUTPUT_DEPTH = 10  # of its tree: at most 1,024 leaves are hashed when it is demanded
MAX_ACCUMULATOR = 2**37
MAX_NORMALISED = 4096  # columns of LAYERNORM
I8, U8, I16, U16, I32, CHANNEL, NODE = DType
DTypes = frozenset[DType]


@dataclass(frozen=True)
class Slot:
    """What may stand in one operand's place; `whole`: the operator reads its rows whole."""

    dtypes: DTypes
    constant: bool = False
    optional: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Rule:
    """What an operator demands of its words."""

    slots: tuple[Slot, ...]
    result: DTypes
    shape: Callable[[Op], bool]
    lanes: int = 0  # parameters in use
    params: Callable[[Op], bool] = lambda _: True
    least: int = 3  # operands, at the least (and one for each slot at the most)


def check(inputs: Sequence[Spec], ops: Sequence[Op]) -> None:
    """Check a program against every rule.

    Raises:
        ProgramInvalid: the first one that is broken.
    """
    for index, spec in enumerate(inputs):
        if spec.dtype not in NUMBERS or not spec.valid:
            raise ProgramInvalid(None, f"input {index}", str(spec))
    specs = list(inputs)  # by tensor id, of the tensors that an operator may read
    for index, op in enumerate(ops):
        part = broken(specs, op)
        if not part and index == len(ops) - 1 and not _postable(op.result):
            part = "output"
        if part:
            raise ProgramInvalid(index, part, op.opcode.name)
        specs.append(op.result)


def broken(specs: Sequence[Spec], op: Op) -> str:  # noqa: PLR0911 -- one for each rule
    """Return the part of an operator that breaks a rule, or nothing.

    Args:
        specs: of the tensors before the operator's own, by id.
        op: the operator.
    """
    rule = RULES[op.opcode]
    if op.result.dtype not in rule.result or not op.result.valid:
        return "result"
    if not min(rule.least, len(rule.slots)) <= len(op.operands) <= len(rule.slots):
        return "operands"
    for k, (slot, operand) in enumerate(zip(rule.slots, op.operands, strict=False)):
        if not _fits(specs, slot, operand):
            return f"operand {k}"
    if len(op.params) > LANES or any(op.params[rule.lanes :]) or not rule.params(op):
        return "params"
    if not rule.shape(op):
        return "shape"
    read = [o for s, o in zip(rule.slots, op.operands, strict=False) if s.whole]
    if any(operand.spec.row_bytes > MAX_ROW_BYTES for operand in read):
        return "row"
    return "bounds" if op.opcode == Opcode.DOT and not _bounded(*op.operands) else ""


def _fits(specs: Sequence[Spec], slot: Slot, operand: Operand) -> bool:
    """Whether an operand is of a kind and dtype that the slot takes, and exists."""
    spec = operand.spec
    match operand.kind:
        case Kind.NONE:
            return slot.optional
        case Kind.CONSTANT:
            exists = operand.root != ZERO32
        case Kind.ACTIVATION:
            exists = operand.index < len(specs) and spec == specs[operand.index]
            exists = exists and operand.root == ZERO32 and not slot.constant
    return exists and spec.valid and spec.dtype in slot.dtypes


def _postable(output: Spec) -> bool:
    """Whether an output, when it is demanded, can be hashed in one transaction."""
    return output.bytes <= MAX_OUTPUT_BYTES and depth_of(output) <= MAX_OUTPUT_DEPTH


def magnitude(dtype: DType) -> int:
    """Return max|value| of a number dtype."""
    return max(-dtype.minimum, dtype.maximum)


def _bounded(a: Operand, b: Operand, _: Operand) -> bool:
    worst = magnitude(a.spec.dtype) * magnitude(b.spec.dtype)
    return a.spec.cols * worst < MAX_ACCUMULATOR


# ── Shapes, in the order of the codes ─────────────────────────────────────────────────────────────


def _one_row_of(spec: Spec, *cols: int) -> bool:
    """Whether a table or channels have one row of one of these lengths."""
    return spec.rows == 1 and spec.cols in cols


def _dot(op: Op) -> bool:
    y, (a, b, c) = op.result, (operand.spec for operand in op.operands)
    blocks = y.rows // op.lane(0)
    fits = a.cols == b.cols and a.rows == y.rows and b.rows == blocks * y.cols
    return fits and y.rows % op.lane(0) == 0 and _one_row_of(c, 1, b.rows)


def _add(op: Op) -> bool:
    y, (a, b, c) = op.result, (operand.spec for operand in op.operands)
    fits = _same_shape(a, y) and b.cols == y.cols and b.rows in (1, y.rows)
    return fits and _one_row_of(c, 2)


def _lut(op: Op) -> bool:
    y, (x, table) = op.result, (operand.spec for operand in op.operands)
    return (
        _same_shape(x, y) and _one_row_of(table, 1 << 8 * x.dtype.size) and table.dtype == y.dtype
    )


def _layernorm(op: Op) -> bool:
    y, (x, c) = op.result, (operand.spec for operand in op.operands)
    return _same_shape(x, y) and x.cols <= MAX_NORMALISED and _one_row_of(c, x.cols)


def _softmax(op: Op) -> bool:
    y, (x, mask, exp) = op.result, op.operands
    masked = mask.kind == Kind.NONE or (mask.spec.rows in (1, y.rows) and mask.spec.cols == y.cols)
    return _same_shape(x.spec, y) and masked and exp.spec.rows == 1


def _mean(op: Op) -> bool:
    x, mask, c = op.operands
    masked = mask.kind == Kind.NONE or _one_row_of(mask.spec, x.spec.cols)
    return _reduced(op) and masked and _one_row_of(c.spec, 1, op.result.cols)


def _reduced(op: Op) -> bool:
    return op.operands[0].spec.rows == op.result.rows * op.result.cols


def _max(op: Op) -> bool:
    return _reduced(op) and op.operands[0].spec.dtype == op.result.dtype


def _gather(op: Op) -> bool:
    y, (ids, table) = op.result, (operand.spec for operand in op.operands)
    return _one_row_of(ids, y.rows) and table.cols == y.cols and table.dtype == y.dtype


def _view(op: Op) -> bool:
    y, x = op.result, op.operands[0].spec
    sizes, strides = op.params[:5], op.params[5:10]
    last = op.lane(10) + sum((e - 1) * s for e, s in zip(sizes, strides, strict=True))
    fits = math.prod(sizes) == y.rows * y.cols and last < x.rows * x.cols
    return fits and x.dtype == y.dtype


def _pad(op: Op) -> bool:
    y, x = op.result, op.operands[0].spec
    height, width, top, left, bottom, right = op.params[:6]
    fits = x.rows == height * width
    fits = fits and y.rows == (height + top + bottom) * (width + left + right)
    return fits and x.cols == y.cols and x.dtype == y.dtype


def _concat(op: Op) -> bool:
    parts = [operand.spec for operand in op.operands]
    alike = all((p.dtype, p.rows) == (op.result.dtype, op.result.rows) for p in parts)
    return alike and sum(p.cols for p in parts) == op.result.cols


def _tree(op: Op) -> bool:
    y, (features, nodes) = op.result, (operand.spec for operand in op.operands)
    return features.rows == y.rows and nodes.rows == 1 and y.cols <= nodes.cols


def _rescale(op: Op) -> bool:
    x, c = op.operands
    return _same_shape(x.spec, op.result) and _one_row_of(c.spec, 1, op.result.cols)


def _same_shape(x: Spec, y: Spec) -> bool:
    return (x.rows, x.cols) == (y.rows, y.cols)


def _full(op: Op, lanes: int) -> bool:
    """Whether all lanes that an operator needs are written out."""
    return len(op.params) >= lanes


SHORT = frozenset({I8, U8, I16, U16})
C = Slot(frozenset({CHANNEL}), constant=True)
SHORT_ROW, NUMBER_ROW = Slot(SHORT, whole=True), Slot(NUMBERS, whole=True)
MASK = Slot(frozenset({U8}), optional=True, whole=True)
TERM = Slot(frozenset({I8, I16, I32}))
NUMBER, TABLE = Slot(NUMBERS), Slot(NUMBERS, constant=True)
EXP = Slot(frozenset({U16}), constant=True, whole=True)

RULES = {
    Opcode.DOT: Rule((SHORT_ROW, SHORT_ROW, C), NUMBERS, _dot, 1, lambda op: op.lane(0) >= 1),
    Opcode.ADD: Rule((TERM, TERM, C), frozenset({I8, U8, I16, I32}), _add),
    Opcode.LUT: Rule((Slot(SHORT), TABLE), NUMBERS, _lut),
    Opcode.LAYERNORM: Rule(
        (Slot(frozenset({I8, I16}), whole=True), C),
        frozenset({I8, I16}),
        _layernorm,
        2,
        lambda op: op.lane(0) + (op.lane(1) << 32) < 2**52,
    ),
    Opcode.SOFTMAX: Rule(
        (Slot(frozenset({I8, I16}), whole=True), MASK, EXP),
        frozenset({U8, U16}),
        _softmax,
        1,
        lambda op: op.lane(0) <= 15,
    ),
    Opcode.MEAN: Rule((SHORT_ROW, MASK, C), frozenset({I8, U8, I16, I32}), _mean),
    Opcode.MAX: Rule((NUMBER_ROW,), NUMBERS, _max),
    Opcode.SUM: Rule((NUMBER_ROW,), frozenset({I32}), _reduced),
    Opcode.ARGMAX: Rule((NUMBER_ROW,), frozenset({I32}), _reduced),
    Opcode.GATHER: Rule((Slot(frozenset({U16})), TABLE), NUMBERS, _gather),
    Opcode.VIEW: Rule(
        (NUMBER,), NUMBERS, _view, 11, lambda op: _full(op, 11) and min(op.params[:5]) >= 1
    ),
    Opcode.PAD: Rule(
        (NUMBER,),
        NUMBERS,
        _pad,
        7,
        lambda op: _full(op, 7) and op.lane(6) < 1 << 8 * op.result.size,
    ),
    Opcode.CONCAT: Rule((NUMBER,) * 3, NUMBERS, _concat, least=2),
    Opcode.TREE: Rule(
        (Slot(frozenset({U16}), whole=True), Slot(frozenset({NODE}), constant=True)),
        frozenset({I32}),
        _tree,
        1,
        lambda op: op.lane(0) <= 64,
    ),
    Opcode.RESCALE: Rule((Slot(SHORT), C), NUMBERS, _rescale),
}
