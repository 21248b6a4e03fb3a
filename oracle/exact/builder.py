"""A builder that numbers tensors and constants, so that compilers speak of values alone.

One method for each operator infers the result's shape; `build` resolves the numbers and checks all
rules. Channels and tables are constants: `b.constant(dtypes.channels(bias, mult, shift), CHANNEL)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.exact import constants as constants_
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, Spec
from oracle.exact.ops import ABSENT
from oracle.exact.program import Kind, Op, Opcode, Operand, Program
from oracle.exact.tensors import TensorTree


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of a program under construction."""

    place: str  # "input", "op" or "constant"
    number: int
    spec: Spec


class ProgramBuilder:
    """Collects inputs, constants and operators; the last operator is the output."""

    def __init__(self) -> None:
        self._inputs: list[Spec] = []
        self._ops: list[tuple[Opcode, Spec, tuple[Ref | None, ...], tuple[int, ...]]] = []
        self._trees: list[TensorTree] = []
        self._numbers: dict[tuple[Spec, bytes], int] = {}

    def input(self, spec: Spec) -> Ref:
        """Declare the next input."""
        self._inputs.append(spec)
        return Ref("input", len(self._inputs) - 1, spec)

    def constant(self, array: Array | TensorTree, dtype: DType) -> Ref:
        """Add a constant; equal ones share a number.

        Raises:
            InputInvalid: not a matrix, or an element outside the dtype's range.
        """
        tree = array if isinstance(array, TensorTree) else TensorTree.of(array, dtype)
        number = self._numbers.setdefault((tree.spec, tree.root), len(self._trees))
        if number == len(self._trees):
            self._trees.append(tree)
        return Ref("constant", number, tree.spec)

    @property
    def count(self) -> int:
        """How many operators there are so far."""
        return len(self._ops)

    def is_newest(self, ref: Ref) -> bool:
        """Whether a value is what the last operator so far writes."""
        return ref.place == "op" and ref.number == len(self._ops) - 1

    def build(self, *, canonical: bool = True) -> tuple[Program, Constants]:
        """Return the program and its constants.

        Args:
            canonical: refuse channels outside the canonical ranges; loaders always do.

        Raises:
            ProgramInvalid: a rule is broken.
        """
        ops = tuple(
            Op(opcode, result, tuple(self._operand(ref) for ref in refs), _lanes(params))
            for opcode, result, refs, params in self._ops
        )
        program = Program(tuple(self._inputs), ops)
        program.validate()
        constants = Constants(dict(enumerate(self._trees)))
        if canonical:
            constants_.check(program, constants)
        return program, constants

    # ── Operators, in the order of their codes ────────────────────────────────────────────────────

    def dot(self, a: Ref, b: Ref, c: Ref, *, dtype: DType, group: int | None = None) -> Ref:
        """1: products of rows of a with rows of b; `group` rows of a share a block of rows of b."""
        group = a.spec.rows if group is None else group
        columns = b.spec.rows // max(1, a.spec.rows // max(1, group))
        return self._op(Opcode.DOT, Spec(dtype, a.spec.rows, columns), a, b, c, params=[group])

    def add(self, a: Ref, b: Ref, c: Ref, *, dtype: DType) -> Ref:
        """2: a and b, each scaled by its channel of c."""
        return self._op(Opcode.ADD, _like(a, dtype), a, b, c)

    def lut(self, x: Ref, table: Ref) -> Ref:
        """3: a table's entries, by the stored form of x."""
        return self._op(Opcode.LUT, _like(x, table.spec.dtype), x, table)

    def layernorm(self, x: Ref, c: Ref, *, eps: int, dtype: DType) -> Ref:
        """4: rows with mean 0 and deviation 1, requantised; eps in units of n² x²."""
        params = [eps & 0xFFFFFFFF, eps >> 32]
        return self._op(Opcode.LAYERNORM, _like(x, dtype), x, c, params=params)

    def softmax(
        self, x: Ref, exp: Ref, *, dtype: DType, mask: Ref | None = None, shift: int = 0
    ) -> Ref:
        """5: probabilities of each row; exp[d] stands for e^(−d·2^shift·scale of x)."""
        return self._op(Opcode.SOFTMAX, _like(x, dtype), x, mask, exp, params=[shift])

    def mean(self, x: Ref, c: Ref, *, dtype: DType, mask: Ref | None = None, cols: int = 1) -> Ref:
        """6: means of rows (in 2⁻¹⁶), requantised, laid out in rows of `cols`."""
        return self._op(Opcode.MEAN, _folded(x, dtype, cols), x, mask, c)

    def max(self, x: Ref, *, cols: int = 1) -> Ref:
        """7: greatest elements of rows, laid out in rows of `cols`."""
        return self._op(Opcode.MAX, _folded(x, x.spec.dtype, cols), x)

    def sum(self, x: Ref, *, cols: int = 1) -> Ref:
        """8: sums of rows."""
        return self._op(Opcode.SUM, _folded(x, DType.I32, cols), x)

    def argmax(self, x: Ref, *, cols: int = 1) -> Ref:
        """9: places of the greatest elements of rows."""
        return self._op(Opcode.ARGMAX, _folded(x, DType.I32, cols), x)

    def gather(self, ids: Ref, table: Ref) -> Ref:
        """10: rows of a table, by ids."""
        spec = Spec(table.spec.dtype, ids.spec.cols, table.spec.cols)
        return self._op(Opcode.GATHER, spec, ids, table)

    def view(
        self, x: Ref, rows: int, cols: int, *, sizes: Sequence[int], strides: Sequence[int],
        base: int = 0,
    ) -> Ref:  # fmt: skip
        """11: torch.as_strided with at most five sizes, laid out in rows of `cols`."""
        front = 5 - len(sizes)
        params = [*[1] * front, *sizes, *[0] * front, *strides, base]
        return self._op(Opcode.VIEW, Spec(x.spec.dtype, rows, cols), x, params=params)

    def pad(
        self, x: Ref, height: int, width: int, *, top: int = 0, left: int = 0, bottom: int = 0,
        right: int = 0, value: int = 0,
    ) -> Ref:  # fmt: skip
        """12: an image of height · width rows with a border of `value` (the number itself)."""
        rows = (height + top + bottom) * (width + left + right)
        params = [height, width, top, left, bottom, right, value - x.spec.dtype.minimum]
        return self._op(Opcode.PAD, Spec(x.spec.dtype, rows, x.spec.cols), x, params=params)

    def concat(self, *parts: Ref) -> Ref:
        """13: columns of two or three tensors side by side."""
        columns = sum(part.spec.cols for part in parts)
        spec = Spec(parts[0].spec.dtype, parts[0].spec.rows, columns)
        return self._op(Opcode.CONCAT, spec, *parts)

    def tree(self, features: Ref, nodes: Ref, *, trees: int, depth: int) -> Ref:
        """14: the value of each tree's leaf for each row of ranks."""
        spec = Spec(DType.I32, features.spec.rows, trees)
        return self._op(Opcode.TREE, spec, features, nodes, params=[depth])

    def rescale(self, x: Ref, c: Ref, *, dtype: DType) -> Ref:
        """15: elements requantised by column."""
        return self._op(Opcode.RESCALE, _like(x, dtype), x, c)

    def _op(
        self, opcode: Opcode, result: Spec, *refs: Ref | None, params: Sequence[int] = ()
    ) -> Ref:
        self._ops.append((opcode, result, refs, tuple(params)))
        return Ref("op", len(self._ops) - 1, result)

    def _operand(self, ref: Ref | None) -> Operand:
        if ref is None:
            return ABSENT
        if ref.place == "constant":
            root = self._trees[ref.number].root
            return Operand(Kind.CONSTANT, ref.number, ref.spec, root)
        first = len(self._inputs) if ref.place == "op" else 0
        return Operand(Kind.ACTIVATION, first + ref.number, ref.spec)


def _like(x: Ref, dtype: DType) -> Spec:
    return Spec(dtype, x.spec.rows, x.spec.cols)


def _folded(x: Ref, dtype: DType, cols: int) -> Spec:
    return Spec(dtype, x.spec.rows // cols, cols)


def _lanes(params: Sequence[int]) -> tuple[int, ...]:
    return (*params, *[0] * (16 - len(params)))
