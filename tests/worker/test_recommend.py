"""The recommenders of examples/recommend: what is served is what was trained, and says why."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from examples.recommend import films
from examples.recommend.build import build
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.services.formats import from_json
from tests.worker.builders import Published

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
ASKED = 600  # ratings of people that were not met in training


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the data, the models by name, and the folder; one short epoch."""
    data = films.read()
    folder = tmp_path_factory.mktemp("recommend")
    return data, build(folder, data, lambda *_: None, epochs=1), folder


def answers(ipfs, pipeline, model, tables):
    outcomes = pipeline.run([model.job(n, {"ids": ids}) for n, ids in enumerate(tables)])
    most = model.manifest.max_output_bytes
    return [tensor.decode(ipfs.fetch_bytes(raw_cid(o.output_root), most), most) for o in outcomes]


def test_read__people_of_the_two_parts__are_others(built):
    data = built[0]
    known, asked = data.part(test=False), data.part(test=True)
    assert not set(known.person) & set(asked.person)
    assert len(known.likes) + len(asked.likes) == len(data.likes) > 90_000
    assert (data.ids.max(0) < [len(field.values) for field in data.fields]).all()
    assert not (data.ids[:, -1:] == data.ids[:, 3:6]).any()  # what was told is not asked


def test_auc__of_the_served_models__is_that_of_the_trained_ones(built, pipeline, ipfs):
    data, models, folder = built
    asked = data.part(test=True)
    ids, likes = asked.ids[:ASKED], asked.likes[:ASKED]
    ranker, finder = (Published(ipfs, folder / name) for name in ("deepfm", "two-tower"))
    (ranked,) = answers(ipfs, pipeline, ranker, [ids])
    people, back = np.unique(ids[:, :-1], axis=0, return_inverse=True)
    found = answers(ipfs, pipeline, finder, [people[n : n + 1] for n in range(len(people))])
    scores = np.concatenate([one["scores"] for one in found])[back]
    served = {
        "deepfm": ranked["scores"][:, 0],
        "two-tower": np.take_along_axis(scores, ids[:, -1:] - 1, 1)[:, 0],
    }
    for name, said in served.items():
        with torch.inference_mode():
            trained = models[name].score(torch.from_numpy(ids)).numpy()
        assert abs(roc_auc_score(likes, said) - roc_auc_score(likes, trained)) <= 1e-6
        assert roc_auc_score(likes, said) > 0.6


def test_reasons__of_a_field__are_what_asking_without_it_shows(built, pipeline, ipfs):
    model = Published(ipfs, built[2] / "deepfm")
    films_known = model.manifest.features[-1].categories
    row = {column.name: "unknown" for column in model.manifest.features}
    row |= {"age": "25–34", "liked film 1": films_known[5], "film": films_known[7]}
    given = from_json([row, {**row, "age": "unknown"}], model.manifest)["ids"]
    (both,) = answers(ipfs, pipeline, model, [given])
    age = both["scores"][0, 0] - both["scores"][1, 0]
    assert age != 0
    np.testing.assert_allclose(both["reasons"][0, 0, 0], age, atol=1e-6)
    assert both["reasons"][0, 1:3].tolist() == [[0.0], [0.0]]  # they were unknown
