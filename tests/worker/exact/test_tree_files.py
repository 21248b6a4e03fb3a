"""Files of trees through the one importer: what is served, against the library on held-out rows."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
import skops.io
import xgboost
from sklearn import ensemble, linear_model, tree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from oracle.errors import InputInvalid
from oracle.protocol.manifest import MAX_BYTES
from oracle.services import folders
from oracle.services.model_files import compiling
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.exact import __main__ as compiler
from worker.exact.original import ReadingWrong
from worker.exact.trees import importer
from worker.exact.trees.compile import compile_trees
from worker.exact.trees.files import TreeModel
from worker.importing.tree_graph import as_onnx

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Make = Callable[[], Any]
ROWS = {"cancer": load_breast_cancer, "digits": load_digits, "diabetes": load_diabetes}
CLOSE = 1e-5  # of margins and probabilities; values are told in float32


def split(data: str) -> tuple[Any, Any, Any, Any]:
    rows, labels = ROWS[data](return_X_y=True)
    held = np.arange(len(labels)) % 4 == 0
    return rows[~held], labels[~held], rows[held], labels[held]


def save(model: Any, folder: Path) -> Path:
    """Save a fitted model as its own library does."""
    if isinstance(model, xgboost.XGBModel | xgboost.Booster):
        path = folder / "model.ubj"
        model.save_model(path)
    elif isinstance(model, lightgbm.LGBMModel):
        path = folder / "model.txt"
        model.booster_.save_model(path)
    else:
        path = folder / "model.skops"
        skops.io.dump(model, path)
    return path


def served(path: Path, rows: Any, **options: Any) -> tuple[Any, Any]:
    """Return answers as they are served, and the compiled program, held to the library."""
    missing = options.pop("missing", None)
    model = importer.read(path, missing)
    compiled, _ = importer.compile_model(model, path.stat().st_size, rows=rows, **options)
    return importer.run(compiled, rows), compiled


def xgb(kind: str = "Classifier", **options: Any) -> Make:
    made = getattr(xgboost, f"XGB{kind}")
    return lambda: made(**{"n_estimators": 12, "max_depth": 4, "n_jobs": 1, **options})


def lgb(kind: str = "Classifier", **options: Any) -> Make:
    made = getattr(lightgbm, f"LGBM{kind}")
    return lambda: made(**{"n_estimators": 12, "n_jobs": 1, "verbose": -1, **options})


CLASSIFIERS: Mapping[str, Make] = {
    "xgboost": xgb(), "xgboost dart": xgb(booster="dart", rate_drop=0.3),
    "xgboost forest": xgb("RFClassifier"), "xgboost base score": xgb(base_score=0.2),
    "lightgbm": lgb(), "lightgbm dart": lgb(boosting_type="dart"),
    "lightgbm forest": lgb(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6),
    "lightgbm ova": lgb(objective="multiclassova", num_class=10),
    "random forest": lambda: ensemble.RandomForestClassifier(20, random_state=0),
    "extra trees": lambda: ensemble.ExtraTreesClassifier(10, max_depth=7, random_state=0),
    "decision tree": lambda: tree.DecisionTreeClassifier(random_state=0),
    "gradient boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=5),
    "exponential loss": lambda: ensemble.GradientBoostingClassifier(
        n_estimators=5, loss="exponential"
    ),
    "histogram boosting": lambda: ensemble.HistGradientBoostingClassifier(max_iter=6),
}  # fmt: skip
ONE_SET = {"lightgbm ova": "digits", "exponential loss": "cancer"}


@pytest.mark.parametrize("data", ["cancer", "digits"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_compile_model__classifiers_file__same_classes_and_shares(
    name: str, data: str, tmp_path: Path
) -> None:
    if ONE_SET.get(name, data) != data:
        return
    rows, labels, held, _ = split(data)
    model = CLASSIFIERS[name]().fit(rows, labels)
    path = save(model, tmp_path)

    shares, compiled = served(path, held)
    classes, _ = served(path, held, answer="class")

    assert (compiled.outputs[0].name, compiled.outputs[0].labels) == (
        "probabilities", tuple(str(label) for label in range(len(set(labels)))),
    )  # fmt: skip
    assert np.array_equal(classes[:, 0], model.predict(held))
    np.testing.assert_allclose(shares, model.predict_proba(held), atol=CLOSE)


REGRESSORS: Mapping[str, Make] = {
    **{
        f"xgboost {objective}": xgb("Regressor", objective=objective)
        for objective in (
            "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "count:poisson",
            "reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:cox", "rank:pairwise",
        )
        if not objective.startswith("rank")
    },
    "xgboost quantiles": xgb("Regressor", objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]),
    **{
        f"lightgbm {objective}": lgb("Regressor", objective=objective)
        for objective in ("regression", "huber", "fair", "mape", "poisson", "gamma", "tweedie")
    },
    "lightgbm sqrt": lgb("Regressor", reg_sqrt=True),
    "random forest": lambda: ensemble.RandomForestRegressor(10, random_state=0),
    "extra trees": lambda: ensemble.ExtraTreesRegressor(10, random_state=0),
    "gradient boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=9, loss="huber"),
    "histogram boosting": lambda: ensemble.HistGradientBoostingRegressor(max_iter=9),
    "histogram boosting, gamma": lambda: ensemble.HistGradientBoostingRegressor(
        max_iter=9, loss="gamma"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
def test_compile_model__regressors_file__same_values(name: str, tmp_path: Path) -> None:
    rows, values, held, _ = split("diabetes")
    model = REGRESSORS[name]().fit(rows, values)

    got, compiled = served(save(model, tmp_path), held)

    wanted = model.predict(held).reshape(len(held), -1)
    assert compiled.outputs[0].name == "value"
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=CLOSE)


def test_compile_model__regressor_of_several_outputs__same_values(tmp_path: Path) -> None:
    rows, values, held, _ = split("diabetes")
    model = ensemble.RandomForestRegressor(7, random_state=0).fit(rows, np.c_[values, -values])

    got, _ = served(save(model, tmp_path), held)

    np.testing.assert_allclose(got, model.predict(held), rtol=2e-6)


@pytest.mark.parametrize("value", [0.0, -999.0, 0.1])
def test_compile_model__xgboosts_missing__is_honoured(value: float, tmp_path: Path) -> None:
    rows, labels, held, _ = split("digits")  # full of zeros
    if value:
        rows, held = (np.where(some == 0, np.float32(value), some) for some in (rows, held))
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1, missing=value).fit(rows, labels)

    got, _ = served(save(model, tmp_path), held, missing=value)

    np.testing.assert_allclose(got, model.predict_proba(held), atol=CLOSE)


@pytest.mark.parametrize("options", [{"zero_as_missing": True}, {"use_missing": False}])
def test_compile_model__lightgbms_missing__is_honoured(
    options: dict[str, bool], tmp_path: Path
) -> None:
    rows, labels, held, _ = split("digits")
    held = np.where(np.random.default_rng(0).random(held.shape) < 0.1, np.nan, held)
    model = lgb(**options)().fit(rows, labels)

    got, _ = served(save(model, tmp_path), held)

    np.testing.assert_allclose(got, model.predict_proba(held), atol=CLOSE)


def test_compile_model__logitraw__is_named_a_margin(tmp_path: Path) -> None:
    rows, labels, held, _ = split("cancer")
    model = xgb(objective="binary:logitraw")().fit(rows, labels)

    got, compiled = served(save(model, tmp_path), held)

    assert (compiled.outputs[0].name, compiled.outputs[0].meaning) == ("margin", "scores")
    wanted = model.predict(held, output_margin=True)
    np.testing.assert_allclose(got[:, 0], wanted, atol=CLOSE)


def test_compile_model__hinge__answers_the_class(tmp_path: Path) -> None:
    rows, labels, held, _ = split("cancer")
    booster = xgboost.train({"objective": "binary:hinge"}, xgboost.DMatrix(rows, labels), 5)

    got, compiled = served(save(booster, tmp_path), held)

    assert compiled.outputs[0].name == "class"
    assert np.array_equal(got[:, 0], booster.predict(xgboost.DMatrix(held)))

    model = onnx.load_from_string(as_onnx(importer.read(tmp_path / "model.ubj").ensemble))
    assert [output.name for output in model.graph.output] == ["class"]
    assert [name for node in model.graph.node for name in node.output].count("class") == 1


@pytest.mark.parametrize("native", [True, False])
def test_compile_model__early_stopping__uses_the_rounds_that_predict_uses(
    native: bool, tmp_path: Path
) -> None:
    """XGBClassifier predicts with the best rounds, a Booster with all that it has."""
    rows, labels, held, truth = split("cancer")
    noise = np.random.default_rng(0).permutation(truth)
    if native:
        matrices = xgboost.DMatrix(rows, labels), xgboost.DMatrix(held, noise)
        model = xgboost.train(
            {"objective": "binary:logistic", "eta": 1.0}, matrices[0], 40,
            evals=[(matrices[1], "v")], early_stopping_rounds=5, verbose_eval=False,
        )  # fmt: skip
        wanted = model.predict(xgboost.DMatrix(held))
    else:
        model = xgb(early_stopping_rounds=5, learning_rate=1.0, n_estimators=40)()
        wanted = model.fit(rows, labels, eval_set=[(held, noise)], verbose=False).predict_proba(
            held
        )[:, 1]
    assert int(model.best_iteration) + 1 < 40

    got, compiled = served(save(model, tmp_path), held)

    used = model.num_boosted_rounds() if native else model.best_iteration + 1
    assert compiled.program.ops[0].result.cols == used
    np.testing.assert_allclose(got[:, 1], wanted, atol=CLOSE)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "random forest"])
def test_compile_model__margin__is_what_comes_before_the_link(name: str, tmp_path: Path) -> None:
    rows, labels, held, _ = split("digits")
    model = CLASSIFIERS[name]().fit(rows, labels)
    path = save(model, tmp_path)

    got, compiled = served(path, held, answer="margin")

    assert (compiled.outputs[0].name, compiled.outputs[0].link) == ("margin", "identity")
    np.testing.assert_allclose(got, importer.read(path).original.margins(held), atol=CLOSE)


def test_compile_model__reading_that_differs__is_refused(tmp_path: Path) -> None:
    rows, labels, _, _ = split("cancer")
    model = importer.read(save(xgb()().fit(rows, labels), tmp_path))
    other = importer.read(save(xgb(max_depth=2)().fit(rows, labels), tmp_path))

    with pytest.raises(ReadingWrong, match="the library answers"):
        importer.compile_model(
            importer.TreeModel("xgboost", model.ensemble, other.original), 1, rows=rows
        )


# ── Files that are refused ──────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def lightgbm_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows, labels, _, _ = split("cancer")
    path = save(lgb(n_estimators=2)().fit(rows, labels), tmp_path_factory.mktemp("text"))
    return path.read_text()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("num_leaves=", "num_leaves=9"), ("left_child=", "left_child=99 "),
        ("left_child=1", "left_child=0"), ("split_feature=", "split_feature=-"),
        ("max_feature_idx=", "max_feature_idx=99999999"), ("tree_sizes=", "tree_sizes=1 "),
        ("leaf_value=", "leaf_value=nan "), ("Tree=1", "Tree=1\nTree=2"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=0"),
    ],
)  # fmt: skip
def test_read__lightgbm_text_that_lies__is_refused_before_the_library_sees_it(
    was: str, becomes: str, lightgbm_text: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.txt"
    path.write_text(lightgbm_text.replace(was, becomes, 1))

    with pytest.raises((WeightsInvalid, ModelUnsupported)):
        importer.read(path)


def test_read__skops_with_another_type__is_refused(tmp_path: Path) -> None:
    class Own(tree.DecisionTreeClassifier):  # type: ignore[misc]
        pass

    Own.__module__, Own.__qualname__ = "somebody.code", "Own"
    rows, labels, _, _ = split("cancer")
    path = tmp_path / "m.skops"
    skops.io.dump(Own().fit(rows, labels), path)

    with pytest.raises(PickleRefused, match=r"somebody\.code\.Own, which might run code"):
        importer.read(path)


def test_read__skops_that_unpacks_to_gigabytes__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "{}")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the size in the directory
    data[at : at + 4] = (2**31 + 1).to_bytes(4, "little")
    path.write_bytes(data)

    with pytest.raises(WeightsInvalid, match="unpacks to"):
        importer.read(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_read__no_skops_file__is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    path.write_bytes(content)

    with pytest.raises(WeightsInvalid, match="no skops file"):
        importer.read(path)


def test_read__skops_of_another_estimator__says_which_are_read(tmp_path: Path) -> None:
    rows, labels, _, _ = split("cancer")
    path = save(linear_model.RidgeClassifier().fit(rows, labels), tmp_path)

    with pytest.raises(ModelUnsupported, match="RidgeClassifier is not read") as caught:
        importer.read(path)

    assert "RandomForest" in caught.value.hint


def test_read__xgboost_child_that_leads_back__is_refused(tmp_path: Path) -> None:
    rows, labels, _, _ = split("cancer")
    path = tmp_path / "m.json"
    xgb(n_estimators=1)().fit(rows, labels).save_model(path)
    body = json.loads(path.read_text())
    body["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"][1] = 0
    path.write_text(json.dumps(body))

    with pytest.raises(WeightsInvalid, match="tree 0 is damaged"):
        importer.read(path)


# ── Folders ─────────────────────────────────────────────────────────────────────────────────────
def test_build__forest_of_500_trees__fits_a_manifest_and_needs_no_samples(tmp_path: Path) -> None:
    rows, labels, _, _ = split("digits")
    path = save(ensemble.RandomForestClassifier(500, random_state=0).fit(rows, labels), tmp_path)

    report = compiler.build(path, tmp_path / "out", None, lambda *_: None)

    manifest = folders.read(tmp_path / "out", lambda *_: None)
    assert report.accuracy.same_class == 1.0
    assert len(manifest.to_bytes()) < MAX_BYTES // 64  # its thresholds are in a file
    assert manifest.labels == tuple("0123456789")
    assert {entry.path for entry in manifest.files} >= {"thresholds.safetensors", "model.program"}
    assert report.proof_bytes < 64 * 1024  # one step fits a transaction


def test_build__model_json_beside_the_file__describes_it(tmp_path: Path) -> None:
    rows, labels, held, truth = split("cancer")
    path = save(xgb()().fit(rows, labels), tmp_path)
    about = {
        "name": "tumours", "license": "MIT", "labels": ["malign", "benign"], "files": ["model.ubj"],
        "runtime": {"format": "xgboost", "entry": "model.ubj"}, "inputs": [], "outputs": [],
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(about))
    np.savez(tmp_path / "samples.npz", features=held, labels=truth)

    for source in (path, tmp_path):
        report = compiler.build(source, tmp_path / "out", None, lambda *_: None, missing=0.0)
        manifest = folders.read(tmp_path / "out", lambda *_: None)

        assert (manifest.name, manifest.labels) == ("tumours", ("malign", "benign"))
        assert manifest.inputs[0].description.startswith("NaN and 0")
        assert report.accuracy.correct_exact == report.accuracy.correct_float > 0.9
        # Nothing was held out here: the owner may have given the rows of training
        assert f"on the owner's {len(held)} samples." in manifest.description
        assert f"on your {len(held)} samples; " in compiling.describe(report.to_json())


def test_build__labels_of_another_number__are_refused(tmp_path: Path) -> None:
    rows, labels, _, _ = split("cancer")
    save(xgb()().fit(rows, labels), tmp_path)
    about = {"name": "x", "runtime": {"format": "xgboost", "entry": "model.ubj"}, "inputs": [],
             "outputs": [], "labels": ["only"]}  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(about))

    with pytest.raises(InputInvalid, match="1 labels, the file 2 classes"):
        compiler.build(tmp_path, tmp_path / "out", None, lambda *_: None)


@pytest.fixture
def named(tmp_path: Path) -> TreeModel:
    """A model that knows the names of its columns."""
    rows, labels, _, _ = split("cancer")
    names = [f"column {k}" for k in range(rows.shape[1])]
    data = lightgbm.Dataset(rows, labels, feature_name=names)
    path = tmp_path / "m.txt"
    lightgbm.train({"objective": "binary", "verbose": -1}, data, 2).save_model(path)
    return importer.read(path)


def test_described__columns_in_another_order__are_refused(named: TreeModel) -> None:
    features = [{"name": name, "description": "of mine"} for name in named.ensemble.names]
    assert "features" not in importer.described(named, {"features": features})

    with pytest.raises(InputInvalid, match="another order") as caught:
        importer.described(named, {"features": features[::-1]})
    assert "column_0, column_1" in caught.value.hint


def test_describe__columns_with_names__are_features(named: TreeModel) -> None:
    said = importer.described(named, {})

    assert said["inputs"][0]["dtype"] == "F64"
    assert said["features"][0] == {"name": "column_0"}


def test_compile_trees__thresholds__are_kept_as_the_library_has_them(tmp_path: Path) -> None:
    rows, labels, _, _ = split("cancer")
    path = save(xgb()().fit(rows, labels), tmp_path)
    (code,) = compile_trees(importer.read(path).ensemble).inputs

    limits = np.concatenate(code.thresholds.limits)  # type: ignore[union-attr]
    assert np.array_equal(limits, limits.astype(np.float32))
