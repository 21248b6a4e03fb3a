"""How far honest answers differ, and that nobody serves a model whose tolerance is below that."""

from dataclasses import replace

import numpy as np
import pytest

from oracle.protocol.shapes import TensorSpec
from worker import runtimes, spread
from worker.errors import ModelRefused


class Drifting:
    """A runtime whose answers depend on the batch that they were computed in."""

    nbytes = 0

    def __init__(self, drift):
        self._drift = drift

    def run(self, inputs, params):
        image = inputs["image"]
        logits = np.zeros((len(image), 10)) + 1 + self._drift * (len(image) > 1)
        return {"logits": logits.astype(np.float64)}


@pytest.fixture
def manifest(digits):
    return digits.manifest


def test_measure__batch_moves_the_answers__is_relative(manifest):
    assert spread.measure(manifest, Drifting(4e-6)) == 2_000


def test_measure__real_model__is_small_and_covered_by_the_examples(manifest, digits, tmp_path):
    files = {entry.path: tmp_path / "digits" / entry.path for entry in manifest.files}
    runtime = runtimes.load(manifest, files, digits.root, "cpu")
    assert 4 * spread.measure(manifest, runtime) <= 100_000


def test_require__tolerance_below_the_spread__refused(manifest):
    low = replace(manifest, tolerance=1_999)
    with pytest.raises(ModelRefused, match="differ by"):
        spread.require(low, Drifting(4e-6))
    spread.require(replace(manifest, tolerance=2_000), Drifting(4e-6))


class Counting:
    """A runtime that counts padding, which its architecture promised to hide."""

    nbytes = 0

    def run(self, inputs, params):
        lengths = inputs["input_ids"].shape[1] * np.ones((len(inputs["input_ids"]), 1))
        return {"embedding": lengths}


def test_measure__padding_moves_the_answers__is_seen(manifest):
    specs = tuple(TensorSpec(n, "I64", (None, None)) for n in ("input_ids", "attention_mask"))
    described = replace(
        manifest, inputs=specs, outputs=(TensorSpec("embedding", "F64", (None, 1)),),
        runtime=replace(manifest.runtime, architecture="minilm"),
    )  # fmt: skip
    assert spread.measure(described, Counting()) > 10**8
