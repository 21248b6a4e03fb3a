"""A malicious challenger: bends honest steps in every way it knows, and takes what it gets.

Whatever it brings against an honest trace, the contract may refuse it or find it consistent; a
conviction would be a fault of the contract.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace

from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.ops import OPERATOR_WORDS
from oracle.exact.program import Opcode
from oracle.exact.steps import ExactClaim, ProofStep, Slice, TensorOpening
from oracle.exact.tensors import TensorTree
from tests.exact.attacks import bent
from tests.exact.cases import Rng, random_case
from tests.exact_evm.evm import Verifier
from tests.support.evm import Reverted

VERDICTS = ("consistent", "refused", "convicted")


def attacked(verifier: Verifier, rng: Rng, checks: int) -> Counter[str]:
    """Bring so many steps against honest traces; return how often each verdict was given."""
    endless = itertools.chain.from_iterable(attacks(rng) for _ in itertools.count())
    return Counter(verdict(verifier, *attack) for attack in itertools.islice(endless, checks))


def attacks(rng: Rng) -> Iterator[tuple[ExactClaim, ProofStep]]:
    """Yield steps against one honest trace, the honest one first."""
    case = random_case(Opcode(int(rng.integers(1, len(Opcode) + 1))), rng)
    constants, committed = case.constants, case.committed()
    claim = proofs.claim(committed)
    step = proofs.step(constants, committed, *case.position(rng))
    yield claim, step
    for other in itertools.chain(
        _bent(step, rng),
        _grafted(step, constants, committed, rng),
        _climbed(step, constants, committed),
    ):
        if other != step and _expressible(other):
            yield claim, other


def verdict(verifier: Verifier, claim: ExactClaim, step: ProofStep) -> str:
    """Return what the contract says of a step."""
    try:
        return "consistent" if verifier.check(claim, step) else "convicted"
    except Reverted as error:
        if error.name not in ("ProofInvalid", "PositionInvalid", "Panic"):
            raise
        return "refused"


def _expressible(step: ProofStep) -> bool:
    """Whether the ABI has words for a step at all."""
    typed = all(isinstance(part, Slice) for part in step.slices)
    typed &= all(isinstance(opening, TensorOpening) for opening in step.operands)
    typed &= all(isinstance(word, int) and 0 <= word < 2**256 for word in step.preamble)
    return typed and len(step.operator) == OPERATOR_WORDS


def _bent(step: ProofStep, rng: Rng) -> Iterator[ProofStep]:
    """Yield the step with each of its parts altered, and some altered twice."""
    for _, other in bent(step, rng):
        yield other
        if rng.random() < 0.1:
            yield from (twice for _, twice in itertools.islice(bent(other, rng), 5))


def _grafted(
    step: ProofStep, constants: Constants, committed: Committed, rng: Rng
) -> Iterator[ProofStep]:
    """Yield the step with each of its parts taken from another, honest step of the same trace."""
    program = committed.program
    for _ in range(3):
        op = int(rng.integers(len(program.ops)))
        result = program.ops[op].result
        position = int(rng.integers(result.rows)), int(rng.integers(result.cols))
        other = proofs.step(constants, committed, op, *position)
        for field in fields(step):
            yield replace(step, **{field.name: getattr(other, field.name)})
            yield replace(other, **{field.name: getattr(step, field.name)})
        yield replace(step, result=other.result, element=other.element)
        yield replace(step, operands=other.operands, slices=other.slices)
        yield replace(step, slices=(*other.slices, *step.slices)[: len(step.slices)])


def _climbed(step: ProofStep, constants: Constants, committed: Committed) -> Iterator[ProofStep]:
    """Yield steps that open one tree as if it were another one above, below or beside it."""
    for k, opening in enumerate(step.operands):
        trace = TensorOpening(committed.trace_root)
        for part in step.slices:  # the trace's root as the tensor's, and a path through the trace
            longer = replace(part, path=(*part.path, *opening.path))
            yield replace(
                step,
                operands=(*step.operands[:k], trace, *step.operands[k + 1 :]),
                slices=(longer,) * len(step.slices),
            )
    trees = [committed.tree(i) for i in range(len(committed.tensors))]
    for tree in [*trees, *(constants.tree(number) for number in constants)]:
        if tree.depth:
            yield from _nodes_as_leaves(step, tree)


def _nodes_as_leaves(step: ProofStep, tree: TensorTree) -> Iterator[ProofStep]:
    """Yield steps that show two nodes where a leaf's bytes belong."""
    data = tree.node(tree.depth, 0) + tree.node(tree.depth, 1)
    part = Slice(data, tree.path(tree.depth - 1, 0))
    yield replace(step, slices=(part,) * len(step.slices))
    yield replace(step, element=part)
    yield replace(step, element=Slice(data.ljust(128, b"\0"), part.path))
