"""Nearest neighbours of scikit-learn as ONNX: distances by one matrix product, then the nearest.

```
 features ─▶ − centre ─▶ · −2·seenᵀ + |seen|² ─▶ TopK ─▶ votes of the nearest, summed ─▶ / K
```
|x|² is the same for all and left out. This is how scikit-learn multiplies, too, where it searches
without a tree. skl2onnx goes through the seen rows one by one, in five times the time. The centre
is of integers: tables of integers keep equal distances equal.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from worker.exact.trees.files import FEATURES
from worker.importing.nodes import Nodes, Value


def as_onnx(model: Any, name: str) -> onnx.ModelProto | None:
    """Return the file's message; None: another estimator, metric, weighting, or a search tree.

    Args:
        name: of the output of numbers.
    """
    kind = type(model).__name__
    if kind not in ("KNeighborsClassifier", "KNeighborsRegressor") or model._y.ndim != 1:
        return None
    plain = isinstance(model._fit_X, np.ndarray) and model.weights == "uniform"
    if not plain or model.effective_metric_ != "euclidean" or model._fit_method != "brute":
        return None
    graph, given = Nodes(), np.asarray(model._fit_X, np.float64)
    centre = np.rint(given.mean(0))
    seen, nearest = given - centre, int(model.n_neighbors)
    rows = graph.add("Sub", FEATURES, graph.constant(centre))
    apart = graph.add("Gemm", rows, graph.constant(-2 * seen.T), graph.constant((seen**2).sum(1)))
    graph.nodes.append(
        helper.make_node("TopK", [apart, graph.constant([nearest])], ["near", "places"], largest=0)
    )
    classes = len(getattr(model, "classes_", ()))
    told = np.eye(classes)[model._y] if classes else model._y.reshape(len(seen), 1)
    votes = graph.add("Gather", graph.constant(told.astype(np.float64)), "places")
    sums = graph.add("ReduceSum", votes, graph.constant([1]), keepdims=0)
    means = graph.add("Div", sums, graph.constant(np.float64(nearest)))
    graph.name(graph.add("Cast", means, to=TensorProto.FLOAT), name)
    outputs: list[Value] = [(name, TensorProto.FLOAT, ["rows", told.shape[1]])]
    if classes:
        graph.name(graph.add("ArgMax", sums, axis=-1, keepdims=0), "class")
        outputs.append(("class", TensorProto.INT64, ["rows"]))
    features: Value = (FEATURES, TensorProto.DOUBLE, ["rows", seen.shape[1]])
    return graph.model("neighbours", [features], outputs)
