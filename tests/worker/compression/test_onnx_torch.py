"""ONNX graphs in torch answer as onnxruntime does: exports of both exporters, and each operator."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from tests.worker.builders import images
from worker.compression.onnx_torch import OnnxInTorch
from worker.errors import ModelUnsupported
from worker.runtimes.architectures import DigitsCnn, MiniLm


def test_run__onnx_s_own_cases__are_right_or_refused():
    right, refused, wrong = 0, 0, []
    for case in load_model_tests(kind="node"):
        if not case.model or not case.data_sets:
            continue
        inputs, (wanted, *_) = case.data_sets[0]
        if not all(isinstance(value, np.ndarray) for value in (*inputs, wanted)):
            continue  # sequences, optional values, types that NumPy does not have
        names = [one.name for one in case.model.graph.input]
        try:
            graph = OnnxInTorch(case.model, case.model.graph.output[0].name)
            given = {n: torch.from_numpy(v.copy()) for n, v in zip(names, inputs, strict=False)}
            found = graph.run({}, given)
        except (ModelUnsupported, TypeError):  # TypeError: a dtype that torch does not have
            refused += 1
            continue
        same = found.shape == wanted.shape and np.allclose(
            found.numpy().astype(np.float64), wanted.astype(np.float64), 1e-3, 1e-5, equal_nan=True
        )
        right, wrong = right + same, wrong if same else [*wrong, case.name]

    assert wrong == []
    assert right >= 380, (right, refused)


@pytest.mark.parametrize("dynamo", [False, True])
def test_run__exported_networks__answer_as_onnxruntime_and_have_gradients(tmp_path, dynamo):
    ids = torch.arange(12).reshape(2, 6)
    for name, model, given in (
        ("digits", DigitsCnn({"width": 4}), {"image": torch.from_numpy(images(2))}),
        ("text", MiniLm({"vocabulary": 50, "layers": 1, "width": 24, "heads": 2, "inner": 32}),
         {"input_ids": ids, "attention_mask": torch.ones_like(ids)}),
    ):  # fmt: skip
        path = tmp_path / f"{name}.onnx"
        torch.onnx.export(
            model.eval(), tuple(given.values()), path, dynamo=dynamo, opset_version=18,
            input_names=list(given), output_names=["answer"], external_data=False,
        )  # fmt: skip
        loaded = onnx.load(path)
        weights = {
            one.name: torch.from_numpy(numpy_helper.to_array(one).copy()).requires_grad_(True)
            for one in loaded.graph.initializer
            if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) > 1
        }
        found = OnnxInTorch(loaded, "answer").run(weights, given)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (wanted,) = session.run(None, {n: t.numpy() for n, t in given.items()})

        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)
        found.square().sum().backward()
        assert sum(one.grad is not None for one in weights.values()) >= 2
