"""Real files of scikit-learn, XGBoost and LightGBM: the original against what is served.

Identical classes and numbers within 1e-5 on a whole test set. The conversions run in this process;
`test_frame.py` runs them where owners do, in one of its own.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
import skops.io
import xgboost
from sklearn import (
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from tests.worker.importing.originals import save, served, split
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.importing import scikit_learn, trees
from worker.importing.converted import Conversion
from worker.importing.held import ConversionWrong

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries about each other
CLOSE = 1e-5
Make = Callable[[], Any]


def converted(model: Any, folder: Path, **options: Any) -> Path:
    kind, path = save(model, folder)
    reader = scikit_learn if kind == "scikit-learn" else trees
    (folder / "model.onnx").write_bytes(
        reader.convert(Conversion(kind, str(path), **options)).model
    )
    return folder / "model.onnx"


def xgb(kind: str = "Classifier", **options: Any) -> Make:
    made = getattr(xgboost, f"XGB{kind}")
    return lambda: made(**{"n_estimators": 12, "max_depth": 4, "n_jobs": 1, **options})


def lgb(kind: str = "Classifier", **options: Any) -> Make:
    made = getattr(lightgbm, f"LGBM{kind}")
    return lambda: made(**{"n_estimators": 12, "n_jobs": 1, "verbose": -1, **options})


CLASSIFIERS: Mapping[str, Make] = {
    "logistic regression": lambda: make_pipeline(
        StandardScaler(), linear_model.LogisticRegression(max_iter=200)
    ),
    "SVM": lambda: make_pipeline(StandardScaler(), svm.SVC()),
    "linear SVM": lambda: make_pipeline(StandardScaler(), svm.LinearSVC()),
    "SGD": lambda: make_pipeline(StandardScaler(), linear_model.SGDClassifier(random_state=0)),
    "nearest neighbours": lambda: neighbors.KNeighborsClassifier(5),
    "forest": lambda: ensemble.RandomForestClassifier(20, random_state=0),
    "scaled forest": lambda: make_pipeline(
        MinMaxScaler(), ensemble.RandomForestClassifier(10, random_state=0)
    ),
    "tree": lambda: tree.DecisionTreeClassifier(random_state=0),
    "gradient boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=5),
    "histogram boosting": lambda: ensemble.HistGradientBoostingClassifier(max_iter=6),
    "AdaBoost": lambda: ensemble.AdaBoostClassifier(n_estimators=5, random_state=0),
    "Gaussian naive Bayes": lambda: naive_bayes.GaussianNB(var_smoothing=1e-2),
    "multinomial naive Bayes": naive_bayes.MultinomialNB,
    "Bernoulli naive Bayes": naive_bayes.BernoulliNB,
    "discriminant analysis": discriminant_analysis.LinearDiscriminantAnalysis,
    "perceptron": lambda: make_pipeline(
        MinMaxScaler(), neural_network.MLPClassifier((32,), max_iter=30, random_state=0)
    ),
    "xgboost": xgb(), "xgboost dart": xgb(booster="dart", rate_drop=0.3),
    "xgboost forest": xgb("RFClassifier"),
    "lightgbm": lgb(), "lightgbm dart": lgb(boosting_type="dart"),
    "lightgbm forest": lgb(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6),
    "lightgbm ova": lgb(objective="multiclassova", num_class=10),
}  # fmt: skip
TEN_CLASSES = {"lightgbm ova", "discriminant analysis"}
CASES = {
    **{f"{name}-digits": (name, load_digits) for name in CLASSIFIERS},
    **{f"{name}-cancer": (name, load_breast_cancer) for name in CLASSIFIERS.keys() - TEN_CLASSES},
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_convert__classifier__same_classes_and_numbers(case: str, tmp_path: Path) -> None:
    name, load = CASES[case]
    rows, labels, held, _ = split(load)
    held = held.astype(np.float32).astype(np.float64)  # in either, the same numbers
    model = CLASSIFIERS[name]().fit(rows, labels)

    answers = served(converted(model, tmp_path), {"features": held})

    assert np.array_equal(answers["class"], model.predict(held))
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(
            answers["probabilities"], model.predict_proba(held), atol=CLOSE, rtol=0
        )
    else:
        wanted = model.decision_function(held)
        wanted = wanted if wanted.ndim == 2 else np.stack([-wanted, wanted], 1)
        np.testing.assert_allclose(answers["scores"], wanted, atol=CLOSE, rtol=CLOSE)


REGRESSORS: Mapping[str, Make] = {
    "linear": linear_model.LinearRegression,
    "support vectors": lambda: make_pipeline(StandardScaler(), svm.SVR()),
    "nearest neighbours": neighbors.KNeighborsRegressor,
    "perceptron": lambda: neural_network.MLPRegressor(
        hidden_layer_sizes=(8,), max_iter=20, random_state=0
    ),
    "forest": lambda: ensemble.RandomForestRegressor(10, random_state=0),
    "histogram boosting, gamma": lambda: ensemble.HistGradientBoostingRegressor(
        max_iter=9, loss="gamma"
    ),
    **{
        f"xgboost {objective}": xgb("Regressor", objective=objective)
        for objective in ("reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie")
    },
    **{
        f"lightgbm {objective}": lgb("Regressor", objective=objective)
        for objective in ("regression", "huber", "poisson", "tweedie")
    },
    "lightgbm sqrt": lgb("Regressor", reg_sqrt=True),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_convert__regressor__same_values(name: str, tmp_path: Path) -> None:
    rows, values, held, _ = split(load_diabetes)
    held = held.astype(np.float32)
    model = REGRESSORS[name]().fit(rows, values)

    answers = served(converted(model, tmp_path), {"features": held})

    np.testing.assert_allclose(answers["value"][:, 0], model.predict(held), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(
    ("kind", "load"),
    [(neighbors.KNeighborsClassifier, load_digits), (neighbors.KNeighborsRegressor, load_diabetes)],
)
def test_convert__neighbours_without_a_search_tree__one_product_and_the_same_answers(
    kind: Any, load: Any, tmp_path: Path
) -> None:
    rows, wanted, held, _ = split(load)
    model = kind(5, algorithm="brute").fit(rows, wanted)

    path = converted(model, tmp_path)
    answers = served(path, {"features": held})

    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("Gemm") == 1
    assert "Scan" not in operators
    if "class" in answers:
        np.testing.assert_array_equal(model.classes_[answers["class"]], model.predict(held))
    else:
        np.testing.assert_allclose(answers["value"][:, 0], model.predict(held), rtol=CLOSE)


def test_convert__forest__asks_each_tree_once_for_all_classes(tmp_path: Path) -> None:
    rows, labels, _, _ = split(load_digits)
    model = ensemble.RandomForestClassifier(3, random_state=0).fit(rows, labels)

    (node,) = (
        node
        for node in onnx.load(converted(model, tmp_path)).graph.node
        if node.op_type == "TreeEnsembleRegressor"
    )

    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert len(set(given["nodes_treeids"])) == 3


def test_convert__regressor_of_several_outputs__same_values(tmp_path: Path) -> None:
    rows, values, held, _ = split(load_diabetes)
    model = linear_model.LinearRegression().fit(rows, np.stack([values, -values], 1))

    answers = served(converted(model, tmp_path), {"features": held})

    np.testing.assert_allclose(answers["value"], model.predict(held), rtol=CLOSE, atol=CLOSE)


def test_convert__classes_that_are_words__are_places_among_labels(tmp_path: Path) -> None:
    rows, labels, held, _ = split(load_breast_cancer)
    words = np.array(["malignant", "benign"])
    model = make_pipeline(StandardScaler(), svm.SVC()).fit(rows, words[labels])
    kind, path = save(model, tmp_path)

    made = scikit_learn.convert(Conversion(kind, str(path)))

    (tmp_path / "m.onnx").write_bytes(made.model)
    places = served(tmp_path / "m.onnx", {"features": held})["class"]
    assert made.labels == ("benign", "malignant")
    assert [made.labels[place] for place in places] == list(model.predict(held))


def test_convert__xgboost_trained_with_missing__zeros_go_the_missing_way(tmp_path: Path) -> None:
    rows, labels, held, _ = split(load_digits)
    model = xgboost.XGBClassifier(n_estimators=8, n_jobs=1, missing=0.0).fit(rows, labels)

    answers = served(converted(model, tmp_path, missing=0.0), {"features": held})

    assert np.array_equal(answers["class"], model.predict(held))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(held), atol=CLOSE)


def test_convert__lightgbm_that_takes_zero_as_missing__same_numbers(tmp_path: Path) -> None:
    rows, labels, held, _ = split(load_digits)
    model = lgb(zero_as_missing=True)().fit(rows, labels)

    answers = served(converted(model, tmp_path), {"features": held})

    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(held), atol=CLOSE)


@pytest.mark.parametrize("options", [{}, {"use_missing": False}])
def test_convert__lightgbm_trained_without_missing__takes_zero_for_it(
    options: Mapping[str, Any], tmp_path: Path
) -> None:
    rows, labels, held, _ = split(load_breast_cancer)
    centre = rows.mean(0)
    model = lgb(**options)().fit(rows - centre, labels)
    holes = np.where(np.random.default_rng(0).random(held.shape) < 0.5, np.nan, held - centre)

    answers = served(converted(model, tmp_path), {"features": holes})

    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(holes), atol=CLOSE)


def test_convert__early_stopping__best_rounds_of_a_classifier_all_of_a_booster(
    tmp_path: Path,
) -> None:
    rows, labels, held, truth = split(load_breast_cancer)
    model = xgboost.XGBClassifier(
        n_estimators=40, learning_rate=0.9, early_stopping_rounds=3, n_jobs=1
    ).fit(rows, labels, eval_set=[(held, truth)], verbose=False)
    held = held.astype(np.float32)

    answers = served(converted(model, tmp_path), {"features": held})
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(held), atol=CLOSE)


# ── Categories ──────────────────────────────────────────────────────────────────────────────────
def coded() -> tuple[Any, Any]:
    dice = np.random.default_rng(0)
    rows = np.stack([dice.integers(0, 4, 300), dice.integers(0, 3, 300)], 1).astype(float)
    return rows, (rows[:, 0] == 2) | (rows[:, 1] == 1)


def test_convert__encoder_with_a_value_for_others__answers_what_it_never_saw_as_the_original(
    tmp_path: Path,
) -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(encoder, linear_model.LogisticRegression()).fit(*coded())
    never = np.array([[9.0, 1.0], [2.0, -3.0], [0.5, 0.0], [2.0, 1.0]])

    answers = served(converted(model, tmp_path), {"features": never})

    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(never), atol=CLOSE)


@pytest.mark.parametrize("encoder", [OneHotEncoder, OrdinalEncoder])
@pytest.mark.parametrize(
    "within", [lambda one: one, lambda one: make_column_transformer((one, [0]))]
)
def test_convert__encoder_that_refuses_what_it_never_saw__refused_as_onnx_would_answer(
    encoder: Any, within: Any, tmp_path: Path
) -> None:
    model = make_pipeline(within(encoder()), linear_model.LogisticRegression()).fit(*coded())
    kind, path = save(model, tmp_path)
    with pytest.raises(ModelUnsupported, match="refuses categories that it never saw") as caught:
        scikit_learn.convert(Conversion(kind, str(path)))
    assert "use_encoded_value" in caught.value.hint


def test_convert__one_hot_that_takes_fractions_for_whole_numbers__refused(tmp_path: Path) -> None:
    encoder = OneHotEncoder(handle_unknown="ignore")
    kind, path = save(
        make_pipeline(encoder, linear_model.LogisticRegression()).fit(*coded()), tmp_path
    )
    with pytest.raises(ConversionWrong, match="the original answers"):
        scikit_learn.convert(Conversion(kind, str(path)))


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "model",
    [
        linear_model.SGDClassifier(loss="modified_huber", random_state=0),
        linear_model.SGDClassifier(loss="log_loss", random_state=0),
        OneVsRestClassifier(linear_model.LogisticRegression()),
    ],
    ids=["modified Huber", "log loss", "one against the rest"],
)
def test_convert__classes_of_decisions_behind_equal_probabilities__refused(
    model: Any, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).standard_normal((300, 4))
    model.fit(rows, np.digitize(rows[:, 0] + rows[:, 1], [-0.5, 0.5]))
    with pytest.raises(ConversionWrong):
        converted(model, tmp_path)


def test_convert__normaliser__leaves_a_row_of_zeros_as_it_is(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((100, 4))
    model = make_pipeline(Normalizer(), linear_model.LinearRegression()).fit(rows, rows[:, 0])
    zeros = np.zeros((1, 4))
    found = served(converted(model, tmp_path), {"features": zeros})["value"]
    np.testing.assert_allclose(found.ravel(), model.predict(zeros), atol=CLOSE)


def test_convert__tree_of_one_class__is_no_second_class(tmp_path: Path) -> None:
    rows = np.eye(3)
    model = tree.DecisionTreeClassifier().fit(rows, np.zeros(3, int))
    found = served(converted(model, tmp_path), {"features": rows})
    assert found["class"].tolist() == [0, 0, 0]
    assert found["probabilities"].tolist() == [[1.0]] * 3


def test_convert__neighbours_by_distance_that_onnx_breaks_ties_of__refused(tmp_path: Path) -> None:
    rows, labels, held, _ = split(load_digits)
    model = neighbors.KNeighborsClassifier(5, weights="distance").fit(rows, labels)
    np.savez(tmp_path / "samples.npz", features=np.concatenate([rows[:200], held]))
    kind, path = save(model, tmp_path)

    with pytest.raises(ConversionWrong, match="the original answers"):
        scikit_learn.convert(Conversion(kind, str(path), str(tmp_path / "samples.npz")))


def test_convert__discriminant_analysis_of_two_classes__refused_as_its_converter_is_wrong(
    tmp_path: Path,
) -> None:
    rows, labels, _, _ = split(load_breast_cancer)
    kind, path = save(
        discriminant_analysis.LinearDiscriminantAnalysis().fit(rows, labels), tmp_path
    )
    with pytest.raises(ConversionWrong, match="the original answers"):
        scikit_learn.convert(Conversion(kind, str(path)))


class Own:
    """A class that only its author has."""


def test_convert__skops_with_a_class_of_its_own__is_a_pickle_by_another_name(
    tmp_path: Path,
) -> None:
    skops.io.dump(Own(), tmp_path / "model.skops")
    with pytest.raises(PickleRefused, match="might run code"):
        scikit_learn.convert(Conversion("scikit-learn", str(tmp_path / "model.skops")))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (ensemble.IsolationForest(n_estimators=5), "not converted"),
        (ensemble.VotingClassifier([("one", linear_model.LogisticRegression())]), "no form"),
        (tree.DecisionTreeClassifier(), "several outputs"),
    ],
    ids=["outliers", "votes", "two labels"],
)
def test_convert__estimator_without_a_form__says_which(
    model: Any, says: str, tmp_path: Path
) -> None:
    rows, labels, _, _ = split(load_breast_cancer)
    truth = np.stack([labels, labels], 1) if says == "several outputs" else labels
    kind, path = save(model.fit(rows, truth), tmp_path)
    with pytest.raises(ModelUnsupported, match=says):
        scikit_learn.convert(Conversion(kind, str(path)))


def test_convert__samples_of_another_model__says_what_is_wanted(tmp_path: Path) -> None:
    rows, labels, _, _ = split(load_breast_cancer)
    kind, path = save(xgb()().fit(rows, labels), tmp_path)
    np.savez(tmp_path / "samples.npz", pixels=rows)
    with pytest.raises(ModelUnsupported, match="not of this model") as caught:
        trees.convert(Conversion(kind, str(path), str(tmp_path / "samples.npz")))
    assert "features" in caught.value.hint


def test_convert__lightgbm_with_a_false_number_of_leaves__refused_before_the_library(
    tmp_path: Path,
) -> None:
    rows, labels, _, _ = split(load_breast_cancer)
    kind, path = save(lgb()().fit(rows, labels), tmp_path)
    path.write_text(path.read_text().replace("num_leaves=", "num_leaves=99", 1))
    with pytest.raises(WeightsInvalid, match="num_leaves"):
        trees.convert(Conversion(kind, str(path)))
