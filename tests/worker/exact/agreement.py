"""What the tests of compiled models ask of each: one answer everywhere, close to the original's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from oracle.exact.quantisation import quantise
from oracle.exact.reference import execute
from tests.exact_evm.evm import Verifier
from tests.exact_evm.models import judge
from worker.exact.compiler import Compiled
from worker.exact.graph import Graph, Sample
from worker.exact.kernels.executor import Executor
from worker.exact.report import Accuracy, measure_graph


def require_identical(compiled: Compiled, sample: Sample) -> None:
    """Every tensor is the same integers in NumPy and in torch, with and without `_int_mm`."""
    given = quantise(compiled.inputs, sample)
    expected = execute(compiled.program, compiled.constants, given)
    for int_mm in (False, True):
        trace = Executor(compiled.program, compiled.constants, int_mm=int_mm).trace(given)
        for ours, wanted in zip(trace.tensors, expected.tensors, strict=True):
            np.testing.assert_array_equal(ours, wanted)


def require_judged(compiled: Compiled, sample: Sample, faults: int = 1) -> None:
    """The contract convicts a wrong byte in every operator, and no honest element."""
    count = judge(Verifier(), compiled, sample, np.random.default_rng(7), faults)
    assert (count.missed, count.framed) == (0, 0)
    assert count.convicted == faults * count.operators > 0


def accuracy(
    compiled: Compiled, graph: Graph, samples: Sequence[Sample], labels: Any = None
) -> Accuracy:
    """Return what the integers keep of the original's answers."""
    return measure_graph(compiled, graph, samples, labels).accuracy
