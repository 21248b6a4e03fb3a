"""An ensemble of trees as an ONNX graph: one operator for all trees, then the link.

```
 features ─▶ missing to NaN ─▶ trees, summed ─▶ · factor ─▶ link ─▶ probabilities | value
                                                    └─▶ ArgMax or > cut ─▶ class
```
The operator is TreeEnsemble, whose leaf has one value. Trees of a forest that differ by leaves
alone are one tree with many values a leaf: that is TreeEnsembleRegressor. So are trees in which
several nodes lead to one, as splits on categories do.

Thresholds and leaves of doubles stay doubles (LightGBM, histogram boosting). Converters that we
tried read a forest of XGBoost or LightGBM, `multiclassova` and DART wrongly or not at all; our
reading is held to the library. Source: ONNX operators, ai.onnx.ml TreeEnsembleRegressor-3.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from oracle.exact.quantisation import Link
from worker.exact.trees import encoding
from worker.exact.trees.categories import with_thresholds
from worker.exact.trees.ensemble import DecisionTree, Ensemble
from worker.exact.trees.files import FEATURES
from worker.importing.converted import Array
from worker.importing.nodes import Nodes, Value

_KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def as_onnx(ensemble: Ensemble) -> bytes:
    """Return an ONNX file with input `features` and what `outputs_of` names."""
    graph = _Graph()
    scores = graph.trees(ensemble, graph.features(ensemble))
    if ensemble.factor != 1.0:
        scores = graph.add("Mul", scores, graph.number(ensemble.factor))
    if ensemble.classes:
        graph.classes(ensemble, scores)
    if ensemble.link is not None:  # None: the class is all that it answers (XGBoost's hinge)
        link = ensemble.link if ensemble.meaning != "scores" else "identity"
        slope = ensemble.slope if ensemble.meaning != "scores" else 1.0
        if slope != 1.0:
            scores = graph.add("Mul", scores, graph.number(slope))
        graph.name(_LINKS[link](graph, scores), outputs_of(ensemble)[0])
    return graph.file(ensemble)


def outputs_of(ensemble: Ensemble) -> tuple[str, ...]:
    """Return the names of the outputs, numbers first; `class` is the place of the class."""
    numbers = {"probabilities": "probabilities", "value": "value", "scores": "margin"}
    found = () if ensemble.link is None else (numbers[ensemble.meaning],)
    return (*found, "class") if ensemble.classes else found


class _Graph(Nodes):
    """The nodes of an ensemble."""

    def number(self, value: float) -> str:
        """Add a float32 number."""
        return self.constant(np.array(value, np.float32))

    def features(self, ensemble: Ensemble) -> str:
        """Turn what stands for a missing value into NaN, as the library does.

        A column without missing values in training has zero for NaN: only LightGBM has such.
        """
        kind = np.dtype(ensemble.precision)
        value, nan = FEATURES, self.constant(np.array(np.nan, kind))
        if ensemble.missing_value is not None:
            missing = self.constant(np.array(ensemble.missing_value, kind))
            value = self.add("Where", self.add("Equal", value, missing), nan, value)
        zeros = np.array([one == "zero" for one in ensemble.missing])
        if zeros.any():
            small = self.constant(np.array(ensemble.zero, kind))
            near = self.add("LessOrEqual", self.add("Abs", value), small)
            where = self.add("And", near, self.constant(zeros))
            value = self.add("Where", where, nan, value)
        never = np.array([one == "none" for one in ensemble.missing])
        if never.any():
            where = self.add("And", self.add("IsNaN", value), self.constant(never))
            value = self.add("Where", where, self.constant(np.array(0, kind)), value)
        return value

    def trees(self, ensemble: Ensemble, features: str) -> str:
        """Add the sums by output; return float32 [rows, outputs]."""
        outputs, kind = len(ensemble.base), np.dtype(ensemble.precision)
        shared = any(tree.between for tree in ensemble.trees)  # nodes, which TreeEnsemble has not
        alike = list(_alike(with_thresholds(tree, chain=True) for tree in ensemble.trees))
        if shared or len(alike) < len(ensemble.trees):
            return self.add(
                "TreeEnsembleRegressor", features, domain="ai.onnx.ml", n_targets=outputs,
                post_transform="NONE", aggregate_function="SUM", **_attributes(ensemble, alike),
            )  # fmt: skip
        self.opsets["ai.onnx.ml"] = encoding.VERSION
        trees = encoding.joined(ensemble.trees or (_stump(),))
        sums = self.add(
            "TreeEnsemble", features, domain="ai.onnx.ml",
            **encoding.attributes(trees, outputs, kind),
        )  # fmt: skip
        scores = self.add("Add", sums, self.constant(np.array(ensemble.base, kind)))
        return scores if kind == np.float32 else self.add("Cast", scores, to=TensorProto.FLOAT)

    def classes(self, ensemble: Ensemble, scores: str) -> None:
        """Add the place of the class, chosen as the library does."""
        if ensemble.binary:
            above = "GreaterOrEqual" if ensemble.cut_in else "Greater"
            chosen = self.add(above, scores, self.number(ensemble.cut))
            chosen = self.add("Cast", chosen, to=TensorProto.INT64)
            chosen = self.add("Reshape", chosen, self.constant(np.array([-1])))
        else:
            chosen = self.add("ArgMax", scores, axis=-1, keepdims=0)
        self.name(chosen, "class")

    def file(self, ensemble: Ensemble) -> bytes:
        """Return the file."""
        columns = 2 if ensemble.link in ("two", "logistic") else len(ensemble.base)
        outputs: list[Value] = [
            (name, TensorProto.INT64, ["rows"]) if name == "class"
            else (name, TensorProto.FLOAT, ["rows", columns])
            for name in outputs_of(ensemble)
        ]  # fmt: skip
        given: Value = (FEATURES, _KINDS[ensemble.precision], ["rows", ensemble.features])
        return bytes(self.model("trees", [given], outputs).SerializeToString())


def _alike(trees: Iterable[DecisionTree]) -> Iterator[list[DecisionTree]]:
    """Yield trees that follow each other, ask the same and add to different outputs."""
    found: list[DecisionTree] = []
    for tree in trees:
        if found and (tree.output in {one.output for one in found} or not _asks(found[0], tree)):
            yield found
            found = []
        found.append(tree)
    if found:
        yield found


def _asks(one: DecisionTree, other: DecisionTree) -> bool:
    """Return whether both lead every row the same way."""
    names = ("left", "right", "feature", "threshold", "missing_left")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def _attributes(ensemble: Ensemble, alike: Sequence[list[DecisionTree]]) -> dict[str, Any]:
    """Return trees as parallel lists, node after node; a split is BRANCH_LT."""
    trees = encoding.joined([members[0] for members in alike])
    leaf = trees.left < 0
    tree = np.cumsum(np.isin(np.arange(len(leaf)), trees.roots)) - 1
    number = np.arange(len(leaf)) - trees.roots[tree]
    double = ensemble.precision == "float64"

    def numbers(name: str, values: Array) -> dict[str, Any]:
        values = np.asarray(values, ensemble.precision)
        if double:
            return {f"{name}_as_tensor": numpy_helper.from_array(values, name)}
        return {name: values.tolist()}

    def inner(values: Array) -> Array:
        return np.where(leaf, 0, values)

    at, outputs, weights = _leaves(trees, alike)
    return {
        "nodes_treeids": tree.tolist(), "nodes_nodeids": number.tolist(),
        "nodes_featureids": inner(trees.feature).tolist(),
        "nodes_modes": ["LEAF" if one else "BRANCH_LT" for one in leaf],
        "nodes_truenodeids": inner(number[trees.left]).tolist(),
        "nodes_falsenodeids": inner(number[trees.right]).tolist(),
        "nodes_missing_value_tracks_true": inner(trees.missing_left).tolist(),
        **numbers("nodes_values", inner(trees.threshold)),
        "target_treeids": tree[at].tolist(), "target_nodeids": number[at].tolist(),
        "target_ids": outputs.tolist(),
        **numbers("target_weights", weights),
        **numbers("base_values", np.array(ensemble.base)),
    }  # fmt: skip


def _leaves(
    trees: encoding.JoinedTrees, alike: Sequence[list[DecisionTree]]
) -> tuple[Array, Array, Array]:
    """Return what leaves add: their node, the output and the value; zeros are left out."""
    places, outputs, weights = [], [], []
    for root, members in zip(trees.roots, alike, strict=True):
        leaves = np.flatnonzero(members[0].left < 0)
        values = np.stack([tree.value[leaves] for tree in members], 1)
        told = values != 0
        told[~told.any(1), 0] = True  # the operator wants one of each leaf
        leaf, member = np.nonzero(told)
        places.append(root + leaves[leaf])
        outputs.append(np.array([tree.output for tree in members])[member])
        weights.append(values[told])
    at, output, weight = map(np.concatenate, (places, outputs, weights))
    return at, output, weight


def _stump() -> DecisionTree:
    """Return a tree that says nothing: the operator wants one."""
    zero, none = np.zeros(1, np.int64), np.full(1, -1)
    return DecisionTree(zero, np.zeros(1), none, none, zero > 0, np.zeros(1))


def _both(graph: _Graph, second: str) -> str:
    one = graph.add("Sub", graph.number(1.0), second)
    return graph.add("Concat", one, second, axis=-1)


def _square(graph: _Graph, values: str) -> str:
    return graph.add("Mul", values, graph.add("Abs", values))


_LINKS: Mapping[Link, Callable[[_Graph, str], str]] = {
    "identity": lambda graph, values: values,
    "sigmoid": lambda graph, values: graph.add("Sigmoid", values),
    "two": _both,
    "logistic": lambda graph, values: _both(graph, graph.add("Sigmoid", values)),
    "softmax": lambda graph, values: graph.add("Softmax", values, axis=-1),
    "exp": lambda graph, values: graph.add("Exp", values),
    "log1p_exp": lambda graph, values: graph.add("Softplus", values),
    "square": _square,
}
