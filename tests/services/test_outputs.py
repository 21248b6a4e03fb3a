"""What an answer means, and what is refused as an answer."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.protocol import tensor
from oracle.protocol.shapes import FeatureSpec, TensorSpec
from oracle.services import outputs
from tests.services.manifests import DIGITS, SENTENCES


def test_present__not_the_outputs_of_the_manifest__refuses():
    with pytest.raises(InputInvalid, match="output"):
        outputs.present(tensor.encode({"logits": np.zeros((1, 4), np.float32)}), DIGITS)
    with pytest.raises(InputInvalid, match=r"too few|header"):
        outputs.present(b"nonsense", DIGITS)


def test_present__labels__names_the_best_first():
    data = tensor.encode({"logits": np.array([[0.1, 2.0, -1.0]], np.float32)})
    (shown,) = outputs.present(data, DIGITS, top=2)
    assert [s.label for s in shown.rows[0].top] == ["one", "zero"]
    assert shown.shape == (1, 3)


def recommender(labels=None):
    columns = tuple(
        FeatureSpec(name=name, categories=("unknown", "yes")) for name in ("old", "rich")
    )
    return replace(
        DIGITS,
        inputs=(TensorSpec("ids", "I64", (None, 2)),),
        outputs=(
            TensorSpec("scores", "F32", (None, 3)),
            TensorSpec("reasons", "F32", (None, 2, 3)),
        ),
        features=columns,
        labels=labels,
    )


def test_present__scores_with_reasons__names_what_did_most_of_each():
    effects = np.array([[[0.5, 0.0, 0.1], [-0.7, 2.0, 0.0]]], np.float32)
    data = tensor.encode({"scores": np.array([[1, 3, 2]], np.float32), "reasons": effects})
    (shown, _) = outputs.present(data, recommender(("a", "b", "c")), top=3)
    (row,) = shown.rows
    assert [(s.label, [r.column for r in s.reasons]) for s in row.top] == [
        ("b", ["rich"]), ("c", ["old"]), ("a", ["rich", "old"]),
    ]  # fmt: skip
    assert row.top[2].reasons[0].effect == pytest.approx(-0.7)


def test_present__reasons_without_labels__number_the_scores():
    data = tensor.encode(
        {"scores": np.zeros((1, 3), np.float32), "reasons": np.ones((1, 2, 3), np.float32)}
    )
    (shown, _) = outputs.present(data, recommender(), top=1)
    assert shown.rows[0].top[0].label == "scores 1"


def test_present__embeddings_of_sentences__names_the_nearest():
    vectors = np.array([[1, 0], [0, 1], [0.9, 0.1]], np.float32)
    data = tensor.encode({"embeddings": vectors})
    (shown,) = outputs.present(data, SENTENCES, ["cat", "tax", "kitten"])
    assert [row.nearest[0].text for row in shown.rows] == ["kitten", "kitten", "cat"]
    assert shown.rows[0].nearest[0].cosine == pytest.approx(0.9939, abs=1e-4)


def test_present__zero_vector__has_cosine_zero():
    data = tensor.encode({"embeddings": np.array([[0, 0], [0, 1]], np.float32)})
    (shown,) = outputs.present(data, SENTENCES, ["nothing", "something"])
    assert shown.rows[0].nearest[0].cosine == 0


def test_save__by_suffix__reads_back(tmp_path):
    logits = np.array([[0.5, 1.0, 2.0]], np.float32)
    data = tensor.encode({"logits": logits})
    for name in ("a.npz", "deep/a.json", "a.safetensors"):
        outputs.save(data, DIGITS, tmp_path / name)
    assert np.load(tmp_path / "a.npz")["logits"].tolist() == logits.tolist()
    assert json.loads((tmp_path / "deep/a.json").read_text()) == {"logits": logits.tolist()}
    assert (tmp_path / "a.safetensors").read_bytes() == data


def test_save__into_a_file_as_folder__says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputInvalid, match="cannot write"):
        outputs.save(b"", DIGITS, tmp_path / "file" / "a.bin")
