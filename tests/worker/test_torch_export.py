"""Our reader of torch.export archives: equal results, and no way to run anything but tensors."""

import contextlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from examples.digits.build import strip
from oracle.protocol.manifest import Manifest, ParameterSpec, RuntimeSpec, TensorSpec
from worker.errors import (
    ArchiveRefused,
    ModelFailed,
    ModelUnsupported,
    PickleRefused,
    WeightsInvalid,
)
from worker.runtimes import operators, torch_export
from worker.runtimes.architectures import MiniLm

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Net(nn.Module):
    """Convolution, norm, dropout, a constant, shape arithmetic: what real graphs have."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 64, 10)
        self.tied = nn.Parameter(self.head.weight.data[:, :4])

    def forward(self, image):
        hidden = self.drop(torch.relu(self.norm(self.conv(image))))
        hidden = hidden.reshape(image.shape[0], -1)
        return self.head(hidden) + torch.tensor([1.0] * 10), hidden.mean(1, keepdim=True)


def manifest(inputs, outputs, parameters=()):
    return Manifest(
        name="m", runtime=RuntimeSpec("torch.export", "m.pt2"), files=(),
        inputs=tuple(inputs), outputs=tuple(outputs), parameters=tuple(parameters),
    )  # fmt: skip


NET = manifest(
    [TensorSpec("image", "F32", (None, 1, 8, 8))],
    [TensorSpec("logits", "F32", (None, 10)), TensorSpec("mean", "F32", (None, 1))],
)


def exported(module, example, path, decompose=False, dynamic=True, **names):
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in example) if dynamic else None
    program = torch.export.export(module.eval(), example, dynamic_shapes=shapes, **names)
    torch.export.save(program.run_decompositions() if decompose else program, path)
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    torch.manual_seed(0)
    module = Net().eval()
    path = exported(module, (torch.zeros(2, 1, 8, 8),), tmp_path_factory.mktemp("m") / "m.pt2")
    return module, path


@pytest.mark.parametrize("decompose", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_run__exported_net__equals_eager_torch(tmp_path, decompose, rows):
    torch.manual_seed(0)
    module = Net().eval()
    path = exported(module, (torch.zeros(2, 1, 8, 8),), tmp_path / "m.pt2", decompose)
    model = torch_export.load(NET, {"m.pt2": path}, "cpu")
    image = np.random.default_rng(0).random((rows, 1, 8, 8), np.float32)
    got = model.run({"image": image}, {})
    with torch.inference_mode():
        logits, mean = module(torch.from_numpy(image))
    np.testing.assert_allclose(got["logits"], logits, atol=1e-6)
    np.testing.assert_allclose(got["mean"], mean, atol=1e-6)
    assert model.nbytes > 4 * 256 * 10


def test_run__transformer__equals_eager_torch(tmp_path):
    torch.manual_seed(0)
    module = MiniLm({"layers": 1, "width": 8, "heads": 2, "inner": 16, "vocabulary": 50}).eval()
    ids = torch.randint(0, 50, (2, 5))
    shapes = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},) * 2
    program = torch.export.export(module, (ids, torch.ones_like(ids)), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "m.pt2")
    wanted = manifest(
        [TensorSpec(name, "I64", (None, None)) for name in ("input_ids", "attention_mask")],
        [TensorSpec("embedding", "F32", (None, 8))],
    )
    model = torch_export.load(wanted, {"m.pt2": tmp_path / "m.pt2"}, "cpu")
    other = torch.randint(0, 50, (3, 7))
    mask = torch.ones_like(other)
    mask[0, 4:] = 0
    got = model.run({"input_ids": other.numpy(), "attention_mask": mask.numpy()}, {})
    with torch.inference_mode():
        np.testing.assert_allclose(got["embedding"], module(other, mask), atol=1e-6)


def test_run__parameter__reaches_the_graph(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x, heat):
            return x / heat

    program = torch.export.export(Scaled(), (torch.zeros(2, 3), torch.tensor(1.0)))
    torch.export.save(program, tmp_path / "m.pt2")
    spec = [TensorSpec("x", "F32", (2, 3))]
    wanted = manifest(spec, [TensorSpec("y", "F32", (2, 3))], [ParameterSpec(lane=0, name="heat")])
    model = torch_export.load(wanted, {"m.pt2": tmp_path / "m.pt2"}, "cpu")
    got = model.run({"x": np.ones((2, 3), np.float32)}, {"heat": 4.0})
    np.testing.assert_array_equal(got["y"], np.full((2, 3), 0.25))


def test_run__index_out_of_range__model_failed(tmp_path):
    module = nn.Embedding(5, 2)
    path = exported(module, (torch.zeros(2, dtype=torch.int64),), tmp_path / "m.pt2")
    wanted = manifest([TensorSpec("input", "I64", (None,))], [TensorSpec("y", "F32", (None, 2))])
    model = torch_export.load(wanted, {"m.pt2": path}, "cpu")
    with pytest.raises(ModelFailed, match="index out of range"):
        model.run({"input": np.array([1, 9])}, {})


def test_load__manifest_promises_other_names_or_shapes__unsupported(net):
    for given in (
        TensorSpec("x", "F32", (None, 1, 8, 8)),
        TensorSpec("image", "F32", (None, 1, 9, 8)),
    ):
        with pytest.raises(ModelUnsupported):
            torch_export.load(manifest([given], NET.outputs), {"m.pt2": net[1]}, "cpu")


def test_load__exported_in_training_mode__unsupported_when_run(tmp_path):
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    program = torch.export.export(module, (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "m.pt2")
    spec = TensorSpec("input", "F32", (1, 2))
    model = torch_export.load(manifest([spec], [spec]), {"m.pt2": tmp_path / "m.pt2"}, "cpu")
    with pytest.raises(ModelUnsupported, match="training"):
        model.run({"input": np.zeros((1, 2), np.float32)}, {})


# ── Hostile archives ─────────────────────────────────────────────────────────────────────────────


def rewritten(path, target, change):
    """Copy an archive; `change(name, body)` returns the new body, or None to leave it out."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            body = change(name.split("/", 1)[1], source.read(name))
            if body is not None:
                copy.writestr(name, body)
    return target


def edit_json(name, edit):
    def change(given, body):
        if given != name:
            return body
        value = json.loads(body)
        edit(value)
        return json.dumps(value)

    return change


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_load__pickled_sample_inputs__never_opened(net, tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    out = io.BytesIO()
    torch.save(Bomb(tmp_path / "boom"), out)
    for number, body in enumerate((bomb, out.getvalue())):
        path = rewritten(
            net[1],
            tmp_path / f"{number}.pt2",
            lambda name, old, body=body: body if "sample_inputs" in name else old,
        )
        torch_export.load(NET, {"m.pt2": path}, "cpu")
    assert not (tmp_path / "boom").exists()
    with contextlib.suppress(Exception):  # what torch does with the same file
        torch.export.load(str(path))
    assert (tmp_path / "boom").exists(), "the bomb does go off in torch.export.load"


def _target(target):
    def edit(model):
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "x", "arg": {"as_string": "mkdir boom"}, "kind": 1}]

    return edit_json("models/model.json", edit)


def _use_pickle(model):
    next(iter(model["config"].values()))["use_pickle"] = True


def _opaque(model):
    entry = next(iter(model["config"].values()))
    entry["path_name"] = "opaque_obj_0"


def _larger(model):
    model["config"]["head.weight"]["tensor_meta"]["sizes"][0]["as_int"] = 11


def _expanding(model):
    meta = model["config"]["head.weight"]["tensor_meta"]
    meta["sizes"] = [{"as_int": 2**40}]
    meta["strides"] = [{"as_int": 0}]


def _negative(model):
    model["config"]["head.weight"]["tensor_meta"]["storage_offset"]["as_int"] = -4


def _mutation(model):
    model["graph_module"]["signature"]["output_specs"][0] = {
        "buffer_mutation": {"arg": {"name": "x"}, "buffer_name": "b"}
    }


def _cycle(model):
    nodes = model["graph_module"]["graph"]["nodes"]
    nodes.reverse()


HOSTILE = {
    "os_system": (_target("torch.serialization.os.system"), ModelUnsupported),
    "builtin_eval": (_target("_operator.__builtins__.eval"), ModelUnsupported),
    "methodcaller": (_target("_operator.methodcaller"), ModelUnsupported),
    "torch_load": (_target("torch.load"), ModelUnsupported),
    "from_file": (_target("torch.ops.aten.from_file.default"), ModelUnsupported),
    "dunder": (_target("torch.ops.aten.__class__.__init__"), ModelUnsupported),
    "random": (_target("torch.ops.aten.rand.default"), ModelUnsupported),
    "uninitialised": (_target("torch.ops.aten.empty.memory_format"), ModelUnsupported),
    "in_place": (_target("torch.ops.aten.add_.Tensor"), ModelUnsupported),
    "print": (_target("torch.ops.aten._print.default"), ModelUnsupported),
    "other_namespace": (_target("torch.ops.prims.device_put.default"), ModelUnsupported),
    "pickled_weight": (
        edit_json("data/weights/model_weights_config.json", _use_pickle), PickleRefused,
    ),
    "opaque_constant": (
        edit_json("data/constants/model_constants_config.json", _opaque), PickleRefused,
    ),
    "larger_than_its_file": (
        edit_json("data/weights/model_weights_config.json", _larger), WeightsInvalid,
    ),
    "expands_by_stride_0": (
        edit_json("data/weights/model_weights_config.json", _expanding), WeightsInvalid,
    ),
    "negative_offset": (
        edit_json("data/weights/model_weights_config.json", _negative), WeightsInvalid,
    ),
    "mutates_itself": (edit_json("models/model.json", _mutation), ModelUnsupported),
    "other_schema": (
        edit_json("models/model.json", lambda m: m["schema_version"].update(major=9)),
        ModelUnsupported,
    ),
    "no_graph": (edit_json("models/model.json", lambda m: m.pop("graph_module")), ArchiveRefused),
    "graph_is_a_list": (
        edit_json("models/model.json", lambda m: m["graph_module"].update(graph=[1])),
        ArchiveRefused,
    ),
    "json_is_cut": (
        lambda name, body: body[:-9] if name == "models/model.json" else body, ArchiveRefused,
    ),
    "weights_missing": (
        lambda name, body: None if name == "data/weights/weight_0" else body, ArchiveRefused,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_load__hostile_archive__typed_error(net, tmp_path, case, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, error = HOSTILE[case]
    path = rewritten(net[1], tmp_path / "m.pt2", change)
    with pytest.raises(error) as raised:
        torch_export.load(NET, {"m.pt2": path}, "cpu")
    assert type(raised.value) is error
    assert not (tmp_path / "boom").exists()


def test_load__torch_save_archive__pickle_refused(tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "m.pt2")
    with pytest.raises(PickleRefused):
        torch_export.load(NET, {"m.pt2": tmp_path / "m.pt2"}, "cpu")


def test_run__nodes_out_of_order__model_failed(net, tmp_path):
    path = rewritten(net[1], tmp_path / "m.pt2", edit_json("models/model.json", _cycle))
    model = torch_export.load(NET, {"m.pt2": path}, "cpu")
    with pytest.raises(ModelFailed):
        model.run({"image": np.zeros((1, 1, 8, 8), np.float32)}, {})


def test_resolve__every_allowed_name__is_an_operator_of_this_torch():
    for name in operators._ALLOWED:
        target = f"torch.ops.aten.{name}"
        assert callable(operators.resolve(target)), name


def test_strip__archive__equal_results_without_sample_inputs(net, tmp_path):
    strip(net[1], tmp_path / "m.pt2")
    assert not [n for n in zipfile.ZipFile(tmp_path / "m.pt2").namelist() if "sample" in n]
    image = {"image": np.ones((2, 1, 8, 8), np.float32)}
    plain, stripped = (
        torch_export.load(NET, {"m.pt2": path}, "cpu").run(image, {})
        for path in (net[1], tmp_path / "m.pt2")
    )
    np.testing.assert_array_equal(plain["logits"], stripped["logits"])
