"""The two demo models: built as publishable folders, and answered by the pipeline."""

import numpy as np
import pytest
import torch

from examples.digits import build as digits
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
