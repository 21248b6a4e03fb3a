"""A published model as a file of other tools: the file answers as the version does."""

import itertools
import sys
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
OPEN = torch.export.Dim.DYNAMIC
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


def test_export__graph_with_open_sizes__any_length_as_the_module(transformer, tmp_path):
    manifest, module = transformer
    ids = torch.randint(0, 1000, (2, 5))
    shapes = ({0: OPEN, 1: OPEN},) * 2
    files = exported(module, (ids, torch.ones_like(ids)), tmp_path / "m.pt2", dynamic_shapes=shapes)
    manifest = replace(manifest, runtime=RuntimeSpec("torch.export", "m.pt2"))
    found = exporting.export(manifest, files, "onnx", tmp_path / "m.onnx")

    assert found["farthest"] <= exporting.CLOSE
    for rows, length in itertools.product((1, 2, 7), (1, 2, 16, 61)):
        ids = torch.randint(0, 1000, (rows, length))
        mask = torch.ones_like(ids)
        mask[0, length // 2 + 1 :] = 0
        asked = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        with torch.inference_mode():
            wanted = module(ids, mask)
        np.testing.assert_allclose(answers(tmp_path / "m.onnx", asked)[0], wanted, atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells = kind(4, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.told = nn.Linear(10, 3)

    def forward(self, x):
        return self.told(self.cells(x)[0][:, -1])


class Windows(nn.Module):
    def __init__(self, _):
        super().__init__()
        self.seen = nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1))
        self.told = nn.Linear(6, 3)

    def forward(self, x):
        return self.told(self.seen(x.transpose(1, 2)).flatten(1))


class Attention(nn.Module):
    def __init__(self, _):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.told = nn.Linear(4, 3)

    def forward(self, x):
        return self.told(self.layer(x).mean(1))


@pytest.mark.parametrize(
    ("kind", "of", "decomposed", "lengths"),
    [
        (Recurrent, nn.LSTM, False, (6,)), (Recurrent, nn.GRU, True, (6,)),
        (Recurrent, nn.RNN, False, (6,)),
        (Windows, None, True, (3, 6, 50)), (Attention, None, False, (1, 6, 50)),
    ],
)  # fmt: skip
def test_export__network_with_open_sizes__answers_as_the_module(
    tmp_path, kind, of, decomposed, lengths
):
    torch.manual_seed(0)
    module, wide = kind(of).eval(), len(lengths) > 1
    program = torch.export.export(
        module, (torch.randn(2, 6, 4),), dynamic_shapes=({0: OPEN} | ({1: OPEN} if wide else {}),)
    )
    torch.export.save(program.run_decompositions({}) if decomposed else program, tmp_path / "m.pt2")
    manifest = Manifest(
        name="m", files=(), runtime=RuntimeSpec("torch.export", "m.pt2"),
        inputs=(TensorSpec("x", "F32", (None, None if wide else 6, 4)),),
        outputs=(TensorSpec("linear", "F32", (None, 3)),),  # a name that the graph has within, too
    )  # fmt: skip
    exporting.export(manifest, {"m.pt2": tmp_path / "m.pt2"}, "onnx", tmp_path / "m.onnx")

    for rows, length in itertools.product((1, 2, 7), lengths):
        x = torch.randn(rows, length, 4)
        with torch.inference_mode():
            wanted = module(x).numpy()
        (got,) = answers(tmp_path / "m.onnx", {"x": x.numpy()})
        np.testing.assert_allclose(got, wanted, atol=1e-5)
        assert (got.argmax(1) == wanted.argmax(1)).all()
    told = (tmp_path / "m.onnx").read_bytes()
    assert b"worker/" not in told, "ONNX tells files of whoever exported"


class Pooled(nn.Module):
    def forward(self, x):
        return nn.functional.adaptive_max_pool2d(x.flatten(1)[None], (3, 2))


class Distances(nn.Module):
    def forward(self, x):
        return torch.cdist(x, x[:, :1])


@pytest.mark.parametrize(
    ("module", "refusal"),
    [
        (Distances(), "no form in ONNX: .*aten._cdist_forward"),
        (Pooled(), r"for x \[1, 2, 4\] output y of the ONNX graph is \[1, 1, 2\], not \[1, 3, 2\]"),
    ],
)
def test_export__graph_that_onnx_lacks_or_has_wrong__is_refused_and_leaves_nothing(
    tmp_path, module, refusal
):
    program = torch.export.export(module, (torch.zeros(2, 2, 4),), dynamic_shapes=({0: OPEN},))
    torch.export.save(program.run_decompositions(), tmp_path / "m.pt2")
    manifest = Manifest(
        name="m", files=(), runtime=RuntimeSpec("torch.export", "m.pt2"),
        inputs=(TensorSpec("x", "F32", (None, 2, 4)),),
        outputs=(TensorSpec("y", "F32", (None,) * module(torch.zeros(2, 2, 4)).ndim),),
    )  # fmt: skip
    with pytest.raises(ModelUnsupported, match=refusal) as caught:
        exporting.export(manifest, {"m.pt2": tmp_path / "m.pt2"}, "onnx", tmp_path / "m.onnx")
    assert "--to safetensors" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


def test_export__without_onnxscript__says_how_to_have_it(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigInvalid, match="onnxscript") as caught:
        exporting.export(DIGITS, digits, "onnx", tmp_path / "d.onnx")
    assert "tallystick[compile]" in caught.value.hint


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
    asked = {"x": np.zeros((1, 4), np.float32)}
    assert exporting._apart("SavedModel", asked, {"y": wanted}, {"y": wanted}) == 0
    with pytest.raises(ModelUnsupported, match=r"for x \[1, 4\] output y of the SavedModel is"):
        exporting._apart("SavedModel", asked, {"y": wanted}, {"y": found})


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
