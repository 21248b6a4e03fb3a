"""Fitted scikit-learn trees, forests and gradient boosting as an ensemble: from the live object.

scikit-learn has no file format but pickle, so a published model is one of ours, or ONNX. Features
are float32 and compared `x <= threshold` with a float64 threshold. Source: sklearn/tree/_tree.pyx.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from oracle.exact.quantisation import Missing
from worker.errors import ModelUnsupported
from worker.exact.graph import Array
from worker.exact.trees.ensemble import DecisionTree, Ensemble, below

_SINGLE = ("DecisionTree", "ExtraTree")
_FORESTS = ("RandomForest", "ExtraTrees")
_BOOSTED = ("GradientBoosting",)


def from_sklearn(model: Any) -> Ensemble:
    """Read a fitted DecisionTree*, ExtraTree(s)*, RandomForest* or GradientBoosting*.

    Raises:
        ModelUnsupported: another estimator, several outputs, an `init` estimator that is a model.
    """
    kind = type(model).__name__.removesuffix("Classifier").removesuffix("Regressor")
    if getattr(model, "n_outputs_", 1) != 1:
        raise ModelUnsupported("several outputs", hint="train one model for each")
    classes = tuple(str(label) for label in getattr(model, "classes_", ()))
    if kind in _BOOSTED:
        return _boosted(model, classes)
    if kind in _SINGLE:
        members = [model]
    elif kind in _FORESTS:
        members = list(model.estimators_)
    else:
        raise ModelUnsupported(
            f"{type(model).__name__} is not read",
            hint="use one of " + ", ".join((*_SINGLE, *_FORESTS, *_BOOSTED)),
        )
    outputs = max(1, len(classes))
    trees = tuple(
        tree for member in members for tree in _by_output(member.tree_, outputs, bool(classes))
    )
    return _ensemble(model, trees, (0.0,) * outputs, classes, 1 / len(members))


def _boosted(model: Any, classes: tuple[str, ...]) -> Ensemble:
    start = getattr(model, "init_", "zero")
    if start != "zero" and not type(start).__name__.startswith("Dummy"):
        raise ModelUnsupported("its init estimator is a model", hint="train with init=None")
    trees = tuple(
        _tree(member.tree_, member.tree_.value[:, 0, 0] * model.learning_rate, output)
        for stage in model.estimators_
        for output, member in enumerate(stage)
    )
    zero = np.zeros((1, model.n_features_in_))
    whole = np.ravel((model.decision_function if classes else model.predict)(zero))
    grown = sum(
        np.array([member.predict(zero)[0] for member in stage]) for stage in model.estimators_
    )
    base = tuple(float(value) for value in whole - model.learning_rate * grown)
    return _ensemble(model, trees, base, classes, 1.0)


def _ensemble(
    model: Any, trees: tuple[DecisionTree, ...], base: tuple[float, ...], classes: tuple[str, ...],
    factor: float,
) -> Ensemble:  # fmt: skip
    features = int(model.n_features_in_)
    nan: Missing = "nan"
    missing = (nan,) * features
    return Ensemble(trees, base, features, "float32", missing, factor=factor, classes=classes)


def _by_output(tree: Any, outputs: int, shares: bool) -> Iterator[DecisionTree]:
    """Yield one tree for each class: a leaf holds the share of each."""
    values = tree.value[:, 0, :]
    if shares:
        values = values / values.sum(1, keepdims=True)
    for output in range(outputs):
        yield _tree(tree, values[:, output], output)


def _tree(tree: Any, values: Array, output: int) -> DecisionTree:
    return DecisionTree(
        feature=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=below(tree.threshold),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        missing_left=np.asarray(tree.missing_go_to_left).astype(bool),
        value=np.asarray(values, np.float64),
        output=output,
    )
