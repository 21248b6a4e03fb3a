"""Operators of ai.onnx.ml in TensorFlow: trees, linear models, scalers, labels.

Source: https://onnx.ai/onnx/operators, ai.onnx.ml; where its text is open, onnxruntime 1.27.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tensorflow as tf  # type: ignore[import-untyped]  # of its own Python

from worker.errors import ModelUnsupported, WeightsInvalid
from worker.importing.tf_operators import Attributes, Given, Operator, rank

MAX_LEAVES = 2**27  # numbers of a table with a row for each node
_COMPARE = {
    b"BRANCH_LEQ": tf.less_equal, b"BRANCH_LT": tf.less, b"BRANCH_GTE": tf.greater_equal,
    b"BRANCH_GT": tf.greater, b"BRANCH_EQ": tf.equal, b"BRANCH_NEQ": tf.not_equal,
}  # fmt: skip
_AGGREGATES = {
    b"SUM": tf.reduce_sum, b"AVERAGE": tf.reduce_mean, b"MIN": tf.reduce_min, b"MAX": tf.reduce_max,
}  # fmt: skip
_NEWER_AGGREGATES = (b"AVERAGE", b"SUM", b"MIN", b"MAX")


def _array(a: Attributes, name: str, kind: Any) -> Any:
    """Return numbers that are an attribute, or a tensor beside it."""
    tensor = a.get(f"{name}_as_tensor")
    found = a.get(name, ()) if tensor is None else onnx.numpy_helper.to_array(tensor)
    return np.asarray(found, kind)


def _leaves_reached(x: Any, a: Attributes) -> tuple[Any, dict[tuple[int, int], int]]:
    """Return for each row and tree its leaf, and the place of each node.

    Raises:
        WeightsInvalid: nodes that are missing, or a tree that goes in a circle.
        ModelUnsupported: a comparison that is not known.
    """
    trees, ids = (a[name] for name in ("nodes_treeids", "nodes_nodeids"))
    places = {key: place for place, key in enumerate(zip(trees, ids, strict=True))}
    modes = list(a["nodes_modes"])
    leaf = np.array([mode == b"LEAF" for mode in modes])
    own = np.arange(len(modes))
    try:
        true, false = (
            np.array([place if leaf[place] else places[trees[place], child]
                      for place, child in enumerate(a[name])])
            for name in ("nodes_truenodeids", "nodes_falsenodeids")
        )  # fmt: skip
    except (KeyError, IndexError) as error:
        raise WeightsInvalid(f"a tree names node {error}, which it has not") from error
    children = {*true[~leaf].tolist(), *false[~leaf].tolist()}
    roots = [place for place in own if place not in children]
    depth, level = 0, np.array(roots)
    while (level := level[~leaf[level]]).size:
        depth, level = depth + 1, np.unique(np.concatenate([true[level], false[level]]))
        if depth > len(modes):
            raise WeightsInvalid("a tree goes in a circle")
    kinds = sorted(set(modes) - {b"LEAF"})
    if unknown := [one for one in kinds if one not in _COMPARE]:
        raise ModelUnsupported(f"trees that compare with {unknown[0].decode()}")
    features = tf.constant(np.where(leaf, 0, a["nodes_featureids"]).astype(np.int32))
    values = tf.constant(_array(a, "nodes_values", x.dtype.as_numpy_dtype))
    missing = tf.constant(_array(a, "nodes_missing_value_tracks_true", bool))
    kind = tf.constant(np.array([kinds.index(m) if m != b"LEAF" else 0 for m in modes], np.int32))
    both = tf.constant(np.stack([false, true], 1).reshape(-1).astype(np.int32))

    def step(at: Any) -> tuple[Any]:
        given = tf.gather(x, tf.gather(features, at), axis=1, batch_dims=1)
        bound = tf.gather(values, at)
        goes = tf.zeros_like(at, tf.bool)
        for number, mode in enumerate(kinds):
            goes |= _COMPARE[mode](given, bound) & (tf.gather(kind, at) == number)
        if "nodes_missing_value_tracks_true" in a:
            goes = tf.where(tf.math.is_nan(given), goes | tf.gather(missing, at), goes)
        return (tf.gather(both, 2 * at + tf.cast(goes, tf.int32)),)

    at = tf.tile(tf.constant([roots], tf.int32), [tf.shape(x)[0], 1])
    (at,) = tf.while_loop(
        lambda _: True, step, [at], parallel_iterations=1, maximum_iterations=depth,
        shape_invariants=[tf.TensorShape([None, len(roots)])],
    )  # fmt: skip
    return at, places


def _scores(x: Any, a: Attributes, what: str, width: int) -> Any:
    """Return what the trees add up to, in doubles: [rows, width]."""
    if not x.dtype.is_floating:
        x = tf.cast(x, tf.float32)
    reached, places = _leaves_reached(x, a)
    if len(places) * width > MAX_LEAVES:
        raise ModelUnsupported(f"{len(places)} nodes of {width} numbers have no form in TensorFlow")
    table = np.zeros((len(places), width))
    weights = _array(a, f"{what}_weights", np.float64)
    try:
        leaves = zip(a[f"{what}_treeids"], a[f"{what}_nodeids"], strict=True)
        at: Any = ([places[key] for key in leaves], a[f"{what}_ids"])
        np.add.at(table, at, weights)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsInvalid(f"a leaf of the trees is not there: {error!s:.100}") from error
    aggregate = _AGGREGATES[a.get("aggregate_function", b"SUM")]
    return aggregate(tf.gather(tf.constant(table), reached), 1)


def _transformed(scores: Any, a: Attributes) -> Any:
    kind = a.get("post_transform", b"NONE")
    if kind == b"NONE":
        return scores
    if kind == b"LOGISTIC":
        return tf.sigmoid(scores)
    if kind == b"SOFTMAX":
        return tf.nn.softmax(scores)
    raise ModelUnsupported(f"post_transform {kind.decode()} has no form in TensorFlow here")


def _tree_values(given: Given, a: Attributes) -> Any:
    (x,) = given
    width = a.get("n_targets", 1)
    found = _scores(x, a, "target", width) + _base(a, width)
    return _transformed(tf.cast(found, tf.float32), a)


def _tree_sums(given: Given, a: Attributes) -> Any:
    """TreeEnsemble of ai.onnx.ml 5, read as the older form: leaves are nodes behind the others."""
    (x,) = given
    modes = onnx.numpy_helper.to_array(a["nodes_modes"]).tolist()
    nodes, leaves = len(modes), len(a["leaf_targetids"])
    kinds = list(_COMPARE)
    try:
        names = [kinds[mode] for mode in modes]
        aggregate = _NEWER_AGGREGATES[a.get("aggregate_function", 1)]
        transform = (b"NONE", b"SOFTMAX", b"LOGISTIC")[a.get("post_transform", 0)]
    except IndexError:
        raise ModelUnsupported("trees that ask for sets, or a post_transform of theirs") from None

    def child(way: str) -> list[int]:
        ids, leafs = (a[f"nodes_{way}{kind}"] for kind in ("nodeids", "leafs"))
        return [nodes + one if leaf else one for one, leaf in zip(ids, leafs, strict=True)]

    none = [0] * leaves
    splits = onnx.numpy_helper.to_array(a["nodes_splits"])
    older: dict[str, Any] = {
        "nodes_treeids": [0] * (nodes + leaves), "nodes_nodeids": list(range(nodes + leaves)),
        "nodes_modes": names + [b"LEAF"] * leaves,
        "nodes_truenodeids": child("true") + none, "nodes_falsenodeids": child("false") + none,
        "nodes_featureids": [*a["nodes_featureids"], *none],
        "nodes_values": np.concatenate([splits, np.zeros(leaves, splits.dtype)]),
        "target_treeids": none, "target_nodeids": list(range(nodes, nodes + leaves)),
        "target_ids": a["leaf_targetids"],
        "target_weights": onnx.numpy_helper.to_array(a["leaf_weights"]),
        "aggregate_function": aggregate, "post_transform": transform,
    }  # fmt: skip
    if tracks := a.get("nodes_missing_value_tracks_true"):
        older["nodes_missing_value_tracks_true"] = [*tracks, *none]
    found = _scores(x, older, "target", a.get("n_targets", 1))
    return _transformed(tf.cast(found, x.dtype), older)


def _base(a: Attributes, width: int) -> Any:
    base = _array(a, "base_values", np.float64)
    return base if base.size else np.zeros(width)


def _tree_classes(given: Given, a: Attributes) -> Any:
    (x,) = given
    labels = _labels(a)
    width, named = int(labels.shape[0]), set(a["class_ids"])
    if width > 2 or len(named) != 1:
        found = tf.cast(_scores(x, a, "class", width) + _base(a, width), tf.float32)
        return [tf.gather(labels, tf.argmax(found, 1)), _transformed(found, a)]
    one = dict(a, class_ids=[0] * len(a["class_ids"]))
    score = tf.cast(_scores(x, one, "class", 1) + _base(a, 1)[-1:], tf.float32)
    shares = bool((_array(a, "class_weights", np.float64) >= 0).all())
    place = tf.cast(score[:, 0] > (0.5 if shares else 0.0), tf.int32)
    kind = a.get("post_transform", b"NONE")
    if kind == b"LOGISTIC":
        found = tf.concat([tf.sigmoid(-score), tf.sigmoid(score)], 1)
    else:
        found = _transformed(tf.concat([1 - score if shares else -score, score], 1), a)
    return [tf.gather(labels, place), found]


def _labels(a: Attributes) -> Any:
    for name in ("classlabels_int64s", "classlabels_ints", "classlabels_strings"):
        if a.get(name):
            return tf.constant(a[name], tf.string if "strings" in name else tf.int64)
    raise WeightsInvalid("a classifier without labels")


def _linear(x: Any, a: Attributes, width: int) -> Any:
    weights = _array(a, "coefficients", np.float32).reshape(width, -1)
    found = tf.matmul(tf.cast(x, tf.float32), tf.constant(weights), transpose_b=True)
    return found + _array(a, "intercepts", np.float32) if a.get("intercepts") else found


def _linear_values(given: Given, a: Attributes) -> Any:
    return _transformed(_linear(given[0], a, a.get("targets", 1)), a)


def _linear_classes(given: Given, a: Attributes) -> Any:
    labels = _labels(a)
    width = int(labels.shape[0])
    if len(a.get("intercepts", ())) not in (0, width):
        raise ModelUnsupported("a LinearClassifier with one row for two labels")
    found = _linear(given[0], a, width)
    return [tf.gather(labels, tf.argmax(found, 1)), _transformed(found, a)]


def _scaler(given: Given, a: Attributes) -> Any:
    x = tf.cast(given[0], tf.float32)
    return (x - _array(a, "offset", np.float32)) * _array(a, "scale", np.float32)


def _normalizer(given: Given, a: Attributes) -> Any:
    x = tf.cast(given[0], tf.float32)
    kind = a.get("norm", b"MAX")
    if kind == b"MAX":
        size = tf.reduce_max(tf.abs(x), -1, keepdims=True)
    elif kind == b"L1":
        size = tf.reduce_sum(tf.abs(x), -1, keepdims=True)
    else:
        size = tf.sqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True))
    return tf.where(size == 0, x, x / size)


def _columns(given: Given, _: Attributes) -> Any:
    x, places = given
    x = x[None] if rank(x) == 1 else x
    return tf.gather(x, tf.reshape(places, [-1]), axis=-1)


def _encoded(given: Given, a: Attributes) -> Any:
    """Return the value of each key; of words by comparing, as tables are state."""
    (x,) = given
    keys, values = (
        next((_constant(a, f"{part}_{kind}") for kind in ("int64s", "strings", "floats")
              if a.get(f"{part}_{kind}")), None)
        for part in ("keys", "values")
    )  # fmt: skip
    if keys is None or values is None:
        raise ModelUnsupported("a LabelEncoder whose table is a tensor")
    usual = {
        tf.int64: a.get("default_int64", -1), tf.float32: a.get("default_float", 0.0),
        tf.string: a.get("default_string", b"_Unused"),
    }[values.dtype]  # fmt: skip
    same = x[..., None] == keys
    found = tf.gather(values, tf.argmax(tf.cast(same, tf.int32), -1))
    return tf.where(tf.reduce_any(same, -1), found, tf.constant(usual, values.dtype))


def _constant(a: Attributes, name: str) -> Any:
    kinds = {"int64s": tf.int64, "strings": tf.string, "floats": tf.float32}
    return tf.constant(a[name], kinds[name.partition("_")[2]])


def _imputed(given: Given, a: Attributes) -> Any:
    (x,) = given
    if not x.dtype.is_floating:
        raise ModelUnsupported("an Imputer of integers has no form in TensorFlow here")
    wanted = a.get("replaced_value_float", 0.0)
    missing = tf.math.is_nan(x) if np.isnan(wanted) else x == tf.cast(wanted, x.dtype)
    return tf.where(missing, _array(a, "imputed_value_floats", x.dtype.as_numpy_dtype), x)


OPERATORS: Mapping[str, Operator] = {
    "TreeEnsemble": _tree_sums, "TreeEnsembleRegressor": _tree_values,
    "TreeEnsembleClassifier": _tree_classes,
    "LinearRegressor": _linear_values, "LinearClassifier": _linear_classes,
    "Scaler": _scaler, "Normalizer": _normalizer, "ArrayFeatureExtractor": _columns,
    "LabelEncoder": _encoded, "Imputer": _imputed,
    "Binarizer": lambda given, a: tf.cast(given[0] > a.get("threshold", 0.0), given[0].dtype),
    "FeatureVectorizer": lambda given, _: tf.concat(
        [tf.cast(one, tf.float32) for one in given], -1
    ),
}  # fmt: skip
