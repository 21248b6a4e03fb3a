"""Splits on categories of three libraries: as they decide, on every path."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tests.worker.importing.originals import save, served
from worker.compression import forests
from worker.compression.methods import Method
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.trees import importer
from worker.exact.trees.categories import inside, ranges, with_thresholds
from worker.exact.trees.ensemble import DecisionTree, check
from worker.importing import converting

# On a code, beside it, cut to it, never seen, no code at all
ODD = [-1e9, -1.0, -0.9999, -0.5, -0.0, 0.0, 0.5, 7.0, 11.9, 12.0, 39.0, 40.0, 63.0, 64.0, 1e6,
       2.0**24, 2.0**31, 1e30, np.nan]  # fmt: skip


def table(rows: int, seed: int) -> tuple[Any, Any]:
    """Draw columns of 12 categories, a number, 40 and 300 categories; some are missing."""
    dice = np.random.default_rng(seed)
    counts = (12, 0, 40, 300)
    columns = [dice.integers(0, n, rows) if n else dice.normal(size=rows) for n in counts]
    given = np.stack(columns, 1).astype(np.float64)
    truth = np.isin(given[:, 0], [1, 5, 6, 7]) * 1.5 - given[:, 1] + (given[:, 3] % 3 == 1) * 1.5
    truth = truth + np.isin(given[:, 2], [3, 9, 11, 12, 13, 30]) * 2 + dice.normal(size=rows)
    given[dice.random(given.shape) < 0.02] = np.nan
    return given, np.digitize(truth, [0.5, 2.0])


def odd(rows: int) -> Any:
    """Draw rows of `ODD` numbers."""
    dice = np.random.default_rng(7)
    return np.where(dice.random((rows, 4)) < 0.5, dice.choice(ODD, (rows, 4)), table(rows, 9)[0])


KINDS = ["c", "q", "c", "c"]


def from_lightgbm(classes: int, **options: Any) -> Any:
    rows, labels = table(3000, 0)
    model = lightgbm.LGBMClassifier(
        n_estimators=12, num_leaves=12, n_jobs=1, verbose=-1, min_data_per_group=5, cat_smooth=1,
        **options,
    )  # fmt: skip
    return model.fit(rows, labels.clip(max=classes - 1), categorical_feature=[0, 2, 3])


def from_xgboost(classes: int, **options: Any) -> Any:
    rows, labels = table(3000, 0)
    model = xgboost.XGBClassifier(
        n_estimators=12, max_depth=4, n_jobs=1, enable_categorical=True, feature_types=KINDS,
        **options,
    )  # fmt: skip
    return model.fit(rows, labels.clip(max=classes - 1))


def from_histogram(classes: int, **options: Any) -> Any:
    """Fit on 200 of the 300 categories: this library has at most 255 of them."""
    rows, labels = table(3000, 0)
    rows[:, 3] %= 200
    model = HistGradientBoostingClassifier(
        max_iter=12, max_leaf_nodes=12, categorical_features=[0, 2, 3], random_state=0, **options
    )
    return model.fit(rows * [3, 1, 1, 1], labels.clip(max=classes - 1))


MODELS: Mapping[str, Any] = {
    "lightgbm": lambda: from_lightgbm(2),
    "lightgbm, three classes": lambda: from_lightgbm(3),
    "lightgbm, one against the rest": lambda: from_lightgbm(2, max_cat_to_onehot=400),
    "xgboost": lambda: from_xgboost(2),
    "xgboost, three classes": lambda: from_xgboost(3),
    "xgboost, one against the rest": lambda: from_xgboost(2, max_cat_to_onehot=400),
    "histogram": lambda: from_histogram(2),
    "histogram, three classes": lambda: from_histogram(3),
}


@pytest.fixture(scope="module", params=MODELS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(MODELS[request.param](), tmp_path_factory.mktemp("model"))[1]


def test_compile_model__categories__the_library_s_answers_on_whole_sets(path: Path) -> None:
    model = importer.read(path)
    assert any(tree.between for tree in model.ensemble.trees)
    held = np.concatenate([table(1000, 1)[0], odd(500)])
    # Any difference beyond the rounding of leaves, or another class, raises here
    compiled, _ = importer.compile_model(model, 0, rows=held, answer="margin")
    found, wanted = importer.run(compiled, held), model.original.margins(held)
    assert np.unique(wanted.round(4)).size > 100
    np.testing.assert_allclose(found, wanted, atol=2e-5 * max(1, np.abs(wanted).max()))


def test_build__categories__onnx_answers_as_the_library(path: Path, tmp_path: Path) -> None:
    held = np.concatenate([table(1000, 1)[0], odd(500)])
    converting.build(path, tmp_path / "out")
    found = served(tmp_path / "out" / "model.onnx", {"features": held})
    model = importer.read(path)
    wanted = model.answers(held, model.original.margins(held))
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
    assert np.array_equal(found["class"], wanted.argmax(1))


def test_variants__categories__cut_trees_are_trees(path: Path) -> None:
    ensemble = importer.read(path).ensemble
    rows = table(500, 3)[0]
    ((_, cut),) = forests.variants(ensemble, Method("depth", 2), rows)
    assert check(cut).nodes < ensemble.nodes
    assert any(tree.between for tree in cut.trees)


def walked(tree: DecisionTree, values: Any) -> list[float]:
    """Return the leaf's value of each number, node after node."""
    found = []
    for value in values:
        node = 0
        while tree.left[node] >= 0:
            if node in tree.between and not np.isnan(value):
                left = bool(inside(tree.between[node], np.array([value]))[0])
            else:
                left = tree.missing_left[node] if np.isnan(value) else value < tree.threshold[node]
            node = tree.left[node] if left else tree.right[node]
        found.append(float(tree.value[node]))
    return found


@pytest.mark.parametrize("chain", [True, False])
@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("codes", [[0], [3], [0, 1, 2], [1, 2, 5], list(range(0, 90, 2))])
def test_with_thresholds__any_set__goes_where_the_set_says(
    codes: list[int], missing: bool, chain: bool
) -> None:
    none = np.array([-1, -1, -1])
    tree = DecisionTree(
        np.zeros(3, np.int64), np.zeros(3), np.array([1, -1, -1]), np.array([2, -1, -1]),
        np.array([missing, False, False]), np.array([0.0, 1.0, 2.0]), 0, {0: ranges(codes)},
    )  # fmt: skip
    values = [*range(-2, 95), *(n + 0.5 for n in range(95)), -0.5, 1e30, np.nan]
    found = with_thresholds(tree, chain=chain)
    assert none.size == len(tree.left)  # the tree itself stays
    assert not found.between
    assert walked(found, values) == walked(tree, values)
    wanted = [
        (1.0 if missing else 2.0) if np.isnan(v) else 1.0 if v >= 0 and int(v) in codes else 2.0
        for v in values
    ]
    assert walked(found, values) == wanted


def test_read__categories_that_are_words__are_refused_with_a_way_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"town": pd.Categorical(["Rome", "Oslo"] * 40), "size": range(80)})
    model = HistGradientBoostingRegressor(max_iter=2).fit(frame, range(80))
    _, path = save(model, tmp_path)
    with pytest.raises(ModelUnsupported, match="categories that are words") as refused:
        importer.read(path)
    assert "OrdinalEncoder" in refused.value.hint


@pytest.mark.parametrize("codes", [[], [-1], [2**24]])
def test_ranges__no_set_of_codes__is_damaged(codes: list[int]) -> None:
    with pytest.raises(WeightsInvalid, match="a split on categories"):
        ranges(codes)


@pytest.mark.parametrize(
    "between",
    [{0: np.array([1.0])}, {0: np.array([2.0, 1.0])}, {0: np.array([0, np.inf])},
     {10**6: ranges([1])}, {-1: ranges([1])}],
)  # fmt: skip
def test_check__categories_that_lie__are_damaged(between: Any, path: Path) -> None:
    ensemble = importer.read(path).ensemble
    trees = (replace(ensemble.trees[0], between=between), *ensemble.trees[1:])
    with pytest.raises(WeightsInvalid, match="a split on categories that is none"):
        check(replace(ensemble, trees=trees))


@pytest.mark.parametrize(
    ("old", "new"),
    [("cat_boundaries=0 ", "cat_boundaries=1 "), ("cat_threshold=", "cat_threshold=9 9 9 9 "),
     ("cat_boundaries=0 ", "cat_boundaries=0 0 ")],
)  # fmt: skip
def test_read__lightgbm_sets_that_lie__are_refused(old: str, new: str, tmp_path: Path) -> None:
    _, path = save(from_lightgbm(2), tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(WeightsInvalid):
        importer.read(path)
