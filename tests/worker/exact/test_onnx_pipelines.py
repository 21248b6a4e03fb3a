"""Pipelines that skl2onnx writes: linear models and support vector machines, behind scalers."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from sklearn.datasets import (  # type: ignore[import-untyped]
    load_breast_cancer,
    load_diabetes,
    load_wine,
)
from sklearn.linear_model import (  # type: ignore[import-untyped]
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import (  # type: ignore[import-untyped]
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR  # type: ignore[import-untyped]

from tests.worker.exact.agreement import require_identical, require_judged
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.graph import OperatorUnsupported, Sample
from worker.exact.report import measure_graph

SETS = {"tumours": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}
CLASSIFIERS: dict[str, tuple[str, Any]] = {
    "logistic, two classes": ("tumours", LogisticRegression()),
    "robust scaler, logistic": ("wine", make_pipeline(RobustScaler(), LogisticRegression())),
    "lengths of 1, logistic": ("wine", make_pipeline(Normalizer(), LogisticRegression(C=100))),
    "sums of 1, RBF": ("wine", make_pipeline(Normalizer("l1"), SVC(C=100))),
    "range, RBF": ("wine", make_pipeline(MinMaxScaler(), SVC())),
    "linear machine": ("tumours", SVC(kernel="linear")),
    "RBF, two classes": ("tumours", SVC()),
    "RBF, three classes": ("wine", SVC()),
    "polynomial": ("wine", SVC(kernel="poly", degree=2)),
    "sigmoid": ("wine", SVC(kernel="sigmoid")),
    "LinearSVC": ("wine", LinearSVC(random_state=0)),
    "ridge": ("tumours", RidgeClassifier()),
    "perceptron": ("tumours", Perceptron(random_state=0)),
}
REGRESSORS: dict[str, Any] = {
    "RBF": SVR(C=100), "linear machine": LinearSVR(random_state=0), "ridge": Ridge(),
}  # fmt: skip


def written(model: Any, data: str) -> tuple[onnx.ModelProto, list[Sample], list[Sample]]:
    """Return the file of a fitted model, the rows it was fitted to, and others."""
    x, y = SETS[data](return_X_y=True)
    x = StandardScaler().fit_transform(x).astype(np.float32)
    test = np.arange(len(y)) % 3 == 0
    model.fit(x[~test], y[~test])
    try:
        made = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=18)
    except NameError:  # an estimator without this option
        made = to_onnx(model, x[:1], target_opset=18)
    rows = [[{"X": row[None]} for row in part] for part in (x[~test], x[test])]
    return made, rows[0][:200], rows[1]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_from_onnx__classifier__chooses_the_same_classes(name: str) -> None:
    data, model = CLASSIFIERS[name]
    file, samples, test = written(model, data)

    graph = from_onnx(file, samples[0])
    program = compile_graph(graph, samples)

    assert graph.original is not None
    label = graph.original.outputs[0]
    wanted = [int(graph.original.values(row)[label].ravel()[0]) for row in test]
    chosen = [round(float(program.answers(row)[label].ravel()[0])) for row in test]
    assert np.mean(np.equal(chosen, wanted)) > 0.98
    assert measure_graph(program, graph, test).accuracy.mean_cosine > 0.99
    require_identical(program, samples[0])
    if "RBF, three" in name or "lengths" in name:
        require_judged(program, samples[0])


@pytest.mark.parametrize("name", REGRESSORS)
def test_from_onnx__regressor__explains_the_original(name: str) -> None:
    file, samples, test = written(REGRESSORS[name], "diabetes")

    graph = from_onnx(file, samples[0])
    program = compile_graph(graph, samples)

    assert measure_graph(program, graph, test).accuracy.explained > 0.999
    require_identical(program, samples[0])


def machine(**attributes: Any) -> onnx.ModelProto:
    fields = {
        "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0], "support_vectors": [0.0, 1.0],
        "coefficients": [1.0, -1.0], "rho": [0.1], "n_supports": 2, **attributes,
    }  # fmt: skip
    node = helper.make_node("SVMRegressor", ["X"], ["y"], domain="ai.onnx.ml", **fields)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("X", 1, [1, 1])],
        [helper.make_tensor_value_info("y", 1, [1, 1])],
    )  # fmt: skip
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [({"one_class": 1}, "or one class"), ({"post_transform": "PROBIT"}, "post_transform PROBIT")],
)
def test_from_onnx__machine_of_another_kind__refused(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorUnsupported, match=f"SVMRegressor at node y: .*{said}"):
        from_onnx(machine(**attributes), {"X": np.ones((1, 1), "f4")})


def test_from_onnx__probabilities_of_pairs__refused_with_what_compiles() -> None:
    file, samples, _ = written(SVC(probability=True, random_state=0), "wine")

    with pytest.raises(OperatorUnsupported, match="couples probabilities") as caught:
        from_onnx(file, samples[0])

    assert "probability=False" in caught.value.hint


def test_from_onnx__greatest_number_is_1__refused() -> None:
    file, samples, _ = written(make_pipeline(Normalizer("max"), LogisticRegression()), "wine")

    with pytest.raises(OperatorUnsupported, match="norm MAX"):
        from_onnx(file, samples[0])
