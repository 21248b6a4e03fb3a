"""XGBoost's own JSON or UBJSON (a file or a fitted object) as an ensemble; never a pickle.

Features are float32 and compared `x < threshold`; NaN is missing. Source: XGBoost 3.2,
doc/tutorials/saving_model.rst and src/tree/tree_model.cc.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact.quantisation import Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.trees import ubjson
from worker.exact.trees.ensemble import DecisionTree, Ensemble

_LOGIT = frozenset({"binary:logistic", "reg:logistic", "binary:logitraw"})
_LOG = frozenset({"count:poisson", "reg:gamma", "reg:tweedie"})


def from_xgboost(model: Any, *, rounds: int | None = None) -> Ensemble:
    """Read a fitted XGBModel or Booster, or a model file in JSON or UBJSON.

    Args:
        model: a path, or an object that can save itself (`save_raw`).
        rounds: boosting rounds to use; those up to `best_iteration` when the model names it.

    Raises:
        ModelUnsupported: a linear booster, categorical splits, vector leaves.
        WeightsInvalid: neither of XGBoost's formats.
    """
    labels: tuple[str, ...] = ()
    if isinstance(model, Path):
        data: bytes | bytearray = model.read_bytes()
    else:
        labels = tuple(str(label) for label in getattr(model, "classes_", ()))
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        data = booster.save_raw("json")
    try:
        text = data[:1] == b"{" and data[1:2] in b'"\n\r\t '  # UBJSON goes on with a length
        parsed = json.loads(data) if text else ubjson.loads(bytes(data))
        return _read(parsed["learner"], rounds, labels)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise WeightsInvalid(
            f"not XGBoost's JSON: {error!r:.200}", hint='save it with model.save_model("m.json")'
        ) from error


def _read(learner: Mapping[str, Any], rounds: int | None, labels: tuple[str, ...]) -> Ensemble:
    booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
    weights = None
    if booster["name"] == "dart":
        weights, booster = booster["weight_drop"], booster["gbtree"]
    elif booster["name"] != "gbtree":
        raise ModelUnsupported(f"booster {booster['name']}", hint='train with booster="gbtree"')
    model = booster["model"]
    if rounds is None and "best_iteration" in learner["attributes"]:
        rounds = int(learner["attributes"]["best_iteration"]) + 1
    count = len(model["trees"])
    if rounds is not None and "iteration_indptr" in model:
        count = int(model["iteration_indptr"][rounds])
    objective = str(learner["objective"]["name"])
    outputs = max(1, int(parameters["num_class"]), int(parameters.get("num_target", 1)))
    base = _base(str(parameters["base_score"]), objective, outputs)
    features = int(parameters["num_feature"])
    trees = tuple(
        _tree(tree, int(output), features, 1.0 if weights is None else float(weights[k]))
        for k, (tree, output) in enumerate(
            zip(model["trees"][:count], model["tree_info"][:count], strict=True)
        )
    )
    classes = _classes(objective, outputs, labels)
    nan: Missing = "nan"
    missing = (nan,) * features
    return Ensemble(trees, base, features, "float32", missing, classes=classes)


def _base(text: str, objective: str, outputs: int) -> tuple[float, ...]:
    """Return the base in units of scores: files hold it as the objective's prediction."""
    values = [float(np.float32(part)) for part in text.strip("[]").split(",")]
    if objective in _LOGIT:
        values = [-math.log(1 / value - 1) for value in values]
    elif objective in _LOG:
        values = [math.log(value) for value in values]
    return tuple(values * outputs if len(values) == 1 else values)


def _classes(objective: str, outputs: int, labels: tuple[str, ...]) -> tuple[str, ...]:
    if not objective.startswith(("binary:", "multi:")):
        return ()
    return labels or tuple(str(k) for k in range(max(2, outputs)))


def _tree(tree: Mapping[str, Any], output: int, features: int, weight: float) -> DecisionTree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise ModelUnsupported("leaves are vectors", hint='train with "one_output_per_tree"')
    if any(tree.get("split_type", ())):
        raise ModelUnsupported("categorical splits", hint="encode categories one-hot")
    left, right = (np.array(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
    feature = np.array(tree["split_indices"], np.int64)
    limits = np.array(tree["split_conditions"], np.float32).astype(np.float64)
    if not (len(left) == len(right) == len(feature) == len(limits)) or (
        max(left.max(), right.max()) >= len(left) or feature.max() >= features
    ):
        raise ValueError("a tree's arrays do not fit")
    return DecisionTree(
        feature, limits, left, right, np.array(tree["default_left"], bool), limits * weight, output
    )
