"""The two demo models: built as publishable folders, and answered by the pipeline."""

import json

import numpy as np
import pytest
import torch

from examples.digits import build as digits
from examples.digits import strokes
from examples.minilm import build as minilm
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from tests.worker.builders import Published
from worker.outcomes import Answered

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def trained():
    steps = []
    model, accuracy = digits.train(lambda *step: steps.append(step))
    return model, accuracy, steps


def test_train__digits__is_accurate_and_reports_progress(trained):
    _, accuracy, steps = trained
    assert accuracy >= 0.97
    assert steps == [("train", n + 1, digits.EPOCHS) for n in range(digits.EPOCHS)]


def test_train__drawings_it_never_saw__are_read(trained):
    assert sum(digits.read_drawings(trained[0])) >= 38


def test_build__digits__states_the_accuracy_on_drawings(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "train", lambda _report: trained[:2])
    described = json.loads((digits.build(tmp_path) / "model.json").read_text())["description"]
    assert f"{sum(digits.read_drawings(trained[0]))} of 40 drawn ones" in described


@pytest.mark.parametrize("pen", [0.05, 0.3])
def test_render__strokes_of_any_size_and_place__fill_the_frame(pen):
    stroke = np.array([[0, 0], [1, 0], [0.5, 2]])
    near, far = strokes.render([stroke], pen), strokes.render([7 * stroke + 100], pen)
    np.testing.assert_allclose(near, far, atol=1e-6)
    assert near[0].max() > 0
    assert near[-1].max() > 0


@pytest.mark.parametrize("runtime_format", digits.FORMATS)
def test_build__digits__every_format_gives_the_same_answers(
    trained, tmp_path, pipeline, ipfs, monkeypatch, runtime_format
):
    monkeypatch.setattr(digits, "train", lambda _report: trained[:2])
    model = Published(ipfs, digits.build(tmp_path / "d", runtime_format=runtime_format))
    images, labels = digits.samples(24)
    jobs = [model.job(n, {"image": images[n : n + 1]}) for n in range(23)]
    jobs.append(model.job(99, {"image": images}))
    outcomes = pipeline.run(jobs)
    assert all(isinstance(outcome, Answered) for outcome in outcomes), outcomes
    whole = tensor.decode(ipfs.fetch_bytes(raw_cid(outcomes[-1].output_root), 65536), 65536)
    with torch.inference_mode():
        wanted = trained[0](torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(whole["logits"], wanted, atol=1e-4)
    assert (whole["logits"].argmax(1) == labels).mean() > 0.9
    one = tensor.decode(ipfs.fetch_bytes(raw_cid(outcomes[5].output_root), 65536), 65536)
    np.testing.assert_allclose(one["logits"][0], whole["logits"][5], atol=1e-4)


def test_build__unknown_format__refused(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        digits.build(tmp_path, runtime_format="pickle")


SENTENCES = (
    "A cat sleeps on the sofa.",
    "The kitten naps on the couch.",
    "Interest rates rose again this quarter.",
)


def test_build__minilm__alike_sentences_are_close(tmp_path, pipeline, ipfs):
    model = Published(ipfs, minilm.build(tmp_path / "m"))
    tokens = minilm.tokenize(tmp_path / "m", SENTENCES)
    (outcome,) = pipeline.run([model.job(1, tokens)])
    data = ipfs.fetch_bytes(raw_cid(outcome.output_root), 65536)
    vectors = tensor.decode(data, 65536)["embedding"]
    assert vectors.shape == (3, 384)
    # The same sentences through another implementation of this model (eager BERT, its own names).
    wanted = [[1, 0.7576, -0.0281], [0.7576, 1, 0.0044], [-0.0281, 0.0044, 1]]
    np.testing.assert_allclose(vectors @ vectors.T, wanted, atol=1e-4)


def test_run__sentences_of_all_lengths_together__as_each_alone(tmp_path, pipeline, ipfs, told):
    model = Published(ipfs, minilm.build(tmp_path / "m"))
    texts = [" ".join(SENTENCES)[: 20 + 4 * n] for n in range(16)]
    jobs = [model.job(n, minilm.tokenize(tmp_path / "m", [t])) for n, t in enumerate(texts)]

    def answers(outcomes):
        blocks = [ipfs.fetch_bytes(raw_cid(one.output_root), 65536) for one in outcomes]
        return np.concatenate([tensor.decode(data, 65536)["embedding"] for data in blocks])

    together = answers(pipeline.run(jobs))
    assert sum(step == "computed" for step, _, _ in told) < len(jobs) / 2
    alone = answers([pipeline.run([job])[0] for job in jobs])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-9 * model.manifest.tolerance / 4)
