"""One wrong byte in every operator of every layer of every supported model, judged by the contract.

`python -m tests.exact_evm.models [FAULTS]`: trains and compiles the examples (digits: softmax
regression, MLP, CNN, residual CNN; trees of each library; MiniLM), spoils FAULTS (3) elements of
each operator's tensor in turn, and asks StepVerifier. Prints a line for each model; the exit status
is 1 unless every fault is convicted and every honest element is consistent.
"""

import dataclasses
import sys
from collections.abc import Iterator

import numpy as np

from examples.exact import digits, minilm, models, trees
from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.dtypes import Spec
from oracle.exact.quantisation import quantise
from oracle.exact.reference import execute
from oracle.exact.tensors import TensorTree
from tests.exact.cases import Rng
from tests.exact_evm.evm import Verifier
from worker.exact.compiler import Compiled
from worker.exact.graph import Sample

FAULTS = 3


@dataclasses.dataclass
class Count:
    """What the contract said of one model."""

    operators: int = 0
    convicted: int = 0
    missed: int = 0
    honest: int = 0
    framed: int = 0


def judge(verifier: Verifier, compiled: Compiled, sample: Sample, rng: Rng, faults: int) -> Count:
    """Spoil each operator's tensor in turn: its last element, and random ones."""
    program, constants = compiled.program, compiled.constants
    trace = execute(program, constants, quantise(compiled.inputs, sample))
    honest = Committed(program, trace.tensors)
    trees_ = {index: honest.tree(index) for index in range(len(trace.tensors))}
    count = Count(operators=len(program.ops))
    for op in range(len(program.ops)):
        tensor_id = program.id_of(op)
        for row, col in _places(program.spec_of(tensor_id), rng, faults):
            step = proofs.step(constants, honest, op, row, col)
            if verifier.check(proofs.claim(honest), step):
                count.honest += 1
            else:
                count.framed += 1
            tree = trees_[tensor_id]
            stored = tree.stored.copy()
            byte = col * tree.spec.size + int(rng.integers(tree.spec.size))
            stored[row, byte] ^= int(rng.integers(1, 256))
            spoiled = trees_ | {tensor_id: TensorTree(tree.spec, stored)}
            false = Committed(program, trace.tensors, spoiled)
            step = dataclasses.replace(
                proofs.step(constants, false, op, row, col), slices=step.slices
            )
            if verifier.check(proofs.claim(false), step):
                count.missed += 1
            else:
                count.convicted += 1
    return count


def _places(spec: Spec, rng: Rng, faults: int) -> Iterator[tuple[int, int]]:
    yield spec.rows - 1, spec.cols - 1
    for _ in range(faults - 1):
        yield int(rng.integers(spec.rows)), int(rng.integers(spec.cols))


def supported() -> Iterator[tuple[str, Compiled, Sample]]:
    """Yield every model that is supported end to end, with one input."""
    for name in models.RECIPES:
        _, test = models.digits(*models.RECIPES[name].shape)
        yield name, digits.build(name)[0], test.samples()[0]
    for data in trees.SETS:
        for library in trees.LIBRARIES:
            fitted = trees.build(library, data)
            yield f"{library}, {data}", fitted.compiled, {"features": fitted.rows[0]}
    yield "all-MiniLM-L6-v2", minilm.compile_minilm(), minilm.held_out()[0]


def main(faults: int = FAULTS) -> int:
    """Judge all; return the exit status."""
    verifier, bad = Verifier(), 0
    print(f"{'model':28} operators  faults  convicted  honest  convicted")
    for name, compiled, sample in supported():
        count = judge(verifier, compiled, sample, np.random.default_rng(1), faults)
        bad += count.missed + count.framed
        print(
            f"{name:28} {count.operators:9} {count.convicted + count.missed:7} "
            f"{count.convicted:10} {count.honest + count.framed:7} {count.framed:10}",
            flush=True,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
