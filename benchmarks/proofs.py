"""Gas of convicting one wrong element, for each operator, and of registering a program, on Anvil.

Programs have 150 operators, as an encoder of six layers has, so paths in graph and trace are real.
The calldata floor (EIP-7623: 10 gas a token, 4 tokens a byte that is not zero) and execution are
both shown: a transaction pays the greater. `prove` is the second of two transactions when data are
served; it ends with the conviction and its payments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proof_market import ProofMarket
from oracle.chain.anvil import Anvil
from oracle.exact import proofs
from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, Spec
from oracle.exact.program import Program
from oracle.exact.reference import execute
from oracle.exact.tensors import TensorTree

I8, U8, I16, U16, I32, CHANNEL, NODE = DType
OPERATORS = 150
GOALS = {"DOT i8 1536 → 384, 128 rows": 250_000, "DOT i16 by i8, 1536 → 384": 400_000}


@dataclass(frozen=True)
class Lie:
    """A program and a trace in which one byte of one operator's tensor is wrong."""

    program: Program
    constants: Constants
    committed: Committed
    op: int
    row: int
    col: int


class Sketch(ProgramBuilder):
    """A builder with random values; `around` puts an operator amid 150."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.values: list[Array] = []

    def numbers(self, dtype: DType, rows: int, cols: int) -> Array:
        values = self.rng.integers(dtype.minimum, dtype.maximum + 1, (rows, cols))
        return values.astype(dtype.numpy)

    def given(self, dtype: DType, rows: int, cols: int) -> Ref:
        """Declare an operand that is in the trace."""
        self.values.append(self.numbers(dtype, rows, cols))
        return self._copy(self.input(Spec(dtype, rows, cols)))

    def table(self, dtype: DType, rows: int, cols: int) -> Ref:
        return self.constant(self.numbers(dtype, rows, cols), dtype)

    def channels(self, cols: int) -> Ref:
        row = np.empty((1, cols), CHANNEL.numpy)
        row["bias"] = self.rng.integers(-(2**40), 2**40, cols)
        row["mult"] = self.rng.integers(2**13, 2**14, cols)
        row["shift"] = 30
        return self.constant(row, CHANNEL)

    def trees(self, count: int) -> Ref:
        """Declare a chain of nodes: every walk is as deep as it may be."""
        nodes = np.zeros((1, count), NODE.numpy)
        nodes["left"] = nodes["right"] = np.arange(1, count + 1)
        nodes["threshold"] = self.rng.integers(0, 2**16, count)
        return self.constant(nodes, NODE)

    def fill(self, count: int) -> None:
        """Add operators that do little."""
        first = self._copy(self.input(Spec(I8, 1, 1)))
        self.values.append(np.zeros((1, 1), np.int8))
        for _ in range(count - 1):
            first = self._copy(first)

    def _copy(self, x: Ref) -> Ref:
        rows, cols = x.spec.rows, x.spec.cols
        return self.view(x, rows, cols, sizes=(rows, cols), strides=(cols, 1))


CASES: Mapping[str, Callable[[Sketch], Ref]] = {
    "DOT i8 384 → 384, 128 rows": lambda s: _linear(s, I8, I8, 384, 384, 128),
    "DOT i8 1536 → 384, 128 rows": lambda s: _linear(s, I8, I8, 1536, 384, 128),
    "DOT i8 3072 → 768, 512 rows": lambda s: _linear(s, I8, I8, 3072, 768, 512),
    "DOT i16 by i8, 384 → 384": lambda s: _linear(s, I16, I8, 384, 384, 128),
    "DOT i16 by i8, 1536 → 384": lambda s: _linear(s, I16, I8, 1536, 384, 128),
    "DOT, 3×3 of 64 channels": lambda s: _linear(s, I8, I8, 576, 64, 1024),
    "ADD i16": lambda s: s.add(
        s.given(I16, 128, 384), s.given(I16, 128, 384), s.channels(2), dtype=I16
    ),
    "LUT i8": lambda s: s.lut(s.given(I8, 128, 384), s.table(I8, 1, 256)),
    "LAYERNORM i16 384": lambda s: s.layernorm(
        s.given(I16, 128, 384), s.channels(384), eps=2**30, dtype=I8
    ),
    "LAYERNORM i16 1024": lambda s: s.layernorm(
        s.given(I16, 16, 1024), s.channels(1024), eps=2**30, dtype=I8
    ),
    "SOFTMAX i16 128, masked": lambda s: _softmax(s, 128),
    "SOFTMAX i16 512, masked": lambda s: _softmax(s, 512),
    "MEAN i16 128, masked": lambda s: s.mean(
        s.given(I16, 384, 128), s.channels(384), mask=s.given(U8, 1, 128), dtype=I16, cols=384
    ),
    "MAX i8 4": lambda s: s.max(s.given(I8, 4096, 4), cols=64),
    "SUM i32 100": lambda s: s.sum(s.given(I32, 10, 100), cols=10),
    "ARGMAX i32 10": lambda s: s.argmax(s.given(I32, 1, 10)),
    "GATHER of 4,096 × 384": lambda s: s.gather(s.given(U16, 1, 128), s.table(I8, 4096, 384)),
    "VIEW": lambda s: s.view(
        s.given(I8, 128, 384), 12 * 128, 32, sizes=(12, 128, 32), strides=(32, 384, 1)
    ),
    "PAD": lambda s: s.pad(s.given(I8, 1024, 64), 32, 32, top=1, left=1, bottom=1, right=1),
    "CONCAT": lambda s: s.concat(s.given(I8, 128, 64), s.given(I8, 128, 64)),
    "TREE of depth 8": lambda s: s.tree(s.given(U16, 1, 30), s.trees(12_800), trees=100, depth=8),
    "RESCALE i16": lambda s: s.rescale(s.given(I16, 128, 384), s.channels(1), dtype=I8),
}


def _linear(s: Sketch, a: DType, b: DType, columns: int, units: int, rows: int) -> Ref:
    return s.dot(s.given(a, rows, columns), s.table(b, units, columns), s.channels(units), dtype=a)


def _softmax(s: Sketch, columns: int) -> Ref:
    x, mask = s.given(I16, 16, columns), s.given(U8, 1, columns)
    return s.softmax(x, s.table(U16, 1, 256), mask=mask, shift=4, dtype=U8)


def lie(sketch: Callable[[Sketch], Ref]) -> Lie:
    """Return a program around an operator, and a trace with one wrong byte in its tensor."""
    s = Sketch()
    s.fill(OPERATORS // 2)
    wrong = sketch(s)
    s.fill(OPERATORS - wrong.number - 1)
    program, constants = s.build(canonical=False)
    tensors = execute(program, constants, s.values).tensors
    tensor_id = program.id_of(wrong.number)
    tree = TensorTree.of(tensors[tensor_id], wrong.spec.dtype)
    stored = tree.stored.copy()
    row, col = wrong.spec.rows // 2, wrong.spec.cols // 2
    stored[row, col * wrong.spec.size] ^= 1
    committed = Committed(program, tensors, {tensor_id: TensorTree(tree.spec, stored)})
    return Lie(program, constants, committed, wrong.number, row, col)


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per operator."""
    result: dict[str, Any] = {}
    with Anvil() as anvil:
        market = ProofMarket(anvil)
        for name, sketch in CASES.items():
            fault = lie(sketch)
            step = proofs.step(fault.constants, fault.committed, fault.op, fault.row, fault.col)
            used = market.convict(fault.program, fault.committed, step)
            prove = used["prove"]
            result[name] = {**used, "goal": GOALS.get(name)}
            goal = f"   goal ≤ {GOALS[name]:,}" if name in GOALS else ""
            report(
                f"{name:28} prove {prove:>9,} ({used['prove bytes']:>6,} bytes, floor "
                f"{used['prove floor']:>8,})   verifier {used['verifier']:>8,}{goal}"
            )
        report(f"{'registerProgram, 150':28} {result[next(iter(CASES))]['register']:>15,}")
        report(f"{'challenge':28} {used['challenge']:>15,}")
    return result


if __name__ == "__main__":
    run(print, Path("build/bench"))
