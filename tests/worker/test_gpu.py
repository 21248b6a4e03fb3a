"""What runs on CUDA answers as on the CPU: floats within the tolerance, integers bit for bit."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from tests.exact import vectors
from tests.worker.builders import images, write_digits
from worker import device, runtimes
from worker.errors import DeviceFull
from worker.exact.kernels.executor import Executor
from worker.runtimes import onnx as onnx_runtime
from worker.runtimes.tensors import running

pytestmark = pytest.mark.gpu

IMAGE = TensorSpec("image", "F32", (None, 1, 8, 8))
LOGITS = TensorSpec("logits", "F32", (None, 10))
TOLERANCE = 1e-4


class Net(nn.Module):
    """A convolution, a normalisation and attention: cuDNN, cuBLAS and a fused kernel."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 16, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, image):
        x = torch.relu(self.normalisation(self.convolution(image))).flatten(2).transpose(1, 2)
        x, _ = self.attention(x, x, x, need_weights=False)
        return self.head(x.mean(1))


@pytest.fixture(scope="module", autouse=True)
def configured():
    device.configure(device.choose())


@pytest.fixture(params=["safetensors", "torch.export", "onnx"])
def model(request, tmp_path):
    """Return a manifest of each format and its files."""
    torch.manual_seed(0)
    module, example = Net().eval(), (torch.zeros(2, 1, 8, 8),)
    if request.param == "safetensors":
        path = write_digits(tmp_path) / "digits.safetensors"
        runtime = RuntimeSpec("safetensors", path.name, "digits_cnn", {"width": 4})
    elif request.param == "torch.export":
        path, runtime = tmp_path / "m.pt2", RuntimeSpec("torch.export", "m.pt2")
        rows = ({0: torch.export.Dim.DYNAMIC},)
        torch.export.save(torch.export.export(module, example, dynamic_shapes=rows), path)
    else:
        path, runtime = tmp_path / "m.onnx", RuntimeSpec("onnx", "m.onnx")
        names = {"input_names": ["image"], "output_names": ["logits"]}
        axes = {"image": {0: "rows"}, "logits": {0: "rows"}}
        torch.onnx.export(module, example, path, dynamo=False, dynamic_axes=axes, **names)
    manifest = Manifest(
        name="m", files=(), inputs=(IMAGE,), outputs=(LOGITS,), runtime=runtime
    )  # fmt: skip
    return manifest, {path.name: path}


@pytest.mark.parametrize("rows", [1, 33])
def test_run__each_format__as_on_the_cpu(model, rows):
    manifest, files = model
    here, there = (
        runtimes.load(manifest, files, manifest.model_root(), kind).run({"image": images(rows)}, {})
        for kind in ("cpu", device.choose())
    )
    np.testing.assert_allclose(there["logits"], here["logits"], atol=TOLERANCE)


def test_run__on_every_gpu__as_on_the_cpu(model):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    manifest, files = model
    kinds = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    here, *there = (
        runtimes.load(manifest, files, manifest.model_root(), kind).run({"image": images(8)}, {})
        for kind in kinds
    )
    for answers in there:
        np.testing.assert_allclose(answers["logits"], here["logits"], atol=TOLERANCE)


def test_run__same_batch_again__same_bytes(model):
    manifest, files = model
    loaded = runtimes.load(manifest, files, manifest.model_root(), device.choose())
    first, second = (loaded.run({"image": images(8)}, {})["logits"].tobytes() for _ in range(2))
    assert first == second


def test_open_session__onnxruntime_has_cuda__uses_it(model):
    manifest, files = model
    if manifest.runtime.format == "onnx":
        session, _ = onnx_runtime.open_session(files["m.onnx"], device.choose())
        has = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        assert ("CUDAExecutionProvider" in session.get_providers()) == has


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("int_mm", [False, True])
@pytest.mark.parametrize("name", ["network", "dot", "layernorm", "softmax"])
def test_executor__golden_vectors__same_bits(name, int_mm, compiled):
    for vector in vectors.load(name):
        case = vector.case()
        executor = Executor(
            case.program, case.constants, device.choose(), compiled=compiled, int_mm=int_mm
        )
        given = [x[None] for x in case.inputs]
        wanted = Executor(case.program, case.constants).run(given)
        for _ in range(2):  # the first answer compiles
            np.testing.assert_array_equal(executor.run(given), wanted)
        assert not compiled or not executor.note.startswith("runs eagerly"), executor.note


def test_running__more_than_the_memory__device_full():
    with pytest.raises(DeviceFull, match="out of memory"), running("a model"):
        torch.empty(2**50, device=device.choose())
