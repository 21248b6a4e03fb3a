"""How many values within a program its dtypes clamp, operator by operator, over samples.

For a report, not for answers: whoever asks does not run the program, and to count in every pass
takes 25 % longer (a ResNet-18 of 16 channels, 8 images of 32 px; 70 % of one image).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array
from oracle.exact.program import Program
from worker.exact.kernels.executor import MAX_BATCH, Executor
from worker.exact.kernels.kernel import Requantise
from worker.exact.kernels.operators import Add


@dataclass(frozen=True, slots=True)
class ClampedLayer:
    """An operator whose results were clamped.

    `clamped` of `values` results, over all samples. Below zero of an unsigned result is a ReLU, and
    is not counted.
    """

    op: int
    opcode: str
    clamped: int
    values: int


def clamped_layers(
    program: Program, constants: Constants, inputs: Sequence[Array]
) -> tuple[ClampedLayer, ...]:
    """Run a program; return the operators whose dtype clamped a value, in order.

    Args:
        inputs: one array for each input of the program, [samples, rows, cols].
    """
    executor = Executor(program, constants)
    counts: dict[int, tuple[int, int]] = {}

    def watch(op: int, part: Requantise | Add) -> None:
        dtype = program.ops[op].result.dtype

        def before(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            whole = part.unclamped(*given)
            outside = whole > dtype.maximum
            if dtype.minimum < 0:
                outside |= whole < dtype.minimum
            clamped, values = counts.get(op, (0, 0))
            counts[op] = (clamped + int(outside.sum()), values + outside.numel())

        part.register_forward_pre_hook(before)

    for op, kernel in enumerate(executor.kernels):
        for part in kernel.modules():
            if isinstance(part, Requantise | Add):
                watch(op, part)
    with torch.inference_mode():
        for start in range(0, len(inputs[0]), MAX_BATCH):
            executor.run([array[start : start + MAX_BATCH] for array in inputs])
    return tuple(
        ClampedLayer(op, program.ops[op].opcode.name, clamped, values)
        for op, (clamped, values) in sorted(counts.items())
        if clamped
    )
