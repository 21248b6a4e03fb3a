"""Programs: inputs and operators in topological order, their bytes and their roots.

docs/exact.md, section 3. Tensor ids: inputs are 0 … nInputs−1, operator i writes nInputs + i.
```
 header │ input specs │ operators, 9 words each: head │ params (2) │ operands (3 × spec and root)
```
"""

import functools
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.exact import rules
from oracle.exact.dtypes import Spec
from oracle.exact.errors import ProgramInvalid
from oracle.exact.ops import OPERATOR_WORDS, Kind, Op, Opcode, Operand, join, read_op
from oracle.merkle import keccak, log, tree_path, tree_root
from oracle.types import Bytes32

__all__ = ["Kind", "Op", "Opcode", "Operand", "Program", "model_root"]

FORMAT = 1
MAX_INPUTS = 8
MAX_OPERATORS = 1024


@dataclass(frozen=True)
class Program:
    """Input specs and operators; the output is the tensor of the last operator."""

    inputs: tuple[Spec, ...]
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        _check_counts(len(self.inputs), len(self.ops))

    @property
    def output(self) -> Spec:
        """Spec of the output."""
        return self.ops[-1].result

    @property
    def preamble(self) -> tuple[int, ...]:
        """Header word and input spec words."""
        header = len(self.ops) | len(self.inputs) << 16 | FORMAT << 24
        return (header, *(spec.word() for spec in self.inputs))

    def spec_of(self, tensor_id: int) -> Spec:
        """Return the spec of an input's or operator's tensor."""
        inputs = len(self.inputs)
        return self.inputs[tensor_id] if tensor_id < inputs else self.ops[tensor_id - inputs].result

    def id_of(self, op: int) -> int:
        """Return the id of the tensor that an operator writes."""
        return len(self.inputs) + op

    def constants(self) -> dict[int, tuple[int, Operand]]:
        """Return (first operator that reads it, operand) by the number of each constant."""
        found: dict[int, tuple[int, Operand]] = {}
        for op, operator in enumerate(self.ops):
            for operand in operator.operands:
                if operand.kind == Kind.CONSTANT:
                    found.setdefault(operand.index, (op, operand))
        return dict(sorted(found.items()))

    @property
    def words(self) -> tuple[int, ...]:
        """All words, as `registerProgram` takes them."""
        return self.preamble + tuple(word for op in self.ops for word in op.words())

    def encode(self) -> bytes:
        """Return the program's bytes: the words, joined."""
        return join(self.words)

    @classmethod
    def parse(cls, data: bytes) -> "Program":
        """Read a program's bytes and check every rule.

        Raises:
            ProgramInvalid: the first rule that is broken.
        """
        words = [int.from_bytes(data[at : at + 32]) for at in range(0, len(data), 32)]
        header = words[0] if words else 0
        ops, inputs = header & 0xFFFF, header >> 16 & 0xFF
        if header >> 24 != FORMAT:
            raise ProgramInvalid(None, "header", f"format {header >> 24}")
        _check_counts(inputs, ops)
        if len(data) % 32 or len(words) != 1 + inputs + OPERATOR_WORDS * ops:
            raise ProgramInvalid(None, "length", f"{len(data)} bytes")
        operators = words[1 + inputs :]
        program = cls(
            tuple(_input(i, word) for i, word in enumerate(words[1 : 1 + inputs])),
            tuple(read_op(i, operators[9 * i : 9 * i + 9]) for i in range(ops)),
        )
        program.validate()
        return program

    def validate(self) -> None:
        """Check every rule of section 3.

        Raises:
            ProgramInvalid: the first rule that is broken.
        """
        rules.check(self.inputs, self.ops)

    @functools.cached_property
    def _leaves(self) -> tuple[Bytes32, ...]:
        return tuple(op.leaf for op in self.ops)

    @property
    def graph_root(self) -> Bytes32:
        """Root over the operators."""
        return tree_root(self._leaves, log(len(self.ops)))

    @property
    def model_root(self) -> Bytes32:
        """What the registry names: graph, shapes and weights."""
        return model_root(self.preamble, self.graph_root)

    def operator_path(self, op: int) -> tuple[Bytes32, ...]:
        """Return the siblings from an operator's leaf up to the graph root."""
        return tree_path(self._leaves, log(len(self.ops)), op)


def model_root(preamble: tuple[int, ...], graph_root: bytes) -> Bytes32:
    """Return the model root of a header word with input spec words, and a graph."""
    return keccak(b"\x03" + join(preamble) + graph_root)


def _check_counts(inputs: int, ops: int) -> None:
    for what, count, most in (("inputs", inputs, MAX_INPUTS), ("operators", ops, MAX_OPERATORS)):
        if not 1 <= count <= most:
            raise ProgramInvalid(None, "header", f"{count} {what}, 1 to {most} are allowed")


def _input(index: int, word: int) -> Spec:
    try:
        if word >> 72:
            raise InputInvalid("reserved bits")
        return Spec.from_word(word)
    except InputInvalid as error:
        raise ProgramInvalid(None, f"input {index}", str(error)) from error
