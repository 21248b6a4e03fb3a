"""Networks for images that people bring: every export compiles, as accurate, and is judged."""

import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from examples.exact import reach, vision
from oracle.exact.quantisation import quantise
from tests.worker.exact.agreement import require_identical, require_judged
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_module, from_program
from worker.exact.graph import Graph, Sample
from worker.exact.kernels.executor import Executor

pytestmark = pytest.mark.filterwarnings(  # of the exporters
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning",
    "ignore::torch.jit.TracerWarning",
)  # fmt: skip
CALIBRATION = 32
EXPORTS = ("the module", "its archive, decomposed", "its ONNX file")


def read(module: torch.nn.Module, export: str, sample: Sample) -> Graph:
    """Return the graph of one export."""
    given = (torch.from_numpy(sample["input"]),)
    if export == "the module":
        return from_module(module, sample)
    if export == "its archive, decomposed":
        return from_program(torch.export.export(module, given).run_decompositions(), sample)
    file = io.BytesIO()
    torch.onnx.export(module, given, file, dynamo=False, input_names=["input"], opset_version=17)
    return from_onnx(onnx.ModelProto.FromString(file.getvalue()), sample)


def answers(program: Compiled, samples: list[Any]) -> Any:
    """Return the answers to all samples, by the fast executor."""
    rows = zip(*(quantise(program.inputs, sample) for sample in samples), strict=True)
    outputs = Executor(program.program, program.constants).run([np.stack(row) for row in rows])
    return np.concatenate([program.outputs[0].dequantise(output) for output in outputs])


@pytest.mark.parametrize("name", vision.SMALL)
def test_compile__network_for_images__is_as_accurate_in_every_export_and_judged(name: str) -> None:
    recipe = vision.SMALL[name]
    data = recipe.data()
    held, test = data.rows(test=False), data.rows(test=True)
    model, samples = reach.train(recipe, held), held.samples(CALIBRATION)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(test.inputs)).numpy()
    assert reach.right(wanted, test.labels) > 0.8  # it has learnt

    programs = [compile_graph(read(model, export, samples[0]), samples) for export in EXPORTS]

    for program in programs:
        exact = answers(program, test.samples())
        cosine = (exact * wanted).sum() / np.linalg.norm(exact) / np.linalg.norm(wanted)
        assert cosine > 0.99
        assert abs(reach.right(exact, test.labels) - reach.right(wanted, test.labels)) <= 0.01
    require_identical(programs[0], samples[0])
    require_judged(programs[0], samples[0])
