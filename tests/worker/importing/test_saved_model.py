"""Models of other libraries as SavedModels, which TensorFlow's own environment writes and runs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from xgboost import XGBClassifier

from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from tests.worker.exact.test_categories import from_xgboost
from tests.worker.importing.originals import save, split
from tests.worker.importing.test_tensorflow import PYTHON, QUIET, ROOT
from worker import exporting
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.importing import converting, frame

pytestmark = [pytest.mark.clients, pytest.mark.real]
CASES = 900  # of ONNX's own that are equal, at the least


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where TensorFlow is, as owners do."""
    monkeypatch.setenv(frame.TENSORFLOW, str(PYTHON))


def described(folder: Path) -> Manifest:
    """Return the manifest of a converted model."""
    said = json.loads((folder / "model.json").read_text())
    inputs, outputs = (
        tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in said[what])
        for what in ("inputs", "outputs")
    )
    runtime = RuntimeSpec("onnx", "model.onnx")
    return Manifest(name="m", files=(), inputs=inputs, outputs=outputs, runtime=runtime)


TABLES = {
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=20, verbose=-1),
    "xgboost": lambda: XGBClassifier(n_estimators=20),
    "scikit-learn": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("library", TABLES)
def test_export__model_of_a_table__answers_the_whole_test_set_as_served(
    library: str, tmp_path: Path
) -> None:
    rows, labels, held, _ = split(load_wine)
    _, path = save(TABLES[library]().fit(rows, labels), tmp_path)
    converting.build(path, tmp_path / "out")
    manifest = described(tmp_path / "out")
    samples = tmp_path / "samples.npz"
    np.savez(samples, **{manifest.inputs[0].name: held})

    files = {"model.onnx": tmp_path / "out" / "model.onnx"}
    found = exporting.export(manifest, files, "saved-model", tmp_path / "tf", samples)

    assert found["farthest"] <= exporting.CLOSE
    assert found["bytes"] > 1000
    assert (tmp_path / "tf" / "saved_model.pb").is_file()


def test_export__splits_on_categories__answer_as_served(tmp_path: Path) -> None:
    _, path = save(from_xgboost(2), tmp_path)
    converting.build(path, tmp_path / "out")
    manifest, files = described(tmp_path / "out"), {"model.onnx": tmp_path / "out" / "model.onnx"}
    found = exporting.export(manifest, files, "saved-model", tmp_path / "tf")
    assert found["farthest"] <= exporting.CLOSE


class Reader(nn.Module):
    """Convolutions, groups, a norm, a pool, and an LSTM of both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6), nn.GELU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.read = nn.LSTM(2, 5, batch_first=True, bidirectional=True)
        self.told = nn.Linear(10, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = self.seen(image).flatten(2)
        return self.told(self.read(rows)[0][:, -1]).softmax(-1)


def test_export__torch_with_windows_and_an_lstm__is_written_from_its_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Reader().eval()
    example = (torch.randn(2, 3, 12, 10),)
    torch.export.save(torch.export.export(module, example), tmp_path / "m.pt2")
    manifest = Manifest(
        name="m", files=(), runtime=RuntimeSpec("torch.export", "m.pt2"),
        inputs=(TensorSpec("image", "F32", (2, 3, 12, 10)),),
        outputs=(TensorSpec("shares", "F32", (2, 4)),),
    )  # fmt: skip
    files = {"m.pt2": tmp_path / "m.pt2"}
    found = exporting.export(manifest, files, "saved-model", tmp_path / "tf")
    assert found["farthest"] <= exporting.CLOSE
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.pt2", "tf"]


def graph_of(kind: str, path: Path, constants: Any = (), **attributes: Any) -> Manifest:
    """Write a graph of one operator."""
    info = helper.make_tensor_value_info
    shapes = [info(name, onnx.TensorProto.FLOAT, ["rows", 3]) for name in ("x", "y")]
    names = [one.name for one in constants]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], list(constants))
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    inputs, outputs = ((TensorSpec(name, "F32", (None, 3)),) for name in ("x", "y"))
    runtime = RuntimeSpec("onnx", path.name)
    return Manifest(name="m", files=(), inputs=inputs, outputs=outputs, runtime=runtime)


def test_export__operator_without_a_form__is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    manifest = graph_of("Hardmax", path)
    with pytest.raises(ModelUnsupported, match="Hardmax") as caught:
        exporting.export(manifest, {"m.onnx": path}, "saved-model", tmp_path / "tf")
    assert "--to onnx" in caught.value.hint
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]


def test_save__more_memory_than_there_is__is_an_error_of_the_child(tmp_path: Path) -> None:
    sizes = onnx.numpy_helper.from_array(np.array([2**20, 2**20, 2**20, 3]), "sizes")
    graph_of("Expand", tmp_path / "bomb.onnx", [sizes])
    np.savez(tmp_path / "s.npz", **{"0/x": np.ones((1, 3), np.float32)})
    with pytest.raises(ModelUnsupported, match="TensorFlow does not"):
        frame.save(tmp_path / "bomb.onnx", tmp_path / "s.npz", tmp_path / "tf")
    assert not (tmp_path / "tf").exists()


@pytest.mark.parametrize("data", [b"", b"\x0a\xff\xff\xff\x7f", b"\x3a" * 4000])
def test_save__file_that_is_no_onnx__is_damaged(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    np.savez(tmp_path / "s.npz", **{"0/x": np.ones((1, 3), np.float32)})
    with pytest.raises((WeightsInvalid, ModelUnsupported)):
        frame.save(tmp_path / "m.onnx", tmp_path / "s.npz", tmp_path / "tf")
    assert not (tmp_path / "tf").exists()


def test_graph__cases_of_onnx__none_is_wrong() -> None:
    script = Path(__file__).with_name("onnx_cases.py")
    done = subprocess.run(
        [PYTHON, script, ROOT], env=QUIET, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["names"] == []
    assert told["equal"] >= CASES
