"""The reference executor: a program's one trace, operator by operator, in NumPy.

Bit for bit what any other executor must give; read it with docs/exact.md, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, as_dtype
from oracle.exact.operators import OPERATORS
from oracle.exact.program import Kind, Op, Program


@dataclass(frozen=True)
class ExecutionTrace:
    """All tensors of one execution by id: inputs, then one of each operator."""

    program: Program
    tensors: tuple[Array, ...]

    @property
    def output(self) -> Array:
        """The answer."""
        return self.tensors[-1]


def execute(program: Program, constants: Constants, inputs: Sequence[Array]) -> ExecutionTrace:
    """Run a valid program.

    Args:
        program: what to run.
        constants: of this program.
        inputs: matrices in the order, shape and range of `program.inputs`.

    Raises:
        InputInvalid: more, fewer or other inputs than the program's.
    """
    tensors = list(check_inputs(program, inputs))
    for op in program.ops:
        tensors.append(evaluate(op, constants, tensors))
    return ExecutionTrace(program, tuple(tensors))


def evaluate(op: Op, constants: Constants, tensors: Sequence[Array]) -> Array:
    """Return an operator's tensor, given those before it by id."""
    operands: list[Array | None] = []
    for operand in op.operands:
        match operand.kind:
            case Kind.NONE:
                operands.append(None)
            case Kind.ACTIVATION:
                operands.append(tensors[operand.index])
            case Kind.CONSTANT:
                operands.append(constants[operand.index])
    result = OPERATORS[op.opcode](op, *operands)
    assert result.shape == (op.result.rows, op.result.cols), "validity fixes the shape"
    return result.astype(op.result.dtype.numpy)


def check_inputs(program: Program, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Return the inputs in their dtypes.

    Raises:
        InputInvalid: see `execute`.
    """
    if len(inputs) != len(program.inputs):
        raise InputInvalid(f"{len(inputs)} inputs, the program has {len(program.inputs)}")
    for index, (array, spec) in enumerate(zip(inputs, program.inputs, strict=True)):
        if array.shape != (spec.rows, spec.cols):
            raise InputInvalid(
                f"input {index} is {array.shape}, not ({spec.rows}, {spec.cols})",
                hint="a version has one shape; other shapes are other versions",
            )
    return tuple(as_dtype(x, spec.dtype) for x, spec in zip(inputs, program.inputs, strict=True))
