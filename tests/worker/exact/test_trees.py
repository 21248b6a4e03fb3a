"""Trees of every library: its own class on every row, missing values and thresholds included."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, tree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from examples.exact import trees as example
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.compiler import Compiled
from worker.exact.trees import ubjson
from worker.exact.trees.compile import compile_trees
from worker.exact.trees.ensemble import DecisionTree, Ensemble, check, classes_of
from worker.exact.trees.lightgbm import from_lightgbm
from worker.exact.trees.sklearn import from_sklearn
from worker.exact.trees.xgboost import from_xgboost

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Read = Callable[[Any], Ensemble]

CLASSIFIERS: Mapping[str, tuple[Callable[[], Any], Read]] = {
    "xgboost": (lambda: xgboost.XGBClassifier(n_estimators=20, n_jobs=1), from_xgboost),
    "xgboost dart": (
        lambda: xgboost.XGBClassifier(n_estimators=10, booster="dart", rate_drop=0.3, n_jobs=1),
        from_xgboost,
    ),
    "xgboost forest": (lambda: xgboost.XGBRFClassifier(n_estimators=10, n_jobs=1), from_xgboost),
    "lightgbm": (
        lambda: lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1), from_lightgbm,
    ),
    "lightgbm forest": (
        lambda: lightgbm.LGBMClassifier(
            n_estimators=10, n_jobs=1, verbose=-1, boosting_type="rf", bagging_freq=1,
            bagging_fraction=0.6,
        ),
        from_lightgbm,
    ),
    "gradient boosting": (
        lambda: ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0), from_sklearn,
    ),
    "histogram boosting": (
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=8), from_sklearn,
    ),
    "random forest": (
        lambda: ensemble.RandomForestClassifier(20, random_state=0), from_sklearn,
    ),
    "extra trees": (
        lambda: ensemble.ExtraTreesClassifier(10, max_depth=6, random_state=0), from_sklearn,
    ),
    "decision tree": (lambda: tree.DecisionTreeClassifier(random_state=0), from_sklearn),
}  # fmt: skip
REGRESSORS: Mapping[str, tuple[Callable[[], Any], Read]] = {
    "xgboost": (lambda: xgboost.XGBRegressor(n_estimators=20, n_jobs=1), from_xgboost),
    "xgboost poisson": (
        lambda: xgboost.XGBRegressor(n_estimators=10, n_jobs=1, objective="count:poisson"),
        from_xgboost,
    ),
    "lightgbm": (
        lambda: lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1), from_lightgbm,
    ),
    "gradient boosting": (
        lambda: ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0), from_sklearn,
    ),
    "histogram boosting, poisson": (
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=8, loss="poisson"), from_sklearn,
    ),
    "lightgbm tweedie": (
        lambda: lightgbm.LGBMRegressor(n_estimators=9, n_jobs=1, verbose=-1, objective="tweedie"),
        from_lightgbm,
    ),
    "random forest": (lambda: ensemble.RandomForestRegressor(10, random_state=0), from_sklearn),
    "decision tree": (lambda: tree.DecisionTreeRegressor(random_state=0), from_sklearn),
}  # fmt: skip


def split(rows: Any, labels: Any) -> tuple[Any, Any, Any, Any]:
    test = np.arange(len(labels)) % 5 == 0
    return rows[~test], labels[~test], rows[test], labels[test]


def answers(compiled: Compiled, rows: Any) -> Any:
    return np.concatenate([compiled.run({"features": row}) for row in rows])


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_compile_trees__classifier__same_class_on_every_row(
    name: str, load: Callable[..., Any]
) -> None:
    make, read = CLASSIFIERS[name]
    rows, labels, held, _ = split(*load(return_X_y=True))
    model = make().fit(rows, labels)
    trees = read(model)
    want = model.predict(held)

    assert np.array_equal(answers(compile_trees(trees, answer="class"), held), want)
    margins = compile_trees(trees, answer="margin")
    assert np.array_equal(classes_of(trees, answers(margins, held)), want)
    shares = answers(compile_trees(trees), held)
    np.testing.assert_allclose(shares, model.predict_proba(held), atol=1e-6)


@pytest.mark.parametrize("name", REGRESSORS)
def test_compile_trees__regressor__is_within_float32(name: str) -> None:
    make, read = REGRESSORS[name]
    rows, values, held, _ = split(*load_diabetes(return_X_y=True))
    model = make().fit(rows, values)

    got = answers(compile_trees(read(model)), held)[:, 0]

    np.testing.assert_allclose(got, model.predict(held), rtol=2e-6)


@pytest.mark.parametrize(
    "name", ["xgboost", "lightgbm", "random forest", "decision tree", "histogram boosting"]
)
def test_compile_trees__missing_values__go_the_librarys_way(name: str) -> None:
    make, read = CLASSIFIERS[name]
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = np.where(np.random.default_rng(0).random(rows.shape) < 0.2, np.nan, rows)
    rows, labels, held, _ = split(rows, labels)
    model = make().fit(rows, labels)

    got = answers(compile_trees(read(model), answer="class"), held)

    assert np.array_equal(got, model.predict(held))


@pytest.mark.parametrize("options", [{"zero_as_missing": True}, {"use_missing": False}])
def test_compile_trees__lightgbms_kinds_of_missing__are_kept(options: dict[str, bool]) -> None:
    rows, labels = load_digits(return_X_y=True)  # full of zeros
    rows = np.where(np.random.default_rng(0).random(rows.shape) < 0.1, np.nan, rows)
    rows, labels, held, _ = split(rows, labels)
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, **options)
    model.fit(rows, labels)

    got = answers(compile_trees(from_lightgbm(model), answer="class"), held)

    assert np.array_equal(got, model.predict(held))


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "decision tree", "histogram boosting"])
def test_compile_trees__rows_on_the_thresholds__same_class(name: str) -> None:
    """The split points themselves, and their float32 and float64 neighbours."""
    make, read = CLASSIFIERS[name]
    rows, labels, _, _ = split(*load_breast_cancer(return_X_y=True))
    model = make().fit(rows, labels)
    compiled = compile_trees(read(model), answer="class")
    code = compiled.inputs[0]
    rng = np.random.default_rng(0)
    held = rows[rng.integers(0, len(rows), 300)].copy()
    for row in held:
        for feature, limits in enumerate(code.thresholds.limits):
            if len(limits):
                limit = limits[rng.integers(len(limits))]
                near = [limit, np.nextafter(limit, 0), np.nextafter(limit, np.inf)]
                near += [float(np.nextafter(np.float32(limit), np.float32(d))) for d in (0, 1e9)]
                row[feature] = near[rng.integers(len(near))]

    assert np.array_equal(answers(compiled, held), model.predict(held))


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_from_xgboost__file__is_the_fitted_object(tmp_path: Path, suffix: str) -> None:
    rows, labels, _, _ = split(*load_digits(return_X_y=True))
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, labels)
    path = tmp_path / f"m.{suffix}"
    model.save_model(path)

    by_file, by_object = (compile_trees(from_xgboost(source)) for source in (path, model))

    assert by_file.program.model_root == by_object.program.model_root


def test_from_xgboost__early_stopping__uses_the_best_rounds() -> None:
    rows, labels, held, truth = split(*load_breast_cancer(return_X_y=True))
    model = xgboost.XGBClassifier(
        n_estimators=200, n_jobs=1, early_stopping_rounds=3, learning_rate=1.0
    )
    model.fit(rows, labels, eval_set=[(held, truth)], verbose=False)
    compiled = compile_trees(from_xgboost(model), answer="class")

    assert compiled.program.ops[0].result.cols == model.best_iteration + 1
    assert np.array_equal(answers(compiled, held), model.predict(held))


def test_from_lightgbm__file__is_the_fitted_object(tmp_path: Path) -> None:
    rows, labels, _, _ = split(*load_digits(return_X_y=True))
    model = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(rows, labels)
    path = tmp_path / "m.txt"
    model.booster_.save_model(path)

    by_file, by_object = (compile_trees(from_lightgbm(source)) for source in (path, model))

    assert by_file.program.model_root == by_object.program.model_root


def test_from_xgboost__other_json__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"learner": {"gradient_booster": []}}))

    with pytest.raises(WeightsInvalid, match="not XGBoost's JSON"):
        from_xgboost(path)


@pytest.mark.parametrize("share", [0, 1, 30, 50, 99])
def test_from_xgboost__ubjson_cut_short__is_refused(tmp_path: Path, share: int) -> None:
    rows, labels = load_breast_cancer(return_X_y=True)
    path = tmp_path / "m.ubj"
    xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(rows, labels).save_model(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 100])

    with pytest.raises(WeightsInvalid):
        from_xgboost(path)


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b"i\x01a[" * 100,
        b"[#l\x7f\xff\xff\xffT",
        b"[$d#L" + b"\x7f" + b"\xff" * 7,
        b"[" + b"[$Z#l\x00\x00\x10\x00" * 1024 + b" " * 4096 + b"]",
        b"?",
        b"Si\xff",
    ],
    ids=["deep", "count", "typed count", "bomb", "marker", "length"],
)
def test_ubjson__hostile__is_refused(data: bytes) -> None:
    with pytest.raises(WeightsInvalid):
        ubjson.loads(data)


def test_example__trees__answer_as_the_library() -> None:
    fitted = example.build("XGBoost", "cancer")

    assert np.array_equal(fitted.exact(), fitted.classes)


def test_from_lightgbm__other_text__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    path.write_text("a poem\nTree=0\nnum_leaves=2\n")

    with pytest.raises(WeightsInvalid, match="not LightGBM's text"):
        from_lightgbm(path)


def test_from_xgboost__linear_booster__is_refused() -> None:
    rows, labels = load_breast_cancer(return_X_y=True)
    model = xgboost.XGBClassifier(n_estimators=2, booster="gblinear", n_jobs=1).fit(rows, labels)

    with pytest.raises(ModelUnsupported, match="gblinear"):
        from_xgboost(model)


def test_from_sklearn__isolation_forest__is_refused() -> None:
    rows, _ = load_breast_cancer(return_X_y=True)

    with pytest.raises(ModelUnsupported, match="IsolationForest is not read") as caught:
        from_sklearn(ensemble.IsolationForest(n_estimators=2).fit(rows))

    assert "RandomForest" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"left": [1, 0, -1]}, {"right": [1, -1, -1]}, {"left": [3, -1, -1]},
        {"feature": [1, 0, 0]}, {"feature": [-1, 0, 0]}, {"threshold": [np.nan, 0, 0]},
        {"value": [0, np.inf, 0]}, {"value": [0.0]}, {"left": [1, 2, -1]},
    ],
    ids=["circle", "two ways", "outside", "feature", "negative", "nan", "inf", "short", "shared"],
)  # fmt: skip
def test_check__damaged_tree__is_refused(change: dict[str, list[float]]) -> None:
    whole = {"feature": [0] * 3, "threshold": [0.0] * 3, "left": [1, -1, -1], "right": [2, -1, -1],
             "missing_left": [False] * 3, "value": [0.0] * 3, **change}  # fmt: skip
    damaged = DecisionTree(**{name: np.array(values) for name, values in whole.items()})

    with pytest.raises(WeightsInvalid, match="tree 0 is damaged"):
        check(Ensemble((damaged,), (0.0,), 1, "float32", ("nan",)))


def chain(depth: int) -> DecisionTree:
    """Return a tree that is a list: left is a leaf at every level."""
    size = 2 * depth + 1
    inner = np.arange(size) % 2 == 0
    inner[-1] = False
    at = np.arange(size)
    return DecisionTree(
        feature=np.zeros(size, int), threshold=at.astype(float),
        left=np.where(inner, at + 1, -1), right=np.where(inner, at + 2, -1),
        missing_left=np.zeros(size, bool), value=at.astype(float),
    )  # fmt: skip


def test_compile_trees__too_deep__is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="65 levels"):
        compile_trees(Ensemble((chain(65),), (0.0,), 1, "float32", ("nan",)))


def test_compile_trees__as_deep_as_allowed__finds_every_leaf() -> None:
    compiled = compile_trees(Ensemble((chain(64),), (0.0,), 1, "float32", ("nan",)))

    got = [float(compiled.run({"features": [x - 0.5]})[0, 0]) for x in range(0, 130, 2)]

    assert got == [1.0 + 2 * k for k in range(64)] + [128.0]


def test_compile_trees__class_of_a_regression__is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="no classes"):
        compile_trees(Ensemble((chain(2),), (0.0,), 1, "float32", ("nan",)), answer="class")


def test_compile_trees__more_trees_than_a_row_holds__are_summed_in_steps() -> None:
    small = chain(1)
    compiled = compile_trees(Ensemble((small,) * 5000, (0.0,), 1, "float32", ("nan",)))

    assert [op.opcode.name for op in compiled.program.ops].count("SUM") == 2
    assert compiled.program.ops[0].result.cols == 3 * 2048  # filled up with empty trees
    assert compiled.run({"features": [5.0]})[0, 0] == pytest.approx(10_000.0)
