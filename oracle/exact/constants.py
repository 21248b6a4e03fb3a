"""Constants: the weights and tables of a program, held against the roots it names.

The file is a canonical tensor file with one flat tensor for each dtype, `i8` … `node`. A tensor
holds all constants of its dtype in the order of their numbers, row by row. Records are their 16
stored bytes, as `u8`. Specs and roots are the program's, so nothing in the file has to be believed.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from oracle.exact.dtypes import (
    MAX_BIAS,
    MAX_MULT,
    MAX_SHIFT,
    MIN_SHIFT,
    Array,
    DType,
    Spec,
    as_dtype,
)
from oracle.exact.errors import ConstantMismatch, ProgramInvalid
from oracle.exact.program import Kind, Program
from oracle.exact.tensors import TensorTree
from oracle.protocol import tensor


class Constants:
    """The constants of a program by number, as trees."""

    def __init__(self, trees: Mapping[int, TensorTree]) -> None:
        self._trees = dict(sorted(trees.items()))

    def __getitem__(self, number: int) -> Array:
        """Return the elements of a constant."""
        return self._trees[number].array

    def __iter__(self) -> Iterator[int]:
        return iter(self._trees)

    def tree(self, number: int) -> TensorTree:
        """Return a constant with its hashes."""
        return self._trees[number]


def check(program: Program, constants: Constants) -> None:
    """Hold constants against the program that names them.

    Raises:
        ConstantMismatch: one is missing, or does not have its root.
        ProgramInvalid: a channel is outside the canonical ranges (part "channel").
    """
    for index, op in enumerate(program.ops):
        for operand in op.operands:
            if operand.kind != Kind.CONSTANT:
                continue
            if operand.index not in constants:
                raise ConstantMismatch(f"constant {operand.index} is missing")
            tree = constants.tree(operand.index)
            if tree.spec != operand.spec or tree.root != operand.root:
                raise ConstantMismatch(
                    f"constant {operand.index} has root 0x{tree.root.hex()}, operator {index} "
                    f"names 0x{operand.root.hex()}",
                    hint="the file belongs to another program, or is damaged",
                )
            if operand.spec.dtype == DType.CHANNEL and not _canonical(tree):
                raise ProgramInvalid(index, "channel", f"constant {operand.index}")


def save(program: Program, constants: Constants) -> bytes:
    """Return the constants file.

    Raises:
        ConstantMismatch, ProgramInvalid: see `check`.
    """
    check(program, constants)
    flat: dict[str, list[Array]] = {}
    for number in program.constants():
        tree = constants.tree(number)
        stored = tree.stored if tree.spec.dtype.record else tree.array
        flat.setdefault(tree.spec.dtype.name.lower(), []).append(stored.ravel())
    if not flat:
        flat["u8"] = [np.empty(0, np.uint8)]  # a tensor file is never empty
    return tensor.encode({name: np.concatenate(parts) for name, parts in flat.items()})


def load(data: bytes, program: Program) -> Constants:
    """Read a constants file.

    Raises:
        InputInvalid: not a canonical tensor file.
        ConstantMismatch, ProgramInvalid: see `check`.
    """
    flat = tensor.decode(data, max_bytes=len(data))
    used = dict.fromkeys(flat, 0)
    trees = {}
    for number, (_, operand) in program.constants().items():
        spec, name = operand.spec, operand.spec.dtype.name.lower()
        at = used.get(name, 0)
        count = spec.bytes if spec.dtype.record else spec.rows * spec.cols
        part = flat.get(name, np.empty(0, np.uint8))[at : at + count]
        if part.size != count:
            raise ConstantMismatch(f"constant {number} is cut short: {part.size} of {count}")
        used[name] = at + count
        trees[number] = _tree(part, spec)
    if any(flat[name].size != end for name, end in used.items()):
        raise ConstantMismatch("the file holds more constants than the program")
    constants = Constants(trees)
    check(program, constants)
    return constants


def _tree(part: Array, spec: Spec) -> TensorTree:
    """Return the tree over one constant's part of the file.

    Raises:
        InputInvalid: the file holds elements of another dtype.
    """
    if spec.dtype.record:
        return TensorTree(spec, as_dtype(part.reshape(spec.rows, spec.row_bytes), DType.U8))
    return TensorTree.of(part.reshape(spec.rows, spec.cols), spec.dtype)


def _canonical(tree: TensorTree) -> bool:
    """Whether all channels are inside the ranges to which reading clamps."""
    c, stored = tree.array, tree.stored.reshape(-1, 16)
    small = (abs(c["mult"].astype(np.int64)) <= MAX_MULT) & (c["bias"] >= -MAX_BIAS)
    small &= (c["bias"] <= MAX_BIAS) & (c["shift"] >= MIN_SHIFT) & (c["shift"] <= MAX_SHIFT)
    return bool(small.all()) and not stored[:, 13:].any()
