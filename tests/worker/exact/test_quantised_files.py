"""Files that onnxruntime's `quantize_static` wrote (QDQ): their own steps, zeros and weights."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor, nn

from examples.exact import models
from oracle.exact.ops import Opcode
from tests.worker.exact.agreement import require_identical, require_judged
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.graph import Sample
from worker.exact.original import ReadingWrong
from worker.exact.report import measure_graph

pytestmark = pytest.mark.filterwarnings(  # of the exporter
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning",
    "ignore::torch.jit.TracerWarning",
)  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "by default": {},
    "unsigned, weights by channel": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "symmetric": {"extra_options": {"ActivationSymmetric": True}},
}
SAMPLES = 64


class Network(nn.Module):
    """Convolution, skip, pool, concatenation, a function and a product, trained on digits."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.third = nn.MaxPool2d(2), nn.Conv2d(16, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(128, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 1, 8, 8]."""
        x = torch.relu(self.first(image))
        x = self.pool(torch.relu(x + self.second(x)))
        x = torch.sigmoid(self.third(torch.cat([x, -x], 1)))
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives samples to onnxruntime."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self._rest = iter(samples)

    def get_next(self) -> Any:
        """Return the next one."""
        return next(self._rest, None)


@pytest.fixture(scope="module")
def trained() -> tuple[bytes, list[Sample], models.Split]:
    train, test = models.digits(1, 8, 8)
    model = models.train(models.Recipe(Network, Network.shape, 4), train)
    file = io.BytesIO()
    torch.onnx.export(
        model, (torch.from_numpy(test.images[:1]),), file, dynamo=False, input_names=["image"],
        opset_version=17,
    )  # fmt: skip
    return file.getvalue(), train.samples(SAMPLES), test


@pytest.mark.parametrize("kind", KINDS)
def test_compile__quantised_file__computes_with_its_steps_and_weights(
    kind: str, trained: tuple[bytes, list[Sample], models.Split], tmp_path: Path
) -> None:
    data, samples, test = trained
    (tmp_path / "float.onnx").write_bytes(data)
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "quantised.onnx", Reader(samples),
        quant_format=QuantFormat.QDQ, **KINDS[kind],
    )  # fmt: skip
    model = onnx.load(tmp_path / "quantised.onnx")
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}

    graph = from_onnx(model, samples[0])
    program = compile_graph(graph, samples)

    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [array for array in held.values() if array.dtype == np.int8 and array.ndim >= 2]
    kept = [
        program.constants[op.operands[1].index]
        for op in program.program.ops
        if op.opcode == Opcode.DOT
    ]
    assert weights
    for matrix in weights:  # as they are, in another order
        numbers = np.sort(matrix.astype(np.int64), None)
        assert any(np.array_equal(np.sort(own.astype(np.int64), None), numbers) for own in kept)
    accuracy = measure_graph(program, graph, test.samples(), list(test.labels)).accuracy
    assert accuracy.same_class > 0.99
    assert accuracy.mean_cosine > 0.9999
    assert accuracy.correct_float is not None
    assert accuracy.correct_exact is not None
    assert abs(accuracy.correct_exact - accuracy.correct_float) <= 0.005
    assert accuracy.correct_float > 0.9
    require_identical(program, samples[0])
    require_judged(program, samples[0])


def test_compile__grid_that_differs_in_many_numbers__is_named(
    trained: tuple[bytes, list[Sample], models.Split], tmp_path: Path
) -> None:
    data, samples, _ = trained
    (tmp_path / "float.onnx").write_bytes(data)
    quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(samples))
    graph = from_onnx(onnx.load(tmp_path / "q.onnx"), samples[0])
    original = graph.original
    assert original is not None
    name = next(node.output for node in graph.nodes if node.op == "grid")

    def moved(share: float) -> Any:
        def values(sample: Sample) -> Any:
            found = dict(original.values(sample))
            found[name] = found[name].copy()
            count = max(1, int(share * found[name].size))
            step = next(n.attributes["scale"] for n in graph.nodes if n.output == name)
            found[name].reshape(-1)[:count] += step
            return found

        return values

    with pytest.raises(ReadingWrong, match=name):
        compile_graph(_with(graph, original, moved(0.5)), samples)


def _with(graph: Any, original: Any, values: Any) -> Any:
    return replace(graph, original=replace(original, values=values))
