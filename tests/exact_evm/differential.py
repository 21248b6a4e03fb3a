"""A random case of an operator in NumPy and in the contract: honest, and with a wrong element."""

import dataclasses

import numpy as np

from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import Opcode
from oracle.exact.tensors import TensorTree
from tests.exact.cases import Case, Rng, random_case
from tests.exact_evm.evm import Verifier


def disagreement(verifier: Verifier, opcode: Opcode, rng: Rng, *, small: bool = True) -> str:
    """Judge a random element of a random case; return what the two say differently, or nothing."""
    case = drawn(opcode, rng, small=small)
    committed = case.committed()
    op, row, col = case.position(rng)
    step = proofs.step(case.constants, committed, op, row, col)
    if not verifier.check(proofs.claim(committed), step):
        return f"{opcode.name}: the contract convicts {op}, {row}, {col} of an honest trace"
    false = with_fault(committed, case.program.id_of(op), row, col, rng)
    false_step = dataclasses.replace(
        proofs.step(case.constants, false, op, row, col), slices=step.slices
    )
    if verifier.check(proofs.claim(false), false_step):
        return f"{opcode.name}: the contract takes a wrong element at {op}, {row}, {col}"
    return ""


def drawn(opcode: Opcode, rng: Rng, *, small: bool = True) -> Case:
    """Draw a case; a large one again while its last tensor is above what an output may be."""
    while True:
        try:
            return random_case(opcode, rng, small=small)
        except ProgramInvalid as error:
            if small or error.part != "output":
                raise


def with_fault(committed: Committed, tensor_id: int, row: int, col: int, rng: Rng) -> Committed:
    """Return the same trace with one wrong byte in one element of one tensor."""
    tree = committed.tree(tensor_id)
    stored = tree.stored.copy()
    size = tree.spec.size
    stored[row, col * size + int(rng.integers(size))] ^= int(rng.integers(1, 256))
    return Committed(
        committed.program, committed.tensors, {tensor_id: TensorTree(tree.spec, stored)}
    )


def generator(*seed: int) -> Rng:
    """Return a random generator that depends on all of these."""
    return np.random.default_rng(list(seed))


__all__ = ["Case", "disagreement", "generator", "with_fault"]
