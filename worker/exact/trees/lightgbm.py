"""LightGBM's text format (from a file or a fitted object) as an ensemble; never a pickle.

Features are float64 and compared `x <= threshold`. Source: LightGBM 4.7, src/io/tree.cpp
(Tree::ToString) and include/LightGBM/tree.h (NumericalDecision).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact.quantisation import Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.ensemble import DecisionTree, Ensemble

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING: Mapping[int, Missing] = {0: "none", 1: "zero", 2: "nan"}


def from_lightgbm(model: Any) -> Ensemble:
    """Read a fitted LGBMModel or Booster, or a model file in text.

    Raises:
        ModelUnsupported: categorical splits, linear leaves, a feature with two kinds of missing.
        WeightsInvalid: not LightGBM's text.
    """
    labels: tuple[str, ...] = ()
    if isinstance(model, Path):
        text = model.read_text()
    else:
        labels = tuple(str(label) for label in getattr(model, "classes_", ()))
        booster = model.booster_ if hasattr(model, "booster_") else model
        text = booster.model_to_string()
    try:
        return _read(text, labels)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsInvalid(
            f"not LightGBM's text: {error!r:.200}",
            hint='save it with model.booster_.save_model("m.txt")',
        ) from error


def _read(text: str, labels: tuple[str, ...]) -> Ensemble:
    head, *bodies = text.split("\nTree=")
    header = _fields(head)
    outputs = int(header["num_tree_per_iteration"])
    features = int(header["max_feature_idx"]) + 1
    missing: list[Missing | None] = [None] * features
    trees = []
    for index, body in enumerate(bodies):
        fields = _fields(body.split("\nend of trees")[0])
        trees.append(_tree(fields, index % outputs, missing))
    average = "average_output" in head.splitlines()
    objective = header.get("objective", "").split(" ")[0]
    classes: tuple[str, ...] = ()
    if objective in ("binary", "multiclass", "multiclassova", "cross_entropy"):
        classes = labels or tuple(str(k) for k in range(max(2, outputs)))
    return Ensemble(
        tuple(trees), (0.0,) * outputs, features, "float64",
        tuple(kind or "nan" for kind in missing),
        factor=outputs / len(trees) if average else 1.0, classes=classes,
    )  # fmt: skip


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: Mapping[str, str], output: int, missing: list[Missing | None]) -> DecisionTree:
    """Return a tree; LightGBM numbers splits and leaves apart, a leaf k as child −1−k."""
    if int(fields.get("num_cat", 0)):
        raise ModelUnsupported("categorical splits", hint="encode categories one-hot")
    if fields.get("is_linear", "0") == "1":
        raise ModelUnsupported("linear models in the leaves", hint="train with linear_tree=False")
    leaves = np.array(fields["leaf_value"].split(), np.float64)
    splits = int(fields["num_leaves"]) - 1

    def numbers(name: str, kind: type[Any]) -> Array:
        values = np.array(fields[name].split() if splits else [], kind)
        if values.size != splits:
            raise ValueError(f"{name} has {values.size} values, {splits} splits")
        return values

    feature, decisions = numbers("split_feature", np.int64), numbers("decision_type", np.int64)
    if (decisions & _CATEGORICAL).any():
        raise ModelUnsupported("categorical splits", hint="encode categories one-hot")
    for column, kind in zip(feature, decisions >> 2 & 3, strict=True):
        name = _MISSING[int(kind)]
        if missing[column] not in (None, name):
            raise ModelUnsupported(
                f"feature {column} has two kinds of missing values", hint="impute them first"
            )
        missing[column] = name
    left, right = (numbers(f"{side}_child", np.int64) for side in ("left", "right"))
    children = [np.where(side < 0, splits - 1 - side, side) for side in (left, right)]
    if splits and max(side.max() for side in children) >= splits + len(leaves):
        raise ValueError("a child that does not exist")
    pad = np.zeros(len(leaves), np.int64)
    limits = np.nextafter(numbers("threshold", np.float64), np.inf)  # x ≤ t is x < next(t)
    return DecisionTree(
        feature=np.concatenate([feature, pad]),
        threshold=np.concatenate([limits, pad]),
        left=np.concatenate([children[0], pad - 1]),
        right=np.concatenate([children[1], pad - 1]),
        missing_left=np.concatenate([decisions & _DEFAULT_LEFT != 0, pad > 0]),
        value=np.concatenate([np.zeros(splits), leaves]),
        output=output,
    )
