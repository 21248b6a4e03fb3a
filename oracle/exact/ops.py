"""Operators as nine words: what each is, what it reads, and its parameters.

docs/exact.md, section 3.
```
 0 head      result spec (0–71) │ opcode (72–79) │ number of operands (80–87)
 1–2 params  16 lanes of u32
 3–8         three operands: spec (0–71) │ kind (72–79) │ index (80–95);  root
```
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.errors import InputInvalid
from oracle.exact.dtypes import DType, Spec
from oracle.exact.errors import ProgramInvalid
from oracle.merkle import keccak
from oracle.types import ZERO32, Bytes32

LANES = 16
OPERATOR_WORDS = 9


class Opcode(IntEnum):
    """Operators, docs/exact.md, section 4."""

    DOT = 1
    ADD = 2
    LUT = 3
    LAYERNORM = 4
    SOFTMAX = 5
    MEAN = 6
    MAX = 7
    SUM = 8
    ARGMAX = 9
    GATHER = 10
    VIEW = 11
    PAD = 12
    CONCAT = 13
    TREE = 14
    RESCALE = 15


class Kind(IntEnum):
    """Where an operand comes from."""

    NONE = 0
    ACTIVATION = 1
    CONSTANT = 2


@dataclass(frozen=True, slots=True)
class Operand:
    """What an operator reads: a tensor id, or a constant's number with its root."""

    kind: Kind
    index: int
    spec: Spec
    root: Bytes32 = ZERO32  # of a constant

    def words(self) -> tuple[int, int]:
        """Return the two words of the operand."""
        if self.kind == Kind.NONE:
            return 0, 0
        head = self.spec.word() | self.kind << 72 | self.index << 80
        return head, int.from_bytes(self.root)

    @classmethod
    def from_words(cls, head: int, root: int) -> "Operand":
        """Read two words.

        Raises:
            InputInvalid: a reserved bit, kind or dtype without meaning.
        """
        if head == 0 and root == 0:
            return ABSENT
        kind = head >> 72 & 0xFF
        if head >> 96 or kind not in (Kind.ACTIVATION, Kind.CONSTANT):
            raise InputInvalid(f"operand word {head:#x} has no meaning")
        return cls(
            Kind(kind), head >> 80 & 0xFFFF, Spec.from_word(head), Bytes32(root.to_bytes(32))
        )


ABSENT = Operand(Kind.NONE, 0, Spec(DType.I8, 0, 0))


@dataclass(frozen=True, slots=True)
class Op:
    """One operator: its result's spec, what it reads, and its parameters (lanes of u32)."""

    opcode: Opcode
    result: Spec
    operands: tuple[Operand, ...]
    params: tuple[int, ...] = ()  # 16 lanes; those left out are 0

    def lane(self, k: int) -> int:
        """Return one parameter."""
        return self.params[k] if k < len(self.params) else 0

    def words(self) -> tuple[int, ...]:
        """Return the nine words."""
        head = self.result.word() | self.opcode << 72 | len(self.operands) << 80
        params = [0, 0]
        for k, value in enumerate(self.params):
            params[k // 8] |= value << 32 * (k % 8)
        operands = [word for operand in self.operands for word in operand.words()]
        return (head, *params, *operands, *[0] * (6 - len(operands)))

    @property
    def leaf(self) -> Bytes32:
        """The operator's leaf under the graph root."""
        return operator_leaf(self.words())


def operator_leaf(words: Sequence[int]) -> Bytes32:
    """Return the leaf of an operator's words under the graph root."""
    return keccak(b"\x04" + join(words))


def read_op(index: int, words: Sequence[int]) -> Op:
    """Read the nine words of operator `index`.

    Raises:
        ProgramInvalid: they have no meaning.
    """
    head, params = words[0], words[1] | words[2] << 256
    code, count = head >> 72 & 0xFF, head >> 80 & 0xFF
    if head >> 88:
        raise ProgramInvalid(index, "reserved")
    if code not in set(Opcode):
        raise ProgramInvalid(index, "opcode", str(code))
    try:
        result = Spec.from_word(head)
    except InputInvalid as error:
        raise ProgramInvalid(index, "result", str(error)) from error
    if count > 3 or any(words[3 + 2 * count :]):
        raise ProgramInvalid(index, "operands", f"{count} of them")
    operands = []
    for k in range(count):
        try:
            operands.append(Operand.from_words(words[3 + 2 * k], words[4 + 2 * k]))
        except InputInvalid as error:
            raise ProgramInvalid(index, f"operand {k}", str(error)) from error
    lanes = tuple(params >> 32 * k & 0xFFFFFFFF for k in range(LANES))
    return Op(Opcode(code), result, tuple(operands), lanes)


def join(words: Iterable[int]) -> bytes:
    """Return 32-byte words, joined."""
    return b"".join(word.to_bytes(32) for word in words)
