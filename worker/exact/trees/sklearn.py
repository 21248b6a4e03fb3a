"""scikit-learn's trees, forests and boosting as an ensemble: from a skops file or the live object.

A skops file is JSON and arrays; types beyond scikit-learn's own and the two below are refused, and
a pickle is never read. Trees compare float32 features `x <= threshold` with a float64 threshold;
histogram boosting compares float64 ones. Source: scikit-learn 1.9, sklearn/tree/_tree.pyx,
ensemble/_gb.py, ensemble/_hist_gradient_boosting/_predictor.pyx; skops 0.16, io/_audit.py.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact.quantisation import Link
from oracle.exact.ranks import Missing
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.ensemble import DecisionTree, Ensemble, below, check

MAX_UNPACKED = 2**31  # bytes of all files in a skops archive
_SINGLE = ("DecisionTree", "ExtraTree")
_FORESTS = ("RandomForest", "ExtraTrees")
_BOOSTED, _HISTOGRAM = "GradientBoosting", "HistGradientBoosting"
_LARGEST = np.finfo(np.float64).max
_READ = (*_SINGLE, *_FORESTS, _BOOSTED, _HISTOGRAM)
# Plain arrays in classes that skops leaves to whoever loads them
_TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # What histogram boosting with categories checks its rows by; it is stored, not called
    "functools.partial",
    "sklearn.utils.validation.check_array",
)


def load_skops(path: Path, also: tuple[str, ...] = ()) -> Any:
    """Return the estimator in a skops file.

    Args:
        also: further types that are trusted, where the process is confined.

    Raises:
        PickleRefused: a type that might run code. WeightsInvalid: no skops file, or one too large.
    """
    trusted = [*_TRUSTED, *also]
    import skops.io  # type: ignore[import-untyped]  # noqa: PLC0415 - only what the file needs

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise WeightsInvalid(f"{path.name} unpacks to {unpacked} bytes, above {MAX_UNPACKED}")
        unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
        if unknown:
            raise PickleRefused(
                f"{path.name} holds {', '.join(unknown)[:200]}, which might run code",
                hint="save scikit-learn's own estimator alone: skops.io.dump(model, 'm.skops')",
            )
        return skops.io.load(path, trusted=trusted)
    except (WeightsInvalid, PickleRefused):
        raise
    except Exception as error:  # whatever a damaged archive does to the library
        raise WeightsInvalid(
            f"{path.name} is no skops file: {error!r:.200}",
            hint="save it with skops.io.dump(model, 'm.skops')",
        ) from error


def from_sklearn(model: Any) -> Ensemble:
    """Read a fitted DecisionTree*, ExtraTree(s)*, RandomForest*, GradientBoosting* or Hist….

    Raises:
        ModelUnsupported: another estimator, a classifier of several outputs, categories that are
            words, an `init` estimator that is a model.
        WeightsInvalid: it is not fitted, or damaged.
    """
    name = type(model).__name__
    kind = name.removesuffix("Classifier").removesuffix("Regressor")
    if kind == name or kind not in _READ or not type(model).__module__.startswith("sklearn."):
        raise ModelUnsupported(f"{name} is not read", hint=f"use one of {', '.join(_READ)}")
    try:
        if kind == _HISTOGRAM:
            return check(_histogram(model))
        if kind == _BOOSTED:
            return check(_boosted(model))
        return check(_forest(model, [model] if kind in _SINGLE else list(model.estimators_)))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsInvalid(f"{name} is damaged or not fitted: {error!r:.200}") from error


class SklearnOriginal:
    """The estimator itself: what our reading of it is held to."""

    def __init__(self, model: Any) -> None:
        """Keep an estimator that `from_sklearn` has read."""
        self._model = model

    def margins(self, rows: Array) -> Array:
        """Return [rows, outputs] before the link; of a forest what it predicts."""
        model = self._model
        if hasattr(model, "decision_function"):
            found = model.decision_function(rows)
        elif hasattr(model, "_loss"):
            found = model._loss.link.link(np.asarray(model.predict(rows), np.float64))
        else:
            found = self.answers(rows)
            found = found[:, 1] if hasattr(model, "classes_") and found.shape[1] == 2 else found
        return np.asarray(found, np.float64).reshape(len(rows), -1)

    def answers(self, rows: Array) -> Array:
        """Return probabilities [rows, classes], or values [rows] or [rows, outputs]."""
        model = self._model
        found = model.predict_proba(rows) if hasattr(model, "classes_") else model.predict(rows)
        return np.asarray(found)


def _forest(model: Any, members: list[Any]) -> Ensemble:
    classes, outputs = _classes(model), int(model.n_outputs_)
    if classes and outputs != 1:
        raise ModelUnsupported("a classifier of several outputs", hint="train one for each")
    columns = len(classes) if len(classes) > 2 else outputs  # of two classes one share tells
    trees = tuple(
        tree
        for member in members
        for tree in (_by_class(member.tree_) if classes else _by_output(member.tree_))
    )
    link: Link = "two" if len(classes) == 2 else "identity"
    nan = members[0]._support_missing_values(np.zeros((1, 1)))
    return _ensemble(
        model, trees, (0.0,) * columns, factor=1 / len(members), classes=classes, link=link,
        cut=0.5 if link == "two" else 0.0, missing="nan" if nan else "refused",
    )  # fmt: skip


def _boosted(model: Any) -> Ensemble:
    start = model.init_
    if isinstance(start, str) is False and not type(start).__name__.startswith("Dummy"):
        raise ModelUnsupported("its init estimator is a model", hint="train with init=None")
    trees = tuple(
        _tree(member.tree_, member.tree_.value[:, 0, 0] * model.learning_rate, output)
        for stage in model.estimators_
        for output, member in enumerate(stage)
    )
    classes, loss = _classes(model), type(model._loss).__name__
    # `init_` alone answers it: no tree is walked before it was checked
    base = tuple(map(float, model._raw_predict_init(np.zeros((1, model.n_features_in_)))[0]))
    link: Link = ("logistic" if len(base) == 1 else "softmax") if classes else "identity"
    return _ensemble(
        model, trees, base, classes=classes, link=link, cut_in=True,
        slope=2.0 if loss == "ExponentialLoss" else 1.0, missing="refused",
    )  # fmt: skip


def _histogram(model: Any) -> Ensemble:
    columns, categories = _encoded(model)
    trees = tuple(
        _histogram_tree(member, output, columns, categories)
        for stage in model._predictors
        for output, member in enumerate(stage)
    )
    classes, base = _classes(model), tuple(map(float, np.ravel(model._baseline_prediction)))
    link: Link = "identity"
    if classes:
        link = "logistic" if len(base) == 1 else "softmax"
    elif type(model._loss.link).__name__ == "LogLink":
        link = "exp"
    return _ensemble(model, trees, base, classes=classes, link=link, precision="float64")


def _classes(model: Any) -> tuple[str, ...]:
    found = getattr(model, "classes_", ())
    if len(found) == 1:  # its one column would be read as the share of a second
        raise ModelUnsupported("a classifier of one class", hint="train with two or more")
    return tuple(str(label) for label in found)


def _ensemble(
    model: Any, trees: tuple[DecisionTree, ...], base: tuple[float, ...], *,
    classes: tuple[str, ...], missing: Missing = "nan", precision: Any = "float32", **more: Any,
) -> Ensemble:  # fmt: skip
    features = int(model.n_features_in_)
    return Ensemble(
        trees, base, features, precision, (missing,) * features, classes=classes,
        meaning="probabilities" if classes else "value",
        names=tuple(map(str, getattr(model, "feature_names_in_", ()))), **more,
    )  # fmt: skip


def _by_class(tree: Any) -> Iterator[DecisionTree]:
    """Yield one tree for each class, a leaf holding its share; of two classes for the second."""
    values = tree.value[:, 0, :]
    shares = values / values.sum(1, keepdims=True)
    if shares.shape[1] == 2:
        yield _tree(tree, shares[:, 1], 0)
    else:
        yield from (_tree(tree, shares[:, k], k) for k in range(shares.shape[1]))


def _by_output(tree: Any) -> Iterator[DecisionTree]:
    yield from (_tree(tree, tree.value[:, k, 0], k) for k in range(tree.value.shape[1]))


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


def _encoded(model: Any) -> tuple[Array, list[Array]]:
    """Return which column of the rows each column of the trees is, and the first ones' categories.

    Histogram boosting puts columns of categories first, and counts the categories of each.
    """
    chosen = getattr(model, "is_categorical_", None)
    if chosen is None:
        return np.arange(model.n_features_in_), []
    known = model._preprocessor.named_transformers_["encoder"].categories_
    if any(np.asarray(one).dtype.kind not in "fiub" for one in known):
        raise ModelUnsupported(
            "categories that are words",
            hint="an OrdinalEncoder before it, with unknown_value=-1, makes them numbers",
        )
    columns = np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~np.asarray(chosen))])
    found = [np.asarray(one, np.float64) for one in known]
    return columns, [one[~np.isnan(one)] for one in found]


def _histogram_tree(
    member: Any, output: int, columns: Array, categories: list[Array]
) -> DecisionTree:
    nodes = member.nodes
    leaf, missing_left = nodes["is_leaf"] != 0, nodes["missing_go_to_left"] != 0
    left, right = (np.where(leaf, -1, nodes[s].astype(np.int64)) for s in ("left", "right"))
    threshold = np.nextafter(nodes["num_threshold"], np.inf)  # x ≤ t is x < next(t)
    between = dict[int, Array]()
    for at in np.flatnonzero((nodes["is_categorical"] != 0) & ~leaf):
        known = categories[nodes["feature_idx"][at]]
        bits = np.ascontiguousarray(member.raw_left_cat_bitsets[nodes["bitset_idx"][at]], "<u4")
        goes_left = np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(known)] != 0
        # An unknown one goes where a missing one goes: out of the set
        members = known[goes_left != missing_left[at]]
        if missing_left[at]:
            left[at], right[at] = right[at], left[at]
        missing_left[at] = False
        if members.size:
            between[int(at)] = np.stack([members, np.nextafter(members, np.inf)], 1).ravel()
        else:  # nothing is below it
            threshold[at] = -_LARGEST
    return DecisionTree(
        feature=columns[nodes["feature_idx"]].astype(np.int64),
        threshold=threshold,
        left=left,
        right=right,
        missing_left=missing_left,
        value=nodes["value"].astype(np.float64),
        output=output,
        between=between,
    )
