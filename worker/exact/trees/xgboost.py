"""XGBoost's own JSON or UBJSON as an ensemble, and XGBoost itself on the same file.

Features are float32 and compared `x < threshold`; NaN is missing, and so is `missing=`, which no
file keeps. A set of categories goes right; all else, also what is no category, left. Source:
XGBoost 3.2, doc/tutorials/saving_model.rst, src/tree/tree_model.cc, src/common/categorical.h
(Decision) and src/objective/*.cu (PredTransform, ProbToMargin).
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oracle.exact.quantisation import Link
from oracle.exact.ranks import MAX_FEATURES, Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees import ubjson
from worker.exact.trees.categories import ranges
from worker.exact.trees.ensemble import MAX_OUTPUTS, DecisionTree, Ensemble, check

Meaning = Literal["value", "probabilities", "scores"]
_VALUE: tuple[Meaning, Link] = ("value", "identity")
# Of each objective: what `predict` answers, and how. A file holds the base before the link, so its
# inverse is applied to it; of softmax the base is a margin.
_OBJECTIVES: Mapping[str, tuple[Meaning, Link | None]] = {
    "reg:squarederror": _VALUE, "reg:squaredlogerror": _VALUE, "reg:absoluteerror": _VALUE,
    "reg:pseudohubererror": _VALUE, "reg:quantileerror": _VALUE, "reg:expectileerror": _VALUE,
    "reg:logistic": ("value", "sigmoid"), "binary:logistic": ("probabilities", "logistic"),
    "binary:logitraw": ("scores", "identity"), "binary:hinge": ("scores", None),
    "multi:softmax": ("probabilities", "softmax"), "multi:softprob": ("probabilities", "softmax"),
    "count:poisson": ("value", "exp"), "reg:gamma": ("value", "exp"),
    "reg:tweedie": ("value", "exp"), "survival:cox": ("value", "exp"),
    "survival:aft": ("value", "exp"), "rank:pairwise": ("scores", "identity"),
    "rank:ndcg": ("scores", "identity"), "rank:map": ("scores", "identity"),
}  # fmt: skip
_INVERSE: Mapping[Link | None, Callable[[float], float]] = {
    "exp": math.log,
    "sigmoid": lambda share: -math.log(1 / share - 1),
    "logistic": lambda share: -math.log(1 / share - 1),
}
_WRAPPER = "scikit_learn"  # an attribute that XGBClassifier and its like leave in their files


def from_xgboost(model: Any, *, missing: float | None = None) -> Ensemble:
    """Read a model file in JSON or UBJSON, or a fitted XGBModel or Booster.

    Args:
        model: a path, or an object that can save itself (`save_raw`).
        missing: what the model was trained with as `missing=`, besides NaN; an XGBModel knows it.

    Raises:
        ModelUnsupported: a linear booster, vector leaves, another objective.
        WeightsInvalid: neither of XGBoost's formats, or damaged.
    """
    wrapped = hasattr(model, "get_booster")
    if isinstance(model, Path):
        data: bytes | bytearray = model.read_bytes()
    else:
        data = (model.get_booster() if wrapped else model).save_raw("ubj")
        given = getattr(model, "missing", None)
        missing = given if missing is None and given is not None else missing
    if missing is not None and math.isnan(missing):
        missing = None
    try:
        learner = _parsed(bytes(data))["learner"]
        return check(_read(learner, wrapped or _WRAPPER in learner["attributes"], missing))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise WeightsInvalid(
            f"not XGBoost's JSON: {error!r:.200}", hint='save it with model.save_model("m.ubj")'
        ) from error


class XgboostOriginal:
    """XGBoost on a model file: what our reading of it is held to."""

    def __init__(self, path: Path, missing: float | None) -> None:
        """Load a file that `from_xgboost` has read."""
        import xgboost  # noqa: PLC0415 - only what the file needs

        self._library, self._missing = xgboost, float("nan") if missing is None else missing
        self._booster = xgboost.Booster({"nthread": 1}, model_file=str(path))
        attributes = self._booster.attributes()
        best = attributes.get("best_iteration")
        self._rounds = (0, int(best) + 1 if best and _WRAPPER in attributes else 0)

    def margins(self, rows: Array) -> Array:
        """Return [rows, outputs] before the link."""
        found = self._booster.predict(self._matrix(rows), output_margin=True, **self._options)
        return np.asarray(found, np.float64).reshape(len(rows), -1)

    def answers(self, rows: Array) -> Array:
        """Return what `predict` says: [rows] or [rows, outputs]."""
        return np.asarray(self._booster.predict(self._matrix(rows), **self._options))

    @property
    def _options(self) -> dict[str, Any]:
        return {"iteration_range": self._rounds, "validate_features": False}

    def _matrix(self, rows: Array) -> Any:
        return self._library.DMatrix(rows, missing=self._missing, nthread=1)


def _parsed(data: bytes) -> Any:
    text = data[:1] == b"{" and data[1:2] in b'"\n\r\t '  # UBJSON goes on with a length
    return json.loads(data) if text else ubjson.loads(data)


def _read(learner: Mapping[str, Any], wrapped: bool, missing: float | None) -> Ensemble:
    booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
    objective = str(learner["objective"]["name"])
    if objective not in _OBJECTIVES:
        raise ModelUnsupported(
            f"objective {objective:.60}", hint=f"known: {', '.join(_OBJECTIVES)}"
        )
    weights = None
    if booster["name"] == "dart":
        weights, booster = booster["weight_drop"], booster["gbtree"]
    elif booster["name"] != "gbtree":
        raise ModelUnsupported(f"booster {booster['name']}", hint='train with booster="gbtree"')
    model, outputs = booster["model"], max(1, int(parameters["num_class"]))
    outputs *= max(1, int(parameters.get("num_target", 1)))
    features = int(parameters["num_feature"])
    if not 1 <= features <= MAX_FEATURES or outputs > MAX_OUTPUTS:
        raise ModelUnsupported(
            f"{features} features and {outputs} outputs, a program has at most {MAX_FEATURES} and "
            f"{MAX_OUTPUTS}"
        )
    count = len(model["trees"])
    best = learner["attributes"].get("best_iteration")
    if wrapped and best is not None and "iteration_indptr" in model:  # a Booster predicts with all
        count = int(model["iteration_indptr"][int(best) + 1])
    meaning, link = _OBJECTIVES[objective]
    kind: Missing = "nan"
    classes = max(2, outputs) if objective.startswith(("binary:", "multi:")) else 0
    if link == "logistic" and outputs > 1:  # labels that do not exclude each other
        link, classes = "sigmoid", 0
    return Ensemble(
        tuple(
            _tree(tree, int(output), 1.0 if weights is None else float(weights[k]))
            for k, (tree, output) in enumerate(
                zip(model["trees"][:count], model["tree_info"][:count], strict=True)
            )
        ),
        _base(str(parameters["base_score"]), _INVERSE.get(link, float), outputs),
        features, "float32", (kind,) * features,
        classes=tuple(str(k) for k in range(classes)), meaning=meaning, link=link,
        missing_value=missing, names=tuple(map(str, learner.get("feature_names", ()))),
    )  # fmt: skip


def _base(text: str, inverse: Callable[[float], float], outputs: int) -> tuple[float, ...]:
    """Return the base in units of margins: one for all outputs (before XGBoost 3), or of each."""
    values = [inverse(float(np.float32(part))) for part in text.strip("[]").split(",")]
    if len(values) not in (1, outputs):
        raise ValueError(f"{len(values)} base scores of {outputs} outputs")
    return tuple(values * outputs if len(values) == 1 else values)


def _tree(tree: Mapping[str, Any], output: int, weight: float) -> DecisionTree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise ModelUnsupported(
            "leaves are vectors", hint='train with multi_strategy="one_output_per_tree"'
        )
    left, right = (np.array(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
    limits = np.array(tree["split_conditions"], np.float32).astype(np.float64)
    missing_left = np.array(tree["default_left"], bool)
    between = _sets(tree)
    for node in between:
        if left[node] < 0:
            raise ValueError(f"leaf {node} has categories")
        left[node], right[node] = right[node], left[node]
        missing_left[node], limits[node] = not missing_left[node], 0.0
    kinds = [node for node, kind in enumerate(tree.get("split_type", ())) if int(kind)]
    if any(node not in between for node in kinds if left[node] >= 0):
        raise ValueError("a split on categories without any")
    return DecisionTree(
        np.array(tree["split_indices"], np.int64), limits, left, right,
        missing_left, limits * weight, output, between,
    )  # fmt: skip


def _sets(tree: Mapping[str, Any]) -> dict[int, Array]:
    """Return the categories of each node that splits on some, as ranges."""
    codes = np.array(tree.get("categories", ()), np.int64)
    nodes, starts, sizes = (
        np.array(tree.get(f"categories_{name}", ()), np.int64)
        for name in ("nodes", "segments", "sizes")
    )
    if not len(nodes) == len(starts) == len(sizes) or (starts + sizes > len(codes)).any():
        raise ValueError(f"{len(nodes)} nodes with categories, {len(starts)} segments")
    return {
        int(node): ranges(codes[start : start + size])
        for node, start, size in zip(nodes, starts, sizes, strict=True)
    }
