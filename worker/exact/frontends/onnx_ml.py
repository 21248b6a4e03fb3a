"""Operators of domain ai.onnx.ml in the float graph, as skl2onnx writes linear pipelines.

Source: onnx/docs/Operators-ml.md. Files of trees alone are another reader's (trees/onnx.py).
"""

from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends.onnx_calls import Values, composed, operand
from worker.exact.frontends.onnx_indices import gather
from worker.exact.frontends.onnx_svm import MACHINES
from worker.exact.frontends.tracing import Converter, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import X

DOMAIN = "ai.onnx.ml"


def _scaler(trace: GraphRecorder, call: OperatorCall) -> Any:
    """(x − offset) · scale, by column."""
    offset, scale = (torch.tensor(call[name]) for name in ("offset", "scale"))
    return trace.calculate("mul", trace.calculate("sub", operand(call, 0), offset), scale)


def _scores(trace: GraphRecorder, call: OperatorCall, rows: int) -> Any:
    weights = torch.tensor(call["coefficients"]).reshape(rows, -1)
    bias = torch.tensor(call.arguments.get("intercepts") or [0.0] * rows)
    made = trace.apply("linear", operand(call, 0), weights, bias)
    kind = call.arguments.get("post_transform", b"NONE").decode()
    if kind == "NONE":
        return made
    if kind == "LOGISTIC":
        return trace.function(("sigmoid", X), made)
    if kind == "SOFTMAX":
        return trace.apply("softmax", made)
    raise trace.refuse(call.name, f"post_transform {kind}", instead="NONE, LOGISTIC or SOFTMAX")


def _regressor(trace: GraphRecorder, call: OperatorCall) -> Any:
    return _scores(trace, call, int(call.arguments.get("targets", 1)))


def _classifier(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Scores of two or more classes that are numbered from 0, and the place of the greatest."""
    labels = call.arguments.get("classlabels_ints")
    if labels is None or labels != list(range(len(labels))):
        raise trace.refuse(
            call.name, "its classes are not numbered from 0", instead="labels 0, 1, 2, …"
        )
    if len(call.arguments.get("intercepts", labels)) != len(labels):
        raise trace.refuse(call.name, "one score for two classes", instead="a score for each class")
    scores = _scores(trace, call, len(labels))
    found = dict(zip(call["places"], zip(call.outputs, call.results, strict=True), strict=True))
    made: dict[str, Any] = {}
    for place, (name, result) in found.items():
        value = trace.apply("argmax", scores) if place == 0 else scores
        made |= trace.done(OperatorCall(call.name, {}, (name,), (result,)), value)
    return made


def _normaliser(trace: GraphRecorder, call: OperatorCall) -> Any:
    """Rows of length 1. Shares that a softmax made add up to 1, so nothing changes them."""
    x, kind = operand(call, 0), call.arguments.get("norm", b"MAX").decode()
    if kind == "L2":
        return trace.calculate("div", x, trace.apply("norm", x))
    if kind != "L1":
        raise trace.refuse(call.name, f"norm {kind}", instead="L1 or L2")
    if _is_softmax(trace, x):
        return x
    sizes = trace.function(("abs", X), x)
    return trace.calculate("div", x, trace.apply("sum", sizes, dims=(1,), keep=True))


def _extracted(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Columns by their places; of constants, the one at the place that the model chose."""
    places = trace.move("reshape", operand(call, 1), (-1,))
    given = {**call.arguments, "": [operand(call, 0), places], "axis": -1}
    return gather(trace, OperatorCall("Gather", given, call.outputs, call.results))


def _is_softmax(trace: GraphRecorder, x: Any) -> bool:
    made = trace.maker(x.name)
    return made is not None and made.op == "softmax"


def _trees(trace: GraphRecorder, call: OperatorCall) -> Values:
    raise trace.refuse(
        call.name, "its thresholds are compared in the library's own precision",
        instead="a file with the trees alone, or the library's own (.skops, .ubj, .json, .txt): "
        "both compile with --exact",
    )  # fmt: skip


OPERATORS: Mapping[str, Converter] = {
    "Scaler": composed(_scaler), "LinearRegressor": composed(_regressor),
    "LinearClassifier": _classifier, "ArrayFeatureExtractor": _extracted,
    "Normalizer": composed(_normaliser), **MACHINES,
    **dict.fromkeys(("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"), _trees),
}  # fmt: skip
