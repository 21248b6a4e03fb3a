"""A model is run before it is published: three wrong ones per format, and what to write instead."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from oracle.protocol.shapes import TensorSpec
from oracle.services import folders
from tests.worker.builders import write_digits
from worker import check, describe
from worker.errors import ModelRefused, ModelUnsupported, OutputInvalid, PickleRefused


class Wine(torch.nn.Module):
    """13 measurements to 3 classes."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(13, 3)

    def forward(self, measurements):
        return torch.softmax(self.layer(measurements), -1)


def write_export(folder: Path) -> Path:
    shapes = {"measurements": {0: torch.export.Dim("rows")}}
    program = torch.export.export(Wine().eval(), (torch.zeros(2, 13),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "wine.pt2")
    return folder / "wine.pt2"


def write_onnx(folder: Path) -> Path:
    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    weight = helper.make_tensor("weight", TensorProto.FLOAT, (13, 3), np.linspace(-1, 1, 39))
    node = helper.make_node("MatMul", ["measurements", "weight"], ["output"])
    graph = helper.make_graph(
        [node], "wine", [value("measurements", "rows", 13)], [value("output", "rows", 3)], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "wine.onnx")
    return folder / "wine.onnx"


def write_weights(folder: Path) -> Path:
    path = write_digits(folder) / "digits.safetensors"
    (folder / "model.json").unlink()
    return path


WRITERS = {"torch.export": write_export, "onnx": write_onnx, "safetensors": write_weights}


@pytest.fixture(params=WRITERS)
def draft(request, tmp_path):
    """A manifest as the file proposes it, and its files."""
    path = WRITERS[request.param](tmp_path)
    body = {"name": "wine", **describe.describe(path), "files": [path.name]}
    (tmp_path / "model.json").write_text(json.dumps(body))
    manifest = folders.read(tmp_path, lambda *_: None)
    return manifest, {entry.path: tmp_path / entry.path for entry in manifest.files}


# ── Wrong models ────────────────────────────────────────────────────────────────────────────────
def test_check__wrong_input_name__says_which_there_are(draft):
    manifest, files = draft
    (right,) = manifest.inputs
    wrong = replace(manifest, inputs=(replace(right, name="picture"),))
    with pytest.raises(ModelUnsupported) as caught:
        check.check(wrong, files)
    assert right.name in f"{caught.value} {caught.value.hint}"


def test_check__wrong_output_shape__says_what_to_write(draft):
    manifest, files = draft
    (right,) = manifest.outputs
    wrong = replace(manifest, outputs=(replace(right, shape=(None, 7)),))
    with pytest.raises(OutputInvalid, match=r"on 1 rows output") as caught:
        check.check(wrong, files)
    written = json.loads(caught.value.hint.removeprefix("write ").removesuffix(" in outputs"))
    assert written == {"name": right.name, "dtype": right.dtype, "shape": list(right.shape)}


def test_check__wrong_dtype__says_what_to_write(draft):
    manifest, files = draft
    wrong = replace(manifest, outputs=(replace(manifest.outputs[0], dtype="F64"),))
    with pytest.raises(OutputInvalid, match=r"model\.json says F64") as caught:
        check.check(wrong, files)
    assert '"dtype": "F32"' in caught.value.hint


def test_check__unknown_architecture__says_which_there_are_and_how_to_do_without(tmp_path):
    write_digits(tmp_path)
    manifest = folders.read(tmp_path, lambda *_: None)
    runtime = replace(manifest.runtime, architecture="resnet")
    with pytest.raises(ModelUnsupported, match="resnet is not registered") as caught:
        check.check(
            replace(manifest, runtime=runtime),
            {"digits.safetensors": tmp_path / "digits.safetensors"},
        )
    assert "digits_cnn" in caught.value.hint
    assert "torch.export.save" in caught.value.hint


def test_check__too_many_outputs_named__refused(draft):
    manifest, files = draft
    more = (*manifest.outputs, TensorSpec("second", "F32", (None, 2)))
    with pytest.raises(ModelRefused):
        check.check(replace(manifest, outputs=more), files)


def test_describe__pickle__says_how_to_export(tmp_path):
    torch.save(Wine(), tmp_path / "wine.pt")
    with pytest.raises(PickleRefused) as caught:
        describe.describe(tmp_path / "wine.pt")
    assert "torch.export.export(module.eval()" in caught.value.hint


def test_describe__weights_of_no_known_architecture__says_how_to_export(tmp_path):
    from safetensors.torch import save_file

    save_file(Wine().state_dict(), tmp_path / "wine.safetensors")
    with pytest.raises(ModelUnsupported) as caught:
        describe.describe(tmp_path / "wine.safetensors")
    assert "torch.export.export(module.eval()" in caught.value.hint


# ── Right ones ──────────────────────────────────────────────────────────────────────────────────
def test_check__as_the_file_proposes__says_what_a_requester_would_see(draft):
    found = check.check(*draft)
    assert [run["rows"] for run in found["runs"]] == [1, 8]
    assert all(run["seconds"] > 0 for run in found["runs"])
    assert found["runs"][1]["output_bytes"] > found["runs"][0]["output_bytes"]
    assert found["outputs"][0]["shape"][0] == 1
    assert 0 <= found["spread"] < 1_000
    assert found["memory"] > 2**20
