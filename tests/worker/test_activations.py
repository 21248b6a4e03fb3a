"""The activation that a voter shows: known to who runs the model, the same for all who do."""

import numpy as np
import pytest
import torch

from oracle.protocol.canonical import keccak
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from tests.worker.builders import SmallNet
from worker import activations
from worker.activations import LEAST, MOST, PLACES, UNIT
from worker.runtimes import torch_export

SEEDS = [keccak(bytes([number])) for number in range(40)]


@pytest.fixture(scope="module")
def net():
    return SmallNet().eval()


@pytest.fixture(scope="module")
def runtime(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "m.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 4),)), path)
    manifest = Manifest(
        name="m", runtime=RuntimeSpec("torch.export", "m.pt2"), files=(),
        inputs=(TensorSpec("x", "F32", (1, 4)),), outputs=(TensorSpec("y", "F32", (1, 3)),),
    )  # fmt: skip
    return torch_export.load(manifest, {"m.pt2": path}, "cpu")


@pytest.fixture
def x():
    return {"x": np.random.default_rng(5).standard_normal((1, 4)).astype(np.float32)}


class Plain:
    """A runtime whose inside cannot be looked at."""

    nbytes = 0

    def __init__(self, **outputs):
        self.outputs = {name: np.asarray(value) for name, value in outputs.items()}

    def run(self, inputs, params):
        return self.outputs


def drawn(seed, nodes):
    """Return the four elements by the formula, from the nodes as arrays."""
    values = []
    for place in range(PLACES):
        high, low = divmod(int.from_bytes(keccak(seed + bytes([place]))), 2**128)
        flat = nodes[high % len(nodes)].reshape(-1)
        values.append(float(flat[low % len(flat)]))
    return values


def test_run__graph__shows_elements_of_its_nodes(net, runtime, x):
    with torch.no_grad():
        first = net.layers[0](torch.from_numpy(x["x"]))
        second = net.layers[1](first)
        third = net.layers[2](second)
    nodes = [tensor.numpy() for tensor in (first, second, third)]
    for seed in SEEDS:
        outputs, found = activations.run(runtime, x, {}, seed)
        assert abs(found - sum(drawn(seed, nodes)) * UNIT) < 2_000
        np.testing.assert_allclose(outputs["y"], nodes[2], atol=1e-6)


def test_run__again__is_the_same_and_differs_by_seed(runtime, x):
    found = [activations.run(runtime, x, {}, seed)[1] for seed in SEEDS]
    assert found == [activations.run(runtime, x, {}, seed)[1] for seed in SEEDS]
    assert len(set(found)) > len(SEEDS) - 5  # a small model: some seeds draw the same places


def test_run__no_graph__shows_the_outputs(x):
    outputs = {"b": np.arange(6.0).reshape(2, 3), "a": np.array([10, 20])}
    for seed in SEEDS:
        expected = sum(drawn(seed, [outputs["a"], outputs["b"]])) * UNIT
        assert activations.run(Plain(**outputs), x, {}, seed)[1] == round(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.nan, LEAST), (np.inf, LEAST), (1e300, MOST), (-1e300, LEAST), (0.5, 2 * UNIT)],
)
def test_run__extreme_values__fit_the_contract(x, value, expected):
    assert activations.run(Plain(y=[value]), x, {}, SEEDS[0])[1] == expected


def test_run__outputs_without_elements__is_zero(x):
    assert activations.run(Plain(y=[]), x, {}, SEEDS[0])[1] == 0
