"""Safetensors with an architecture, and ONNX: what is loaded, what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from oracle.protocol.manifest import Manifest, ParameterSpec, RuntimeSpec, TensorSpec
from tests.worker.builders import digits_module, images, write_digits
from worker import runtimes
from worker.errors import (
    ModelFailed,
    ModelUnsupported,
    PickleRefused,
    WeightsInvalid,
)
from worker.runtimes import architectures
from worker.runtimes.architectures import MiniLm

IMAGE = TensorSpec("image", "F32", (None, 1, 8, 8))
LOGITS = TensorSpec("logits", "F32", (None, 10))
DIGITS = Manifest(
    name="d", files=(), inputs=(IMAGE,), outputs=(LOGITS,),
    runtime=RuntimeSpec("safetensors", "d.safetensors", "digits_cnn", {"width": 4}),
)  # fmt: skip


def load(manifest, path):
    return runtimes.load(manifest, {manifest.runtime.entry: path}, manifest.model_root(), "cpu")


@pytest.fixture
def weights(tmp_path):
    return write_digits(tmp_path) / "digits.safetensors"


# ── Safetensors and architectures ────────────────────────────────────────────────────────────────


def test_safetensors__digits__equals_the_module(weights):
    model = load(DIGITS, weights)
    with torch.inference_mode():
        wanted = digits_module()(torch.from_numpy(images(3))).numpy()
    np.testing.assert_array_equal(model.run({"image": images(3)}, {})["logits"], wanted)
    assert model.nbytes == weights.stat().st_size - 8 - int.from_bytes(
        weights.read_bytes()[:8], "little"
    )


BAD_STATES = {
    "missing": (lambda s: s.pop("head.bias"), WeightsInvalid, "no head.bias"),
    "unknown": (lambda s: s.update(evil=torch.zeros(1)), WeightsInvalid, "evil"),
    "shape": (lambda s: s.update({"head.bias": torch.zeros(11)}), WeightsInvalid, "shape"),
    "dtype": (lambda s: s.update({"head.bias": s["head.bias"].int()}), ModelUnsupported, "I32"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_safetensors__state_that_does_not_fit__refused(tmp_path, case):
    change, error, text = BAD_STATES[case]
    state = dict(digits_module().state_dict())
    change(state)
    save_file(state, tmp_path / "d.safetensors")
    with pytest.raises(error, match=text):
        load(DIGITS, tmp_path / "d.safetensors")


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("gpt5", {}),
        ("digits_cnn", {"width": 10**9}),
        ("digits_cnn", {"width": "4"}),
        ("digits_cnn", {"width": True}),
        ("digits_cnn", {"widht": 4}),
        ("minilm", {"layers": 10**6}),
        ("minilm", {"width": 10, "heads": 3}),
    ],
)
def test_build__unknown_architecture_or_option__unsupported(architecture, options):
    with pytest.raises(ModelUnsupported):
        architectures.build(architecture, options)


def test_safetensors__half_precision_weights__run_in_float32(tmp_path):
    state = {name: t.half() for name, t in digits_module().state_dict().items()}
    save_file(state, tmp_path / "d.safetensors")
    got = load(DIGITS, tmp_path / "d.safetensors").run({"image": images()}, {})["logits"]
    assert got.dtype == np.float32
    with torch.inference_mode():
        np.testing.assert_allclose(got, digits_module()(torch.from_numpy(images())), atol=1e-2)


TINY = {"layers": 1, "width": 8, "heads": 2, "inner": 16, "vocabulary": 30, "positions": 16}


@pytest.fixture
def bert(tmp_path):
    """A tiny encoder under the names that Hugging Face gives its tensors."""
    torch.manual_seed(0)
    module = MiniLm(TINY).eval()
    ours = dict.fromkeys(module.state_dict())
    parts = {value: key for key, value in MiniLm._PARTS.items()}
    state = {"pooler.dense.weight": torch.zeros(8, 8)}
    roots = {
        "words": "word_embeddings", "positions": "position_embeddings",
        "types": "token_type_embeddings", "norm": "LayerNorm",
    }  # fmt: skip
    for name in ours:
        first, *rest = name.split(".")
        theirs = f"embeddings.{roots.get(first)}.{rest[-1]}"
        if first == "layers":
            theirs = f"encoder.layer.{rest[0]}.{parts[rest[1]]}.{rest[2]}"
        state[theirs] = module.state_dict()[name]
    save_file(state, tmp_path / "m.safetensors")
    manifest = replace(
        DIGITS,
        inputs=tuple(TensorSpec(n, "I64", (None, None)) for n in ("input_ids", "attention_mask")),
        outputs=(TensorSpec("embedding", "F32", (None, 8)),),
        runtime=RuntimeSpec("safetensors", "m.safetensors", "minilm", TINY),
    )
    return module, load(manifest, tmp_path / "m.safetensors")


def test_safetensors__bert_names__are_mapped(bert):
    module, model = bert
    ids = np.array([[1, 2, 3], [4, 5, 0]])
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    got = model.run({"input_ids": ids, "attention_mask": mask}, {})["embedding"]
    with torch.inference_mode():
        np.testing.assert_array_equal(got, module(torch.tensor(ids), torch.tensor(mask)))
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("ids", "length"), [(30, 3), (-1, 3), (1, 17)])
def test_safetensors__ids_or_length_out_of_range__model_failed(bert, ids, length):
    tokens = np.full((1, length), ids, np.int64)
    with pytest.raises(ModelFailed):
        bert[1].run({"input_ids": tokens, "attention_mask": np.ones_like(tokens)}, {})


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────

ONNX = replace(
    DIGITS,
    inputs=(TensorSpec("x", "F32", (None, 2)),),
    outputs=(TensorSpec("y", "F32", (None, 2)),),
    parameters=(ParameterSpec(lane=0, name="heat"),),
    runtime=RuntimeSpec("onnx", "m.onnx"),
)


def graph(**changes):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy")
    heat = helper.make_tensor_value_info("heat", TensorProto.FLOAT, [])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    parts = {
        "nodes": [
            helper.make_node("Mul", ["x", "w"], ["z"]),
            helper.make_node("Div", ["z", "heat"], ["y"]),
        ],
        "name": "g", "inputs": [x, heat], "outputs": [y], "initializer": [weight],
    } | changes  # fmt: skip
    opset = parts.pop("opset", [helper.make_opsetid("", 17)])
    return helper.make_model(helper.make_graph(**parts), opset_imports=opset, ir_version=9)


def saved(tmp_path, model):
    path = tmp_path / "m.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def external():
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/passwd")
    return weight


def external_in_a_branch():
    """External data two graphs deep, in a constant of a branch."""
    constant = helper.make_node("Constant", [], ["v"], value=external())
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, [2])
    branch = helper.make_graph([constant], "b", [], [value])
    flag = helper.make_tensor("flag", TensorProto.BOOL, [], [True])
    nodes = [
        helper.make_node("If", ["flag"], ["w"], then_branch=branch, else_branch=branch),
        helper.make_node("Div", ["w", "heat"], ["y"]),
    ]
    return graph(nodes=nodes, initializer=[flag])


BAD_GRAPHS = {
    "empty": (b"", WeightsInvalid),
    "cut_short": (lambda: graph().SerializeToString()[:-20], WeightsInvalid),
    "noise": (b"\xff" * 99, WeightsInvalid),
    "pickle": (pickle.dumps({"a": 1}), PickleRefused),
    "external_data": (lambda: graph(initializer=[external()]), ModelUnsupported),
    "external_in_a_branch": (external_in_a_branch, ModelUnsupported),
    "foreign_domain": (
        lambda: graph(opset=[helper.make_opsetid("", 17), helper.make_opsetid("com.evil", 1)]),
        ModelUnsupported,
    ),
    "unknown_operator": (
        lambda: graph(nodes=[helper.make_node("System", ["x"], ["y"])]), ModelUnsupported,
    ),
    "other_output": (
        lambda: graph(outputs=[helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])]),
        ModelUnsupported,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_onnx__hostile_file__typed_error(tmp_path, case):
    model, error = BAD_GRAPHS[case]
    path = saved(tmp_path, model() if callable(model) else model)
    with pytest.raises(error) as raised:
        load(ONNX, path)
    assert type(raised.value) is error


@pytest.mark.parametrize("ballast", [0, 2**20])  # opened from memory, and by its path
def test_onnx__tensor_that_its_attribute_does_not_name__is_not_read(tmp_path, ballast):
    hidden = external()
    hidden.external_data[0].value = "beside.bin"
    (tmp_path / "beside.bin").write_bytes(np.full(2, 7, np.float32).tobytes())
    constant = helper.make_node("Constant", [], ["w"], value_floats=[1.0, 2.0])
    constant.attribute[0].t.CopyFrom(hidden)
    nodes = [constant, helper.make_node("Div", ["w", "heat"], ["y"])]
    spare = helper.make_tensor("spare", TensorProto.UINT8, [ballast], bytes(ballast), raw=True)
    path = saved(tmp_path, graph(nodes=nodes, initializer=[spare]))

    got = load(ONNX, path).run({"x": np.ones((1, 2), np.float32)}, {"heat": 1})
    np.testing.assert_array_equal(got["y"], [1, 2])


def test_onnx__parameter__reaches_the_graph(tmp_path):
    model = load(ONNX, saved(tmp_path, graph()))
    got = model.run({"x": np.ones((3, 2), np.float32)}, {"heat": 4})
    np.testing.assert_array_equal(got["y"], np.full((3, 2), [0.25, 0.5], np.float32))


def test_onnx__wrong_rank__model_failed(tmp_path):
    model = load(ONNX, saved(tmp_path, graph()))
    with pytest.raises(ModelFailed):
        model.run({"x": np.ones(3, np.float32)}, {"heat": 4})


def test_onnx__input_the_manifest_does_not_name__unsupported(tmp_path):
    path = saved(tmp_path, graph())
    with pytest.raises(ModelUnsupported, match="heat"):
        load(replace(ONNX, parameters=()), path)


def test_onnx__checker__agrees_that_the_sample_is_valid():
    onnx.checker.check_model(graph())
