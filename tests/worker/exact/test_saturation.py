"""Values that dtypes clamp within a program are counted, and stand where a trace shows them."""

import numpy as np
import torch
from torch import nn

from oracle.exact.quantisation import quantise
from oracle.services.model_files import compiling
from worker.exact.compiler import compile_graph
from worker.exact.frontends.torch import from_module
from worker.exact.kernels.executor import Executor
from worker.exact.kernels.saturation import clamped_layers
from worker.exact.report import measure_graph


class Skip(nn.Module):
    """A product, a ReLU, and a sum: requantised in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(x))
        return hidden + self.second(hidden)


def test_clamped_layers__inputs_beyond_calibration__are_counted_where_they_clamp() -> None:
    torch.manual_seed(0)
    dice = np.random.default_rng(0)
    rows = [{"x": one} for one in dice.uniform(-1, 1, (80, 1, 6)).astype(np.float32)]
    graph = from_module(Skip().eval(), rows[0])
    narrow = [{"x": one["x"] * 0.5} for one in rows]
    corner = {"x": np.full((1, 6), 0.5, np.float32)}  # so that no input itself is clamped
    compiled = compile_graph(graph, [*({"x": one["x"] * 0.1} for one in rows), corner])
    inputs = [
        np.stack(arrays)
        for arrays in zip(*(quantise(compiled.inputs, s) for s in narrow), strict=True)
    ]

    found = clamped_layers(compiled.program, compiled.constants, inputs)

    assert found
    executor = Executor(compiled.program, compiled.constants)
    ends = dict[int, int]()
    for sample in range(len(narrow)):
        trace = executor.trace([array[sample] for array in inputs])
        for op, operator in enumerate(compiled.program.ops):
            kind, values = operator.result.dtype, trace.tensors[len(inputs) + op].astype(np.int64)
            low = (values == kind.minimum) & (kind.minimum < 0)
            ends[op] = ends.get(op, 0) + int(((values == kind.maximum) | low).sum())
    for one in found:
        assert 0 < one.clamped <= ends[one.op]  # what is clamped lies at an end
        assert one.values == 80 * np.prod(
            [compiled.program.ops[one.op].result.rows, compiled.program.ops[one.op].result.cols]
        )
    report = measure_graph(compiled, graph, narrow)
    assert report.clamped == found
    table = compiling.most_clamped(report.to_json())
    assert len(table) == len(found)
    assert table[0][0].split()[1] in ("DOT", "ADD")


def test_clamped_layers__what_calibration_saw__clamps_next_to_nothing() -> None:
    torch.manual_seed(0)
    dice = np.random.default_rng(0)
    rows = [{"x": one} for one in dice.uniform(-1, 1, (80, 1, 6)).astype(np.float32)]
    compiled = compile_graph(from_module(Skip().eval(), rows[0]), rows)
    inputs = [
        np.stack(arrays)
        for arrays in zip(*(quantise(compiled.inputs, s) for s in rows), strict=True)
    ]
    found = clamped_layers(compiled.program, compiled.constants, inputs)
    assert all(one.clamped < 0.02 * one.values for one in found)
