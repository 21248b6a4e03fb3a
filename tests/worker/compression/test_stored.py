"""Forms of weights: what is decoded, in torch, and what a hostile file is refused for."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from oracle.services import folders
from tests.worker.builders import digits_module, write_digits
from worker import runtimes
from worker.compression.low_rank import LowRank
from worker.compression.prune import Pruned
from worker.compression.quantise import RoundedWeight
from worker.errors import WeightsInvalid
from worker.runtimes import stored

SHAPES = [(16, 32), (7, 3, 3, 3), (5, 13), (3, 100)]


def decoded(shrunk, shape):
    return stored.in_torch({n: torch.from_numpy(p) for n, p in shrunk.parts().items()}, shape)


def drawn(shape):
    return torch.from_numpy(np.random.default_rng(0).normal(0, 1, shape).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
def test_in_torch__int8__is_within_half_a_step_of_its_row(shape):
    weight = drawn(shape)
    step = weight.reshape(len(weight), -1).abs().amax(1) / 127

    apart = (decoded(RoundedWeight(weight, 8), shape) - weight).reshape(len(weight), -1).abs()
    assert (apart.amax(1) <= step * 0.501).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_in_torch__int4__is_within_half_a_step_of_its_group(shape):
    weight = drawn(shape)
    flat = np.pad(weight.numpy().ravel(), (0, -weight.numel() % 32)).reshape(-1, 32)

    apart = (decoded(RoundedWeight(weight, 4), shape) - weight).abs().numpy().ravel()
    apart = np.pad(apart, (0, -weight.numel() % 32)).reshape(-1, 32)
    assert (apart.max(1) <= np.abs(flat).max(1) / 7 * 0.51).all()


@pytest.mark.parametrize("scale", [1e-9, 1e9, 0.0])
def test_in_torch__int4_of_tiny_huge_and_no_weights__keeps_their_size(scale):
    weight = drawn((8, 32)) * scale

    apart = (decoded(RoundedWeight(weight, 4), (8, 32)) - weight).abs().max()
    assert apart <= 0.3 * scale


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_in_torch__sparse__is_the_pruned_weight_itself(shape, share):
    weight = drawn(shape)
    pruned = Pruned(weight, share)

    found = decoded(pruned, shape)
    assert torch.equal(found, pruned.weight())
    kept = max(1, round(weight.numel() * (1 - share)))
    assert int((found != 0).sum()) == kept
    assert found[found != 0].abs().min() >= weight[found == 0].abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_in_torch__full_rank__is_the_weight(shape):
    weight = drawn(shape)

    torch.testing.assert_close(decoded(LowRank(weight, min(shape[0], 99)), shape), weight)


# ── Hostile files ───────────────────────────────────────────────────────────────────────────────
def load(tmp_path, change):
    folder = write_digits(tmp_path / "model")
    state = {name: tensor.numpy() for name, tensor in digits_module().state_dict().items()}
    head = RoundedWeight(torch.from_numpy(state.pop("head.weight")), 8)
    state |= {f"head.weight.{part}": array for part, array in head.parts().items()}
    change(state)
    save_file(state, folder / "digits.safetensors")
    manifest = folders.read(folder, lambda *_: None)
    files = {entry.path: folder / entry.path for entry in manifest.files}
    return runtimes.load(manifest, files, manifest.model_root(), "cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update({"head.weight.scale": np.ones((9, 1), np.float32)}), "makes no weight"),
        (
            lambda s: s.update({"head.weight.int8": s["head.weight.int8"].astype(np.int16)}),
            "makes no weight",
        ),
        (
            lambda s: s.update({"head.weight": np.zeros((10, 128), np.float32)}),
            "is not one of this architecture's",
        ),
        (lambda s: s.pop("head.weight.scale"), "is not one of this architecture's"),
    ],
)
def test_load__parts_that_make_no_weight__are_refused(tmp_path, change, said):
    with pytest.raises(WeightsInvalid, match=said):
        load(tmp_path, change)


def test_load__factor_without_sides__is_refused(tmp_path):
    def change(state):
        del state["head.weight.int8"], state["head.weight.scale"]
        state["head.weight.left"] = np.zeros((10, 2), np.float32)
        state["head.weight.right"] = np.zeros((), np.float32)

    with pytest.raises(WeightsInvalid, match="makes no weight"):
        load(tmp_path, change)


def test_load__mask_of_more_weights_than_there_are_values__is_refused(tmp_path):
    def change(state):
        del state["head.weight.int8"], state["head.weight.scale"]
        state["head.weight.mask"] = np.full((160, 1), 255, np.uint8)
        state["head.weight.bits"] = 0.5 ** np.arange(8, dtype=np.float32)[None]
        state["head.weight.values"] = np.zeros(3, np.float32)

    with pytest.raises(WeightsInvalid, match="more weights than there are values"):
        load(tmp_path, change)


def test_require_bounded__few_bytes_for_gigabytes__is_refused():
    stored.require_bounded(2**20, [(1024, 4096)])
    with pytest.raises(WeightsInvalid, match="expands"):
        stored.require_bounded(2**16, [(1024, 4096)])
