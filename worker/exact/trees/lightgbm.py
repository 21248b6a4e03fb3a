"""LightGBM's text format as an ensemble, and LightGBM itself on the same file.

Features are float64 and compared `x <= threshold`, or looked up in a set of categories. LightGBM
ends the process on a false count, so it sees only what was read here. Source: LightGBM 4.7,
src/io/tree.cpp (Tree::ToString), include/LightGBM/tree.h (NumericalDecision, CategoricalDecision)
and src/objective/*.hpp (ConvertOutput).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oracle.exact.quantisation import Link
from oracle.exact.ranks import MAX_FEATURES, Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.categories import ranges
from worker.exact.trees.ensemble import MAX_OUTPUTS, DecisionTree, Ensemble, check

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO = float(np.float32(1e-35))  # kZeroThreshold: what is nearer to zero never reaches a tree
_CODE_ZERO = float(np.nextafter(-1.0, 0.0))  # what is above −1 is cut to category 0
_MISSING: Mapping[int, Missing] = {0: "none", 1: "zero", 2: "nan"}
Meaning = Literal["value", "probabilities", "scores"]
_VALUE: tuple[Meaning, Link] = ("value", "identity")
_OBJECTIVES: Mapping[str, tuple[Meaning, Link]] = {
    "regression": _VALUE, "regression_l1": _VALUE, "huber": _VALUE, "fair": _VALUE,
    "quantile": _VALUE, "mape": _VALUE, "poisson": ("value", "exp"), "gamma": ("value", "exp"),
    "tweedie": ("value", "exp"), "binary": ("probabilities", "logistic"),
    "multiclass": ("probabilities", "softmax"), "multiclassova": ("probabilities", "sigmoid"),
    "cross_entropy": ("value", "sigmoid"), "cross_entropy_lambda": ("value", "log1p_exp"),
    "lambdarank": ("scores", "identity"), "rank_xendcg": ("scores", "identity"),
    "": ("scores", "identity"), "custom": ("scores", "identity"),
}  # fmt: skip


def from_lightgbm(model: Any) -> Ensemble:
    """Read a model file in text, or a fitted LGBMModel or Booster.

    Raises:
        ModelUnsupported: linear leaves, a feature with two kinds of missing.
        WeightsInvalid: not LightGBM's text, or damaged.
    """
    labels: tuple[str, ...] = ()
    if isinstance(model, Path):
        text = model.read_bytes().decode(errors="replace")
    else:
        labels = tuple(str(label) for label in getattr(model, "classes_", ()))
        text = (model.booster_ if hasattr(model, "booster_") else model).model_to_string()
    try:
        return check(_read(text, labels))
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise WeightsInvalid(
            f"not LightGBM's text: {error!r:.200}",
            hint='save it with model.booster_.save_model("m.txt")',
        ) from error


class LightgbmOriginal:
    """LightGBM on a model file: what our reading of it is held to."""

    def __init__(self, path: Path) -> None:
        """Load a file that `from_lightgbm` has read."""
        import lightgbm  # noqa: PLC0415 - only what the file needs

        self._booster = lightgbm.Booster({"num_threads": 1, "verbose": -1}, model_file=str(path))
        average = b"\naverage_output\n" in path.read_bytes()
        self._factor = 1 / self._booster.current_iteration() if average else 1.0

    def margins(self, rows: Array) -> Array:
        """Return [rows, outputs] before the link; of a forest the mean, not `raw_score`'s sum."""
        found = self._booster.predict(rows, raw_score=True, num_threads=1)
        return np.asarray(found, np.float64).reshape(len(rows), -1) * self._factor

    def answers(self, rows: Array) -> Array:
        """Return what `predict` says: [rows] or [rows, outputs]."""
        return np.asarray(self._booster.predict(rows, num_threads=1))


def _read(text: str, labels: tuple[str, ...]) -> Ensemble:
    head, *bodies = text.split("\nend of trees", maxsplit=1)[0].split("\nTree=")
    header = _fields(head)
    outputs = int(header["num_tree_per_iteration"])
    features = int(header["max_feature_idx"]) + 1
    if not 1 <= features <= MAX_FEATURES or not 1 <= outputs <= MAX_OUTPUTS:
        raise ModelUnsupported(
            f"{features} features and {outputs} outputs, a program has at most {MAX_FEATURES} and "
            f"{MAX_OUTPUTS}"
        )
    sizes = header["tree_sizes"].split()
    if not bodies or len(bodies) % outputs or len(sizes) != len(bodies):
        raise ValueError(f"{len(bodies)} trees, {len(sizes)} sizes, {outputs} outputs")
    missing: list[Missing | None] = [None] * features
    trees = tuple(
        _tree(_fields(body), index % outputs, missing) for index, body in enumerate(bodies)
    )
    name, *words = header.get("objective", "").split(" ")
    if name not in _OBJECTIVES:
        raise ModelUnsupported(f"objective {name:.60}", hint=f"known: {', '.join(_OBJECTIVES)}")
    meaning, link = _OBJECTIVES[name]
    if name == "regression" and "sqrt" in words:
        link = "square"
    slope = next((float(word[8:]) for word in words if word.startswith("sigmoid:")), 1.0)
    classes: tuple[str, ...] = ()
    if meaning == "probabilities":
        classes = labels or tuple(str(k) for k in range(max(2, outputs)))
    average = "average_output" in head.splitlines()
    return Ensemble(
        trees, (0.0,) * outputs, features, "float64", tuple(kind or "nan" for kind in missing),
        factor=outputs / len(trees) if average else 1.0, classes=classes,
        meaning=meaning, link=link, slope=slope, zero=_ZERO,
        names=tuple(header.get("feature_names", "").split()),
    )  # fmt: skip


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: Mapping[str, str], output: int, missing: list[Missing | None]) -> DecisionTree:
    """Return a tree; LightGBM numbers splits and leaves apart, a leaf k as child −1−k."""
    if fields.get("is_linear", "0") == "1":
        raise ModelUnsupported("linear models in the leaves", hint="train with linear_tree=False")
    leaves = np.array(fields["leaf_value"].split(), np.float64)
    splits = int(fields["num_leaves"]) - 1
    if splits != len(leaves) - 1:
        raise ValueError(f"{len(leaves)} leaves, num_leaves is {splits + 1}")

    def numbers(name: str, kind: type[Any]) -> Array:
        values = np.array(fields[name].split() if splits else [], kind)
        if values.size != splits:
            raise ValueError(f"{name} has {values.size} values, {splits} splits")
        return values

    feature, decisions = numbers("split_feature", np.int64), numbers("decision_type", np.int64)
    categorical = decisions & _CATEGORICAL != 0
    kinds = np.where(categorical, 2, decisions >> 2 & 3)  # of categories NaN is in no set
    for column, kind in zip(feature, kinds, strict=True):
        name = _MISSING[int(kind)]
        if column < 0 or missing[column] not in (None, name):
            raise ModelUnsupported(
                f"feature {column} has two kinds of missing values", hint="impute them first"
            )
        missing[column] = name
    left, right = (numbers(f"{side}_child", np.int64) for side in ("left", "right"))
    children = [np.where(side < 0, splits - 1 - side, side) for side in (left, right)]
    pad = np.zeros(len(leaves), np.int64)
    thresholds = numbers("threshold", np.float64)
    limits = np.where(categorical, 0, np.nextafter(thresholds, np.inf))  # x ≤ t is x < next(t)
    sets = _sets(fields) if categorical.any() else []
    between = {int(at): sets[int(thresholds[at])] for at in np.flatnonzero(categorical)}
    return DecisionTree(
        feature=np.concatenate([feature, pad]),
        threshold=np.concatenate([limits, pad]),
        left=np.concatenate([children[0], pad - 1]),
        right=np.concatenate([children[1], pad - 1]),
        missing_left=np.concatenate([(decisions & _DEFAULT_LEFT != 0) & ~categorical, pad > 0]),
        value=np.concatenate([np.zeros(splits), leaves]),
        output=output,
        between=between,
    )


def _sets(fields: Mapping[str, str]) -> list[Array]:
    """Return the sets of a tree as ranges; a set is words of 32 bits, the lowest code first."""
    words = np.array(fields["cat_threshold"].split(), np.uint32)
    ends = np.array(fields["cat_boundaries"].split(), np.int64)
    if ends[0] != 0 or ends[-1] != len(words) or (np.diff(ends) < 1).any():
        raise ValueError(f"cat_boundaries {ends[:4]} of {len(words)} words")
    bits = [np.unpackbits(part.astype("<u4").view(np.uint8), bitorder="little")
            for part in np.split(words, ends[1:-1])]  # fmt: skip
    return [ranges(np.flatnonzero(one), first=_CODE_ZERO) for one in bits]
