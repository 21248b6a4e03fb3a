"""Trees inside ONNX (skl2onnx, onnxmltools) as an ensemble: files whose one operator is the trees.

TreeEnsembleClassifier and -Regressor (ai.onnx.ml 3) and TreeEnsemble (5). A split is `x ≤ t` or the
like in the input's precision, NaN goes where `missing_value_tracks_true` says. A classifier of two
classes may have one score, s: it chooses the second above 0.5 where no weight is negative, else
above 0. Sources: onnx/docs/Operators-ml.md; onnxruntime 1.32,
core/providers/cpu/ml/tree_ensemble_aggregator.h.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no stubs

from oracle.exact.quantisation import Link
from oracle.exact.ranks import Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.graph import Array
from worker.exact.trees.ensemble import DecisionTree, Ensemble, below, check

_CLASSIFIER, _REGRESSOR, _NEWER = "TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"
_BESIDE = frozenset({"Cast", "Identity", "ZipMap"})  # what converters put around the trees
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")  # numbered so in ai.onnx.ml 5
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC")
_AGGREGATES = ("AVERAGE", "SUM")
_LEAF = -1


def from_onnx_trees(path: Path) -> "tuple[Ensemble, OnnxTrees] | None":
    """Read a file of trees; None where it has other operators, which the ONNX reader takes.

    Raises:
        ModelUnsupported: splits by equality, another transformation of the sums.
        WeightsInvalid: damaged.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors share no base class
        raise WeightsInvalid(f"{path.name} is not an ONNX file: {error!s:.200}") from error
    trees = [n for n in model.graph.node if n.op_type in (_CLASSIFIER, _REGRESSOR, _NEWER)]
    others = {node.op_type for node in model.graph.node} - _BESIDE
    if len(trees) != 1 or others != {trees[0].op_type} or len(model.graph.input) != 1:
        return None
    try:
        ensemble = check(_read(model, trees[0]))
    except (KeyError, IndexError, ValueError, TypeError, StopIteration) as error:
        raise WeightsInvalid(f"{path.name}: its trees are damaged: {error!r:.200}") from error
    return ensemble, OnnxTrees(model, trees[0], ensemble)


class OnnxTrees:
    """onnxruntime with the file: what our reading of it is held to."""

    def __init__(self, model: onnx.ModelProto, node: onnx.NodeProto, ensemble: Ensemble) -> None:
        """Keep a model that `from_onnx_trees` has read, and one of its sums alone."""
        self._kind = np.dtype(ensemble.precision)
        self._one = ensemble.binary
        self._answers, self._margins = _session(model, node), _session(_plain(model), node)

    def margins(self, rows: Array) -> Array:
        """Return [rows, outputs] before the link."""
        found = self._run(self._margins, rows)
        return found[:, 1:] if self._one else found

    def answers(self, rows: Array) -> Array:
        """Return probabilities [rows, classes], or values [rows, outputs]."""
        return self._run(self._answers, rows)

    def _run(self, session: Any, rows: Array) -> Array:
        given = {session.get_inputs()[0].name: np.asarray(rows, self._kind)}
        return np.asarray(session.run(None, given)[0], np.float64).reshape(len(rows), -1)


def _session(model: onnx.ModelProto, node: onnx.NodeProto) -> Any:
    """Return what runs a file up to its trees' numbers."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    del cut.graph.output[:]
    cut.graph.output.append(onnx.ValueInfoProto(name=node.output[-1]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        cut.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the function of its sums."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        for item in node.attribute:
            if item.name == "post_transform":
                value = "NONE" if item.type == onnx.AttributeProto.STRING else 0
                item.CopyFrom(onnx.helper.make_attribute("post_transform", value))
    return plain


@dataclass(frozen=True, slots=True)
class _OnnxNodes:
    """Nodes of all trees: children by place in these arrays; a leaf has left −1.

    `weights`: (node, output, weight) of each leaf's parts.
    """

    roots: Array
    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    weights: tuple[Array, Array, Array]


def _read(model: onnx.ModelProto, node: onnx.NodeProto) -> Ensemble:
    given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    item = model.graph.input[0].type.tensor_type
    features = item.shape.dim[-1].dim_value
    double = item.elem_type == onnx.TensorProto.DOUBLE
    nodes = _new(given, double=double) if node.op_type == _NEWER else _old(given, double=double)
    features = features or int(nodes.feature.max(initial=0)) + 1
    labels = _labels(node, given)
    outputs = len(labels) or int(given.get("n_targets", 1))
    base = np.zeros(outputs)
    held = given.get("base_values", given.get("base_values_as_tensor"))
    if held is not None:
        base[: len(_numbers(held))] = _numbers(held)
    one = len(labels) == 2 and len(np.unique(nodes.weights[1])) == 1
    if one:
        base = base[:1] if len(_numbers(held if held is not None else [])) < 2 else base[1:]
        nodes = replace(nodes, weights=(nodes.weights[0], 0 * nodes.weights[1], nodes.weights[2]))
        outputs = 1
    missing: Missing = "nan"
    averaged = _named(given, "aggregate_function", _AGGREGATES, "SUM") == "AVERAGE"
    factor = 1 / len(nodes.roots) if averaged else 1.0
    positive = bool((nodes.weights[2] >= 0).all())
    return Ensemble(
        tuple(_trees(nodes, outputs)), tuple(map(float, base / factor)), features,
        "float64" if double else "float32", (missing,) * features, factor=factor, classes=labels,
        meaning="probabilities" if labels else "value",
        link=_link(given, classes=len(labels), one=one, positive=positive),
        cut=0.5 if one and positive else 0.0,
    )  # fmt: skip


def _labels(node: onnx.NodeProto, given: Mapping[str, Any]) -> tuple[str, ...]:
    if node.op_type != _CLASSIFIER:
        return ()
    found = given.get("classlabels_int64s") or given.get("classlabels_strings") or []
    return tuple(part.decode() if isinstance(part, bytes) else str(part) for part in found)


def _link(given: Mapping[str, Any], *, classes: int, one: bool, positive: bool) -> Link:
    kind = _named(given, "post_transform", _TRANSFORMS, "NONE")
    if one:
        if kind == "LOGISTIC":
            return "logistic"
        if kind == "NONE" and positive:
            return "two"
        raise ModelUnsupported(
            f"two classes with one score and post_transform {kind}", hint="LOGISTIC, or shares"
        )
    links: dict[str, Link] = {"NONE": "identity", "SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
    return links[kind]


def _named(given: Mapping[str, Any], name: str, known: tuple[str, ...], usual: str) -> str:
    """Return what an attribute says, by its name (ai.onnx.ml 3) or its number (5)."""
    value = given.get(name, usual.encode())
    said = value.decode() if isinstance(value, bytes) else dict(enumerate(known)).get(value, value)
    if said not in known:
        raise ModelUnsupported(f"{name} {said}", hint=f"one of {', '.join(known)}")
    return str(said)


def _trees(nodes: _OnnxNodes, outputs: int) -> Iterator[DecisionTree]:
    """Yield one tree for each output that a tree adds to."""
    where, output, weight = nodes.weights
    for root in nodes.roots:
        level, found = np.array([root]), list[Array]()
        while level.size:
            if sum(part.size for part in found) > len(nodes.feature):
                raise ValueError("two nodes lead to one")
            found.append(level)
            inner = level[nodes.left[level] != _LEAF]
            level = np.concatenate([nodes.left[inner], nodes.right[inner]])
        places = np.concatenate(found)
        new = np.full(len(nodes.feature), _LEAF)
        new[places] = np.arange(len(places))
        leaf = nodes.left[places] == _LEAF
        own = new[where] != _LEAF
        for number in range(outputs):
            parts = own & (output == number)
            if outputs > 1 and not parts.any():
                continue
            value = np.zeros(len(places))
            np.add.at(value, new[where[parts]], weight[parts])
            yield DecisionTree(
                nodes.feature[places], nodes.threshold[places],
                np.where(leaf, _LEAF, new[nodes.left[places]]),
                np.where(leaf, _LEAF, new[nodes.right[places]]),
                nodes.missing_left[places], value, number,
            )  # fmt: skip


def _old(given: Mapping[str, Any], *, double: bool) -> _OnnxNodes:
    """Read ai.onnx.ml 3: a node has the number of its tree, and its own within it."""
    tree, number = (np.asarray(given[f"nodes_{name}"], np.int64) for name in ("treeids", "nodeids"))
    places = {pair: at for at, pair in enumerate(zip(tree.tolist(), number.tolist(), strict=True))}
    modes = [mode.decode() for mode in given["nodes_modes"]]
    leaf = np.array([mode == "LEAF" for mode in modes])

    def child(name: str) -> Array:
        wanted = zip(tree.tolist(), given[f"nodes_{name}nodeids"], leaf, strict=True)
        return np.array([_LEAF if end else places[one, at] for one, at, end in wanted])

    kind = "class" if "class_ids" in given else "target"
    pairs = zip(given[f"{kind}_treeids"], given[f"{kind}_nodeids"], strict=True)
    weights = (
        np.array([places[pair] for pair in pairs], np.int64),
        np.asarray(given[f"{kind}_ids"], np.int64), _either(given, f"{kind}_weights"),
    )  # fmt: skip
    _, roots = np.unique(tree, return_index=True)
    return _split(
        roots, modes, np.asarray(given["nodes_featureids"], np.int64),
        _either(given, "nodes_values"), children=(child("true"), child("false")),
        tracks=np.asarray(given.get("nodes_missing_value_tracks_true") or 0 * tree, bool),
        weights=weights, double=double,
    )  # fmt: skip


def _new(given: Mapping[str, Any], *, double: bool) -> _OnnxNodes:
    """Read ai.onnx.ml 5: nodes and leaves are apart; here leaves follow the nodes."""
    feature = np.asarray(given["nodes_featureids"], np.int64)
    count, leaves = len(feature), len(given["leaf_targetids"])
    numbers = _numbers(given["nodes_modes"]).astype(int)
    modes = [_MODES[mode] if mode < len(_MODES) else str(mode) for mode in numbers]

    def child(name: str) -> Array:
        at = np.asarray(given[f"nodes_{name}nodeids"], np.int64)
        end = np.asarray(given[f"nodes_{name}leafs"], bool)
        return np.concatenate([np.where(end, count + at, at), np.full(leaves, _LEAF)])

    rest = np.zeros(leaves, np.int64)
    tracks = given.get("nodes_missing_value_tracks_true") or [0] * count
    weights = (
        count + np.arange(leaves), np.asarray(given["leaf_targetids"], np.int64),
        _numbers(given["leaf_weights"]),
    )  # fmt: skip
    return _split(
        np.asarray(given["tree_roots"], np.int64), [*modes, *["LEAF"] * leaves],
        np.concatenate([feature, rest]), np.concatenate([_numbers(given["nodes_splits"]), rest]),
        children=(child("true"), child("false")),
        tracks=np.concatenate([np.asarray(tracks, bool), rest > 0]), weights=weights, double=double,
    )  # fmt: skip


def _split(
    roots: Array, modes: list[str], feature: Array, limits: Array, *,
    children: tuple[Array, Array], tracks: Array, weights: tuple[Array, Array, Array], double: bool,
) -> _OnnxNodes:  # fmt: skip
    """Make every split `x < threshold`: above and below change places where it asks for more."""
    if unknown := sorted(set(modes) - {*_MODES, "LEAF"}):
        raise ModelUnsupported(
            f"splits of mode {unknown[0]}", hint="encode categories one-hot before training"
        )
    closed = np.array([mode in ("BRANCH_LEQ", "BRANCH_GT") for mode in modes])
    turned = np.array([mode in ("BRANCH_GTE", "BRANCH_GT") for mode in modes])
    above = np.nextafter(limits, np.inf) if double else below(limits)
    yes, no = children
    return _OnnxNodes(
        roots, feature, np.where(closed, above, limits), np.where(turned, no, yes),
        np.where(turned, yes, no), tracks != turned, weights,
    )  # fmt: skip


def _either(given: Mapping[str, Any], name: str) -> Array:
    """Return numbers of an attribute, which has a name of its own in doubles."""
    return _numbers(given[name] if given.get(name) else given[f"{name}_as_tensor"])


def _numbers(held: Any) -> Array:
    array = onnx.numpy_helper.to_array(held) if isinstance(held, onnx.TensorProto) else held
    return np.asarray(array, np.float64)
