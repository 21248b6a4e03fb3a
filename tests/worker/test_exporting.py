"""A published model as a file of other tools: the file answers as the version does."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from oracle.errors import ConfigInvalid, InputInvalid
from oracle.protocol.manifest import Manifest, ParameterSpec, RuntimeSpec, TensorSpec
from tests.worker.builders import digits_module, images, write_digits
from worker import exporting, runtimes
from worker.errors import ModelUnsupported
from worker.importing import frame
from worker.runtimes.architectures import MiniLm

IMAGE = TensorSpec("image", "F32", (None, 1, 8, 8))
LOGITS = TensorSpec("logits", "F32", (None, 10))
DIGITS = Manifest(
    name="d", files=(), inputs=(IMAGE,), outputs=(LOGITS,),
    runtime=RuntimeSpec("safetensors", "digits.safetensors", "digits_cnn", {"width": 4}),
)  # fmt: skip


@pytest.fixture
def digits(tmp_path):
    return {"digits.safetensors": write_digits(tmp_path) / "digits.safetensors"}


def exported(module, example, path, **names):
    torch.export.save(torch.export.export(module.eval(), example, **names), path)
    return {path.name: path}


def answers(path, asked):
    return onnxruntime.InferenceSession(path).run(None, asked)


def test_export__architecture_to_onnx__any_rows_as_served(digits, tmp_path):
    found = exporting.export(DIGITS, digits, "onnx", tmp_path / "d.onnx")

    model = runtimes.load(DIGITS, digits, DIGITS.model_root(), "cpu")
    for rows in (1, 2, 7):
        wanted = model.run({"image": images(rows)}, {})["logits"]
        (got,) = answers(tmp_path / "d.onnx", {"image": images(rows)})
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert found["bytes"] == (tmp_path / "d.onnx").stat().st_size
    assert found["farthest"] <= exporting.CLOSE
    assert not (tmp_path / "d.onnx.part").exists()


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    options = {"layers": 1, "width": 8, "heads": 2, "inner": 16, "vocabulary": 1000}
    manifest = Manifest(
        name="m", files=(), runtime=RuntimeSpec("safetensors", "m.safetensors", "minilm", options),
        inputs=tuple(TensorSpec(n, "I64", (None, None)) for n in ("input_ids", "attention_mask")),
        outputs=(TensorSpec("embedding", "F32", (None, 8)),),
    )  # fmt: skip
    return manifest, MiniLm(options).eval()


def test_export__transformer_to_onnx__any_length_as_the_module(transformer, tmp_path):
    manifest, module = transformer
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    files = {"m.safetensors": tmp_path / "m.safetensors"}
    exporting.export(manifest, files, "onnx", tmp_path / "m.onnx")

    asked = {"input_ids": torch.randint(0, 1000, (3, 9)).numpy()}
    asked["attention_mask"] = np.ones((3, 9), np.int64)
    asked["attention_mask"][0, 4:] = 0
    (got,) = answers(tmp_path / "m.onnx", asked)
    with torch.inference_mode():
        wanted = module(*map(torch.from_numpy, asked.values()))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_export__graph_whose_trace_keeps_a_size__is_refused_and_leaves_nothing(
    transformer, tmp_path
):
    manifest, module = transformer
    ids = torch.randint(0, 1000, (2, 5))
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},) * 2
    files = exported(module, (ids, torch.ones_like(ids)), tmp_path / "m.pt2", dynamic_shapes=shapes)
    manifest = replace(manifest, runtime=RuntimeSpec("torch.export", "m.pt2"))
    with pytest.raises(ModelUnsupported, match="on 1 rows the ONNX graph fails"):
        exporting.export(manifest, files, "onnx", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


def test_export__graph_with_a_parameter__takes_it_as_an_input(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x, heat):
            return x / heat

    files = exported(Scaled(), (torch.zeros(2, 3), torch.tensor(1.0)), tmp_path / "m.pt2")
    spec = TensorSpec("x", "F32", (2, 3))
    manifest = Manifest(
        name="m", files=(), inputs=(spec,), outputs=(replace(spec, name="y"),),
        parameters=(ParameterSpec(lane=0, name="heat"),),
        runtime=RuntimeSpec("torch.export", "m.pt2"),
    )  # fmt: skip
    exporting.export(manifest, files, "onnx", tmp_path / "m.onnx")

    asked = {"x": np.ones((2, 3), np.float32), "heat": np.float32(4)[...]}
    np.testing.assert_array_equal(answers(tmp_path / "m.onnx", asked)[0], np.full((2, 3), 0.25))


@pytest.mark.parametrize("kind", ["safetensors", "torch.export", "onnx"])
def test_export__weights__are_those_of_the_module(digits, tmp_path, kind):
    manifest, files = DIGITS, digits
    if kind == "torch.export":
        files = exported(digits_module(), (torch.zeros(2, 1, 8, 8),), tmp_path / "m.pt2")
        manifest = replace(DIGITS, runtime=RuntimeSpec(kind, "m.pt2"))
    elif kind == "onnx":
        exporting.export(DIGITS, digits, "onnx", tmp_path / "m.onnx")
        manifest = replace(DIGITS, runtime=RuntimeSpec(kind, "m.onnx"))
        files = {"m.onnx": tmp_path / "m.onnx"}
    exporting.export(manifest, files, "safetensors", tmp_path / "w.safetensors")

    weights = sorted(load_file(tmp_path / "w.safetensors").values(), key=torch.Tensor.numel)
    wanted = sorted(digits_module().state_dict().values(), key=torch.Tensor.numel)
    if kind != "onnx":  # the tracer folds what it likes
        assert all(torch.equal(a, b) for a, b in zip(weights, wanted, strict=True))
    assert torch.equal(weights[-1].reshape(wanted[-1].shape), wanted[-1])


def test_export__onnx_to_onnx__is_the_file(digits, tmp_path):
    exporting.export(DIGITS, digits, "onnx", tmp_path / "m.onnx")
    manifest = replace(DIGITS, runtime=RuntimeSpec("onnx", "m.onnx"))
    exporting.export(manifest, {"m.onnx": tmp_path / "m.onnx"}, "onnx", tmp_path / "n.onnx")
    assert (tmp_path / "n.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    onnx.checker.check_model(tmp_path / "n.onnx")


def test_export__unknown_format__is_named(digits, tmp_path):
    with pytest.raises(InputInvalid, match="format h5 is not known"):
        exporting.export(DIGITS, digits, "h5", tmp_path / "d.h5")


@pytest.mark.parametrize(
    "found", [None, np.zeros((2, 1), np.float32), np.array([[1, 2.001]], np.float32)]
)
def test_apart__another_answer__is_refused(found):
    wanted = np.array([[1, 2]], np.float32)
    assert exporting._apart("SavedModel", 1, {"y": wanted}, {"y": wanted}) == 0
    with pytest.raises(ModelUnsupported, match="on 1 rows output y of the SavedModel is"):
        exporting._apart("SavedModel", 1, {"y": wanted}, {"y": found})


def test_export__saved_model_without_tensorflow__says_how_to_have_it(digits, tmp_path, monkeypatch):
    monkeypatch.delenv(frame.TENSORFLOW, raising=False)
    with pytest.raises(ConfigInvalid, match="tensorflow") as caught:
        exporting.export(DIGITS, digits, "saved-model", tmp_path / "tf")
    assert frame.TENSORFLOW in caught.value.hint
    assert not (tmp_path / "tf").exists()


def test_export__samples_without_the_input__are_refused(digits, tmp_path):
    np.savez(tmp_path / "s.npz", other=np.zeros(3))
    with pytest.raises(InputInvalid, match="image"):
        exporting.export(DIGITS, digits, "onnx", tmp_path / "d.onnx", tmp_path / "s.npz")


def test_export__text_model__is_refused(tmp_path):
    manifest = replace(DIGITS, runtime=RuntimeSpec("gguf", "m.gguf"))
    with pytest.raises(InputInvalid, match="a text model is a GGUF file"):
        exporting.export(manifest, {}, "onnx", tmp_path / "m.onnx")
