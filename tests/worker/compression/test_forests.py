"""Smaller ensembles answer as the library does with fewer rounds or trees, and are served."""

import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from oracle.errors import InputInvalid
from oracle.services import folders
from worker.compression.__main__ import Options, compress
from worker.compression.measure import Served, files_of
from worker.compression.methods import MethodUnknown
from worker.compression.samples import Samples

DICE = np.random.default_rng(0)
ROWS, LABELS = load_iris(return_X_y=True)
ORDER = DICE.permutation(len(ROWS))
ROWS, LABELS = ROWS[ORDER].astype(np.float32), LABELS[ORDER]


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, features=ROWS, labels=LABELS)
    return path


def boosted(path, **options):
    model = xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1, **options)
    model.fit(ROWS[:75], LABELS[:75])
    model.save_model(path)
    return model


def forest(path):
    model = RandomForestClassifier(12, random_state=0).fit(ROWS[:75], LABELS[:75])
    skops.io.dump(model, path)
    return model


def run(path, samples, tmp_path, *methods):
    table = compress(path, tmp_path / "out", samples, Options(methods), lambda *_: None)
    return {row.method: row for row in table.rows}


def answers(folder):
    """What a worker answers to all rows from a folder that could be published."""
    manifest = folders.read(folder, lambda *_: None)
    served = Served.load(manifest, files_of(manifest, folder))
    return manifest, served.answers(Samples({"features": ROWS}, None))


@pytest.mark.parametrize("options", [{}, {"num_parallel_tree": 2, "subsample": 0.8}])
def test_rounds__of_boosting__are_the_library_with_fewer_rounds(tmp_path, samples, options):
    model = boosted(tmp_path / "model.ubj", **options)

    rows = run(tmp_path / "model.ubj", samples, tmp_path, "rounds-50")
    manifest, found = answers(tmp_path / "out" / "rounds-50")
    np.testing.assert_allclose(found, model.predict_proba(ROWS, iteration_range=(0, 4)), atol=1e-5)
    assert rows["rounds-50"].bytes < rows["original"].bytes
    assert rows["rounds-50"].exact
    assert manifest.derived_from.method == "rounds-50"


def test_trees__first_or_chosen__are_the_mean_of_that_many(tmp_path, samples):
    model = forest(tmp_path / "model.skops")

    rows = run(tmp_path / "model.skops", samples, tmp_path, "trees-50")
    _, found = answers(tmp_path / "out" / "trees-50")
    row = rows["trees-50"]
    assert set(row.others) == {"first", "chosen"}
    assert row.bytes < 0.8 * rows["original"].bytes
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    if row.kept == "first":
        model.estimators_ = model.estimators_[:6]
        np.testing.assert_allclose(found, model.predict_proba(ROWS), atol=1e-5)
    assert row.agreement.value > 0.9


def test_depth__of_a_forest__answers_with_means_of_what_was_cut(tmp_path, samples):
    forest(tmp_path / "model.skops")

    rows = run(tmp_path / "model.skops", samples, tmp_path, "depth-1")
    _, found = answers(tmp_path / "out" / "depth-1")
    row = rows["depth-1"]
    assert row.bytes < rows["original"].bytes
    assert len(np.unique(found.round(6), axis=0)) <= 2**12  # a tree has two leaves
    assert row.accuracy.value > 0.6  # a third would be chance
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)  # means of shares are shares


def test_depth__below_which_no_tree_goes__is_refused(tmp_path, samples):
    boosted(tmp_path / "model.ubj")
    with pytest.raises(Exception, match="no tree has more than 9 levels"):
        run(tmp_path / "model.ubj", samples, tmp_path, "depth-9")


def test_trees__method_of_networks__is_refused_with_those_there_are(tmp_path, samples):
    forest(tmp_path / "model.skops")
    with pytest.raises(MethodUnknown) as caught:
        run(tmp_path / "model.skops", samples, tmp_path, "int8")
    assert "trees-50" in caught.value.hint


def test_trees__columns_that_do_not_fit__are_refused(tmp_path):
    forest(tmp_path / "model.skops")
    np.savez(tmp_path / "rows.npz", features=ROWS[:, :3], labels=LABELS)
    with pytest.raises(InputInvalid, match=r"given shape \[1, 3\]"):
        run(tmp_path / "model.skops", tmp_path / "rows.npz", tmp_path, "trees-50")
