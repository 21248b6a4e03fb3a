"""The stages of a Spark pipeline as an ONNX graph in doubles, in which Spark computes.

```
 features ─▶ StringIndexer, OneHotEncoder, VectorAssembler, scalers ─▶ trees | linear ─▶ numbers
         └─▶ is every place one of its column's words? ───────────────── else ─▶ NaN ─┘
```
Nobody delivers NaN, so a word that the model never saw is never answered. A split on categories is
one on a column of a table: 0 to the left, 1 to the right.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oracle.exact.quantisation import Link
from oracle.exact.ranks import Missing
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.trees.ensemble import DecisionTree, Ensemble, check, on_thresholds
from worker.exact.trees.files import FEATURES
from worker.importing.converted import Array, Categories
from worker.importing.nodes import Nodes
from worker.importing.sklearn_graph import then_trees
from worker.importing.tree_graph import outputs_of

_FEATURE = ("StringIndexerModel", "OneHotEncoderModel", "VectorAssembler", "StandardScalerModel",
            "MinMaxScalerModel", "IndexToString")  # fmt: skip
_TREES = ("DecisionTree", "RandomForest", "GBT")
# Classes, and the package of each below org.apache.spark.ml
KNOWN: Mapping[str, str] = {
    **dict.fromkeys(_FEATURE, "feature"),
    **dict.fromkeys(("LogisticRegressionModel", "LinearSVCModel"), "classification"),
    "LinearRegressionModel": "regression",
    **{f"{name}ClassificationModel": "classification" for name in _TREES},
    **{f"{name}RegressionModel": "regression" for name in _TREES},
}
_UNKNOWN = "__unknown"  # Spark's word for all others where `handleInvalid` is `keep`


@dataclass(frozen=True, slots=True)
class SparkStage:
    """One stage: its class, parameters (defaults filled in), and the rows of its tables."""

    name: str
    folder: Path
    params: Mapping[str, Any]
    tables: Mapping[str, Sequence[Any]]
    metadata: Mapping[str, Any]

    @property
    def predicts(self) -> bool:
        """Whether it answers."""
        return KNOWN[self.name] != "feature"

    @property
    def takes(self) -> tuple[str, ...]:
        """Columns that it reads."""
        if self.predicts:
            return (self.params["featuresCol"],)
        return tuple(self.params.get("inputCols") or (self.params["inputCol"],))

    @property
    def makes(self) -> tuple[str, ...]:
        """Columns that it writes."""
        several = self.name != "VectorAssembler" and self.params.get("outputCols")
        return tuple(several or (self.params["outputCol"],))

    @property
    def row(self) -> Any:
        """The only row of its data."""
        (row,) = self.tables["data"]
        return row


@dataclass(slots=True)
class SparkPipeline:
    """A graph, and how Spark is asked for the same.

    Attributes:
        names: of the columns of numbers and words; none where `vector` is the only one.
        gives: Spark's column of each output.
        categories: of the columns that hold words.
        spread: mean and deviation of the columns that numbers are drawn from.
    """

    nodes: Nodes
    last: SparkStage
    names: tuple[str, ...] = ()
    vector: str = ""
    width: int = 0
    labels: tuple[str, ...] = ()
    gives: dict[str, str] = field(default_factory=dict)
    categories: dict[str, Categories] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    valid: list[str] = field(default_factory=list)
    spread: tuple[Array, Array] | None = None
    ensemble: Ensemble | None = None
    outputs: list[Any] = field(default_factory=list)

    def words(self, name: str) -> tuple[str, ...] | None:
        """Return the words of a column by their places; None of numbers."""
        found = self.categories.get(name)
        return None if found is None else (*found.words, *([_UNKNOWN] if found.other else []))

    def drawn(self, count: int) -> Array:
        """Draw rows [count, columns] of float64 such as the model was trained on."""
        dice = np.random.default_rng(0)
        noise = dice.standard_normal((count, self.width))
        if self.spread is not None and len(self.spread[0]) == self.width:
            noise = self.spread[0] + self.spread[1] * noise
        elif self.ensemble is not None and self.ensemble.features == self.width:
            for column in range(self.width):
                on = [t.threshold[(t.left >= 0) & (t.feature == column)]
                      for t in self.ensemble.trees]  # fmt: skip
                noise[:, column] = on_thresholds(
                    np.concatenate(on), count, np.dtype(np.float64), dice
                )
        for place, name in enumerate(self.names):
            if (words := self.words(name)) is not None:
                noise[:, place] = dice.integers(0, len(words), count)
        return noise

    def model(self) -> bytes:
        """Return the file."""
        given = [(FEATURES, TensorProto.DOUBLE, ["rows", self.width])]
        if self.ensemble is None:
            return bytes(self.nodes.model("spark", given, self.outputs).SerializeToString())
        head = [("vector", TensorProto.DOUBLE, ["rows", self.ensemble.features])]
        if self.valid:
            self.nodes.name(_valid(self), "valid")
            head.append(("valid", TensorProto.BOOL, ["rows", 1]))
        file = then_trees(self.nodes.model("spark", given, head), self.ensemble)
        numbers = outputs_of(self.ensemble)[0]
        return _guarded(onnx.load_from_string(file), numbers) if self.valid else file


def assembled(stages: Sequence[SparkStage]) -> SparkPipeline:
    """Return the graph of a pipeline.

    Raises:
        ModelUnsupported: no stage or several that predict, or what no graph here does.
        WeightsInvalid: tables that do not fit their stages.
    """
    last, before, after = _last(stages)
    made = SparkPipeline(Nodes(), last)
    kept, raw = _needed(last, before)
    try:
        _inputs(made, kept, raw)
        for stage in kept:
            _STAGES[stage.name](made, stage)
        _labels(made, before, after)
        _PREDICTORS[last.name](made, made.values[last.params["featuresCol"]])
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise WeightsInvalid(f"the pipeline is damaged: {error!r:.200}") from error
    return made


def _last(stages: Sequence[SparkStage]) -> tuple[SparkStage, list[SparkStage], list[SparkStage]]:
    """Return the stage that predicts, those before it, and those behind it."""
    places = [place for place, stage in enumerate(stages) if stage.predicts]
    if len(places) != 1:
        raise ModelUnsupported(
            f"a pipeline with {len(places)} stages that predict", hint="save one with a single one"
        )
    (place,) = places
    last, after = stages[place], list(stages[place + 1 :])
    if any(stage.name != "IndexToString" for stage in after):
        raise ModelUnsupported(
            f"{after[0].name} behind {last.name}", hint="end with the prediction"
        )
    if last.params.get("thresholds"):
        raise ModelUnsupported(f"thresholds of {last.name}", hint="leave `thresholds` unset")
    return last, list(stages[:place]), after


def _needed(last: SparkStage, before: Sequence[SparkStage]) -> tuple[list[SparkStage], list[str]]:
    """Return the stages that the prediction hangs on, and the columns that a request gives."""
    needed, kept = list(last.takes), list[SparkStage]()
    for stage in reversed(before):
        if any(name in needed for name in stage.makes):
            kept.insert(0, stage)
            needed = [name for name in needed if name not in stage.makes]
            needed += [name for name in stage.takes if name not in needed]
    made = {name for stage in kept for name in stage.makes}
    order = [name for stage in kept for name in stage.takes] + list(last.takes)
    return kept, [name for name in dict.fromkeys(order) if name not in made]


def _inputs(made: SparkPipeline, kept: Sequence[SparkStage], raw: Sequence[str]) -> None:
    """Name the columns of a request, and split them."""
    whole = {name for stage in (*kept, made.last) for name in stage.takes
             if stage.predicts or stage.name.endswith("ScalerModel")}  # fmt: skip
    if whole & set(raw):
        if len(raw) != 1:
            raise ModelUnsupported(
                "a column of vectors beside others", hint="assemble all columns in the pipeline"
            )
        made.vector, made.width = raw[0], int(made.last.metadata.get("numFeatures") or 0)
        made.width = made.width or int(_weights(made.last)[0].shape[1])
        made.values[raw[0]] = FEATURES
        return
    made.names, made.width = tuple(raw), len(raw)
    for place, name in enumerate(raw):
        made.values[name] = made.nodes.add(
            "Gather", FEATURES, made.nodes.constant(np.array([place])), axis=1
        )


def _labels(made: SparkPipeline, before: Sequence[SparkStage], after: Sequence[SparkStage]) -> None:
    """Name the classes: as behind the prediction, as the labels were indexed, else by number."""
    if KNOWN[made.last.name] != "classification":
        return
    for stage in after:
        if found := stage.params.get("labels"):
            made.labels = tuple(map(str, found))
            return
    for stage in before:
        if stage.name == "StringIndexerModel" and made.last.params["labelCol"] in stage.makes:
            place = stage.makes.index(made.last.params["labelCol"])
            made.labels = tuple(map(str, stage.row["labelsArray"][place]))
            return
    count = made.last.metadata.get("numClasses") or 2
    if made.last.name == "LogisticRegressionModel":
        count = made.last.row["numClasses"]
    made.labels = tuple(str(number) for number in range(int(count)))


# ── Columns ─────────────────────────────────────────────────────────────────────────────────────
def _string_indexer(made: SparkPipeline, stage: SparkStage) -> None:
    other = _other(stage)
    for name, output, words in zip(stage.takes, stage.makes, stage.row["labelsArray"], strict=True):
        if name not in made.names or name in made.categories:
            raise ModelUnsupported(
                f"the words of {name} are made by another stage, or are used twice",
                hint="index each column of words once",
            )
        found = made.categories[name] = Categories(tuple(map(str, words)), other)
        value = made.values[output] = made.values[name]
        whole = made.nodes.add("Equal", value, made.nodes.add("Floor", value))
        made.valid += [whole, *_between(made, value, len(found.words) + other)]


def _between(made: SparkPipeline, value: str, count: int) -> list[str]:
    """Return whether a value is at least zero and below a count."""
    above = made.nodes.add("GreaterOrEqual", value, made.nodes.constant(0.0))
    return [above, made.nodes.add("Less", value, made.nodes.constant(float(count)))]


def _other(stage: SparkStage) -> bool:
    """Return whether a stage takes what it never saw as one value more."""
    return bool(stage.params.get("handleInvalid") == "keep")


def _one_hot(made: SparkPipeline, stage: SparkStage) -> None:
    other = _other(stage)
    sizes = [int(size) for size in stage.row["categorySizes"]]
    for name, output, size in zip(stage.takes, stage.makes, sizes, strict=True):
        value, width = made.values[name], size + other - bool(stage.params["dropLast"])
        if other:
            value = made.nodes.add("Min", value, made.nodes.constant(float(size)))
        else:
            made.valid += _between(made, value, size)
        same = made.nodes.add("Equal", value, made.nodes.constant(np.arange(width, dtype=float)))
        made.values[output] = made.nodes.add("Cast", same, to=TensorProto.DOUBLE)


def _assembler(made: SparkPipeline, stage: SparkStage) -> None:
    given = [made.values[name] for name in stage.takes]
    made.values[stage.makes[0]] = made.nodes.add("Concat", *given, axis=1)


def _standard_scaler(made: SparkPipeline, stage: SparkStage) -> None:
    std, mean = stage.row["std"].toArray(), stage.row["mean"].toArray()
    value = made.values[stage.takes[0]]
    if stage.params["withMean"]:
        value = made.nodes.add("Sub", value, made.nodes.constant(mean))
    if stage.params["withStd"]:
        inverse = np.divide(1.0, std, out=np.zeros_like(std), where=std != 0)
        value = made.nodes.add("Mul", value, made.nodes.constant(inverse))
    made.values[stage.makes[0]] = value
    made.spread = made.spread or (mean, std)


def _min_max_scaler(made: SparkPipeline, stage: SparkStage) -> None:
    low, high = stage.row["originalMin"].toArray(), stage.row["originalMax"].toArray()
    least, most, span = float(stage.params["min"]), float(stage.params["max"]), high - low
    scale = np.divide(most - least, span, out=np.zeros_like(span), where=span != 0)
    base = np.where(span != 0, least, (least + most) / 2)
    value = made.nodes.add("Sub", made.values[stage.takes[0]], made.nodes.constant(low))
    value = made.nodes.add("Mul", value, made.nodes.constant(scale))
    made.values[stage.makes[0]] = made.nodes.add("Add", value, made.nodes.constant(base))
    made.spread = made.spread or ((low + high) / 2, span / 2)


_STAGES: Mapping[str, Callable[[SparkPipeline, SparkStage], None]] = {
    "StringIndexerModel": _string_indexer, "OneHotEncoderModel": _one_hot,
    "VectorAssembler": _assembler, "StandardScalerModel": _standard_scaler,
    "MinMaxScalerModel": _min_max_scaler,
}  # fmt: skip


# ── Linear models ───────────────────────────────────────────────────────────────────────────────
def _weights(last: SparkStage) -> tuple[Array, Array]:
    """Return weights [outputs, features] and intercepts [outputs]."""
    row = last.row
    if last.name == "LogisticRegressionModel":
        return row["coefficientMatrix"].toArray(), row["interceptVector"].toArray()
    return row["coefficients"].toArray()[None], np.array([row["intercept"]])


def _linear(made: SparkPipeline, vector: str) -> str:
    weights, base = _weights(made.last)
    value = made.nodes.add("MatMul", vector, made.nodes.constant(weights.T.copy()))
    return made.nodes.add("Add", value, made.nodes.constant(base))


def _logistic(made: SparkPipeline, vector: str) -> None:
    scores = _linear(made, vector)
    if made.last.row["isMultinomial"]:
        chosen = made.nodes.add("ArgMax", scores, axis=-1, keepdims=0)
        _gives(made, made.nodes.add("Softmax", scores, axis=-1), len(made.labels), chosen)
        return
    cut = float(made.last.params["threshold"])
    limit = math.inf if cut >= 1 else -math.inf if cut <= 0 else math.log(cut / (1 - cut))
    second = made.nodes.add("Sigmoid", scores)
    first = made.nodes.add("Sub", made.nodes.constant(1.0), second)
    numbers = made.nodes.add("Concat", first, second, axis=-1)
    _gives(made, numbers, 2, _above(made, scores, limit))


def _support_vectors(made: SparkPipeline, vector: str) -> None:
    scores = _linear(made, vector)
    numbers = made.nodes.add("Concat", made.nodes.add("Neg", scores), scores, axis=-1)
    _gives(made, numbers, 2, _above(made, scores, float(made.last.params["threshold"])))


def _above(made: SparkPipeline, scores: str, limit: float) -> str:
    chosen = made.nodes.add("Greater", scores, made.nodes.constant(limit))
    chosen = made.nodes.add("Cast", chosen, to=TensorProto.INT64)
    return made.nodes.add("Reshape", chosen, made.nodes.constant(np.array([-1])))


def _gives(made: SparkPipeline, numbers: str, width: int, chosen: str = "") -> None:
    params = made.last.params
    name, column = "value", params["predictionCol"]
    if chosen:
        raw = made.last.name == "LinearSVCModel"
        name = "scores" if raw else "probabilities"
        column = params["rawPredictionCol" if raw else "probabilityCol"]
    if made.valid:
        numbers = made.nodes.add("Where", _valid(made), numbers, made.nodes.constant(math.nan))
    made.nodes.name(made.nodes.add("Cast", numbers, to=TensorProto.FLOAT), name)
    made.outputs.append((name, TensorProto.FLOAT, ["rows", width]))
    made.gives[name] = column
    if chosen:
        made.nodes.name(chosen, "class")
        made.outputs.append(("class", TensorProto.INT64, ["rows"]))
        made.gives["class"] = params["predictionCol"]


# ── Trees ───────────────────────────────────────────────────────────────────────────────────────
def _trees(made: SparkPipeline, vector: str) -> None:
    last, params = made.last, made.last.params
    nodes, weights = _nodes(last), [1.0]
    if "treesMetadata" in last.tables:
        weights = [float(row[2]) for row in sorted(last.tables["treesMetadata"])]
    if len(nodes) != len(weights):
        raise WeightsInvalid(f"{len(nodes)} trees, weights of {len(weights)}")
    width, splits = int(last.metadata["numFeatures"]), _Splits()
    boosted, classes = last.name.startswith("GBT"), made.labels
    trees: list[DecisionTree] = []
    for rows, weight in zip(nodes, weights, strict=True):
        if boosted or not classes:
            values = [np.array([row["prediction"] for row in rows]) * weight]
        else:
            counts = np.array([list(row["impurityStats"]) for row in rows])
            total = counts.sum(1, keepdims=True)
            shares = np.divide(counts, total, out=np.zeros_like(counts), where=total != 0)
            values = [shares[:, 1]] if len(classes) == 2 else list(shares.T)
        trees += [_tree(rows, one, number, width, splits) for number, one in enumerate(values)]
    link: Link = "identity"
    if classes:
        link = "logistic" if boosted else "two" if len(classes) == 2 else "identity"
    missing: tuple[Missing, ...] = tuple("refused" for _ in range(width + len(splits.found)))
    made.ensemble = check(Ensemble(
        tuple(trees), (0.0,) * (len(classes) if len(classes) > 2 else 1),
        width + len(splits.found), "float64", missing,
        factor=1.0 if boosted else 1 / len(nodes), classes=classes, link=link,
        meaning="probabilities" if classes else "value", slope=2.0 if boosted and classes else 1.0,
        cut=0.5 if link == "two" else 0.0,
    ))  # fmt: skip
    made.nodes.name(splits.beside(made, vector), "vector")
    numbers, *chosen = outputs_of(made.ensemble)
    made.gives[numbers] = params["probabilityCol" if classes else "predictionCol"]
    made.gives |= dict.fromkeys(chosen, params["predictionCol"])


def _nodes(last: SparkStage) -> list[list[Any]]:
    """Return the nodes of each tree in the order of their ids."""
    found: dict[int, list[Any]] = {}
    for row in last.tables["data"]:
        tree, node = (row["treeID"], row["nodeData"]) if "treeID" in row else (0, row)
        found.setdefault(int(tree), []).append(node)
    for tree, rows in found.items():
        rows.sort(key=lambda row: int(row["id"]))
        if [row["id"] for row in rows] != list(range(len(rows))):
            raise WeightsInvalid(f"tree {tree} has nodes that are missing or twice")
    return [found[tree] for tree in sorted(found)]


@dataclass(slots=True)
class _Splits:
    """Splits on categories, each of which becomes a column: 0 to the left, 1 to the right."""

    found: dict[tuple[int, int, frozenset[int]], int] = field(default_factory=dict)

    def column(self, feature: int, count: int, left: Sequence[float]) -> int:
        """Return the number of a split's column, counted from the first."""
        key = (feature, count, frozenset(int(one) for one in left))
        return self.found.setdefault(key, len(self.found))

    def beside(self, made: SparkPipeline, vector: str) -> str:
        """Return a vector with these columns behind its own."""
        columns = [vector]
        for feature, count, left in self.found:
            table = np.array([float(place not in left) for place in range(count)])
            value = made.nodes.add("Gather", vector, made.nodes.constant([feature]), axis=1)
            made.valid += _between(made, value, count)
            value = made.nodes.add(
                "Clip", value, made.nodes.constant(0.0), made.nodes.constant(count - 1.0)
            )
            place = made.nodes.add("Cast", value, to=TensorProto.INT64)
            columns.append(made.nodes.add("Gather", made.nodes.constant(table), place))
        return made.nodes.add("Concat", *columns, axis=1)


def _tree(
    rows: Sequence[Any], values: Array, output: int, width: int, splits: _Splits
) -> DecisionTree:
    feature, threshold = np.zeros(len(rows), np.int64), np.zeros(len(rows))
    for place, row in enumerate(rows):
        split, left = row["split"], row["split"]["leftCategoriesOrThreshold"]
        if row["leftChild"] < 0:
            continue
        if (count := int(split["numCategories"])) < 0:
            feature[place] = split["featureIndex"]
            threshold[place] = np.nextafter(float(left[0]), np.inf)  # x ≤ t is x < next(t)
        else:
            feature[place] = width + splits.column(int(split["featureIndex"]), count, left)
            threshold[place] = 0.5
    left, right = (np.array([int(row[name]) for row in rows]) for name in
                   ("leftChild", "rightChild"))  # fmt: skip
    return DecisionTree(
        feature,
        threshold,
        left,
        right,
        np.zeros(len(rows), bool),
        np.asarray(values, float),
        output,
    )


_PREDICTORS: Mapping[str, Callable[[SparkPipeline, str], None]] = {
    "LogisticRegressionModel": _logistic, "LinearSVCModel": _support_vectors,
    "LinearRegressionModel": lambda made, vector: _gives(made, _linear(made, vector), 1),
    **{name: _trees for name in KNOWN if name.startswith(_TREES)},
}  # fmt: skip


# ── Words that the model never saw ──────────────────────────────────────────────────────────────
def _valid(made: SparkPipeline) -> str:
    """Return whether each place of a row is that of a word: bool [rows, 1]."""
    whole = made.valid[0]
    for one in made.valid[1:]:
        whole = made.nodes.add("And", whole, one)
    return whole


def _guarded(model: onnx.ModelProto, numbers: str) -> bytes:
    """Return the file of trees, whose numbers are NaN where the output `first/valid` is not."""
    (node,) = (node for node in model.graph.node if numbers in node.output)
    node.output[0] = "unguarded"
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
    model.graph.node.append(
        helper.make_node("Where", ["first/valid", "unguarded", "nan"], [numbers])
    )
    kept = [one for one in model.graph.output if one.name != "first/valid"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return bytes(model.SerializeToString())
