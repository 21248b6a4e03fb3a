"""A small exact program, its honest trace and three lies about it: what dispute tests play with.

```
 x i8 64×8 ──DOT── op 0: i8 64×100 (one leaf a row, depth 6) ──LUT── op 1 ──SUM── op 2: i32 8×8
```
Knows nothing of any chain.
"""

import functools
from dataclasses import dataclass

import numpy as np

from oracle.exact.builder import ProgramBuilder
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.program import Program
from oracle.exact.reference import evaluate, execute

I8, I32, CHANNEL = DType.I8, DType.I32, DType.CHANNEL
ROWS, COLS, WIDTH = 64, 8, 100
FAULT = (0, 37, 51)  # op, row, col of the first wrong element of `lie_inside`
SINGLE_FAULT = (0, 1, 290)


@dataclass(frozen=True)
class Example:
    """A program with an input, what is true, and what is not."""

    program: Program
    constants: Constants
    honest: Committed
    lie_inside: Committed  # one element of operator 0 is wrong, the rest follows from it
    lie_at_the_end: Committed  # the trace is true, the output is not
    lie_in_the_trace: Committed  # the output is true, the trace is not


@functools.cache
def example() -> Example:
    """Build the program and run it."""
    rng = np.random.default_rng(7)
    b = ProgramBuilder()
    x = b.input(Spec(I8, ROWS, COLS))
    weights = b.constant(rng.integers(-128, 128, (WIDTH, COLS)).astype(np.int8), I8)
    hidden = b.dot(x, weights, b.constant(channels([[0]], [[3]], [[9]]), CHANNEL), dtype=I8)
    relu = np.maximum(np.arange(-128, 128), 0).astype(np.int8).reshape(1, 256)
    b.sum(b.lut(hidden, b.constant(relu, I8)), cols=8)
    program, constants = b.build()
    inputs = (rng.integers(-128, 128, (ROWS, COLS)).astype(np.int8),)
    true = execute(program, constants, inputs).tensors

    def changed(tensor: int, row: int, col: int, follow: bool) -> Committed:
        tensors = [array.copy() for array in true]
        tensors[tensor][row, col] = 127 if true[tensor][row, col] != 127 else 126
        if follow:
            for op in range(tensor, len(program.ops)):
                tensors[op + 1] = evaluate(program.ops[op], constants, tensors)
        return Committed(program, tensors)

    return Example(
        program,
        constants,
        honest=Committed(program, true),
        lie_inside=changed(1, FAULT[1], FAULT[2], follow=True),
        lie_at_the_end=changed(3, 4, 5, follow=False),
        lie_in_the_trace=changed(1, FAULT[1], FAULT[2], follow=False),
    )


@functools.cache
def single() -> tuple[Program, Constants, Committed, Committed]:
    """Build a program of one operator, which needs no trace; return the truth and a lie.

    Its tensors are 3 × 300 bytes: of 4 × 4 leaves one row and one leaf of each row are absent.
    """
    b = ProgramBuilder()
    rows, cols = 3, 300
    b.view(b.input(Spec(I8, rows, cols)), rows, cols, sizes=(rows, cols), strides=(cols, 1))
    program, constants = b.build()
    x = np.random.default_rng(8).integers(-128, 127, (rows, cols)).astype(np.int8)
    true = execute(program, constants, (x,)).tensors
    wrong = true[1].copy()
    wrong[1, 290] += 1
    return program, constants, Committed(program, true), Committed(program, (x, wrong))
