"""Support vector machines of domain ai.onnx.ml in the float graph, as skl2onnx writes them.

A machine is a kernel of the input with every support vector, and a product with coefficients. All
values have 16 bits: sums of many kernels cancel each other.

Sources: onnx/docs/Operators-ml.md; onnxruntime 1.32, core/providers/cpu/ml/svmclassifier.cc.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch

from worker.exact.frontends.onnx_calls import Values, composed, operand
from worker.exact.frontends.tracing import Converter, GraphRecorder, OperatorCall
from worker.exact.lowering.expressions import Expression, X

_WIDE = {"role": "gate"}  # 16 bits


def _kernels(trace: GraphRecorder, call: OperatorCall) -> Any:
    """Return the kernel of the input with each support vector: [1, S]."""
    kind = call.arguments.get("kernel_type", b"LINEAR").decode()
    gamma, offset, degree = call.arguments.get("kernel_params") or (1.0, 0.0, 1.0)
    x = operand(call, 0)
    vectors = torch.tensor(call["support_vectors"]).reshape(-1, x.shape[-1])
    if kind == "LINEAR":
        return trace.apply("linear", x, vectors, None, **_WIDE)
    if kind == "RBF":  # of |x - v|^2 = |x|^2 + |v|^2 - 2 x v
        lengths = (vectors**2).sum(1)
        products = trace.apply("linear", x, 2 * gamma * vectors, -gamma * lengths, **_WIDE)
        squares = trace.apply("pointwise", x, expression=("mul", X, X), **_WIDE)
        total = trace.apply("sum", squares, dims=(1,), keep=True, **_WIDE)
        apart = trace.apply("sub", products, trace.calculate("mul", total, gamma), **_WIDE)
        return _function(trace, ("exp", ("minimum", X, 0.0)), apart)
    functions: Mapping[str, Expression] = {"POLY": ("pow", X, degree), "SIGMOID": ("tanh", X)}
    if kind not in functions:
        raise trace.refuse(call.name, f"kernel {kind}", instead="LINEAR, POLY, RBF or SIGMOID")
    bias = torch.full((len(vectors),), offset)
    made = trace.apply("linear", x, gamma * vectors, bias, **_WIDE)
    return _function(trace, functions[kind], made)


def _function(trace: GraphRecorder, expression: Expression, x: Any) -> Any:
    return trace.apply("pointwise", x, expression=expression, **_WIDE)


def _require_plain(trace: GraphRecorder, call: OperatorCall) -> None:
    if (kind := call.arguments.get("post_transform", b"NONE").decode()) != "NONE":
        raise trace.refuse(call.name, f"post_transform {kind}", instead="NONE")
    if not call.arguments.get("support_vectors") or call.arguments.get("one_class"):
        raise trace.refuse(
            call.name, "it has no support vectors, or one class",
            instead="LinearRegressor, LinearClassifier",
        )  # fmt: skip


def _regressor(trace: GraphRecorder, call: OperatorCall) -> Any:
    _require_plain(trace, call)
    weights = torch.tensor(call["coefficients"]).reshape(1, -1)
    return trace.apply("linear", _kernels(trace, call), weights, torch.tensor(call["rho"]), **_WIDE)


def _classifier(trace: GraphRecorder, call: OperatorCall) -> Values:
    """One machine for each pair of classes: its scores, and the class that most pairs choose."""
    _require_plain(trace, call)
    labels = call.arguments.get("classlabels_ints") or []
    counts = list(call["vectors_per_class"])
    if labels != list(range(len(counts))):
        raise trace.refuse(
            call.name, "its classes are not numbered from 0", instead="labels 0, 1, 2, …"
        )
    if call.arguments.get("prob_a"):
        raise trace.refuse(
            call.name, "it couples probabilities of pairs", instead="SVC(probability=False)"
        )
    pairs = list(combinations(range(len(counts)), 2))
    parts = torch.split(torch.tensor(call["coefficients"]).reshape(len(counts) - 1, -1), counts, 1)
    weights, votes = [], torch.zeros(len(counts), len(pairs))
    base = torch.zeros(len(counts))
    for at, (one, other) in enumerate(pairs):
        own = [torch.zeros(count) for count in counts]
        own[one], own[other] = parts[one][other - 1], parts[other][one]
        weights.append(torch.cat(own))
        votes[one, at], votes[other, at] = 1, -1
        base[other] += 1
    rho = torch.tensor(call["rho"])
    scores = trace.apply("linear", _kernels(trace, call), torch.stack(weights), rho, **_WIDE)
    named = dict(zip(call["places"], zip(call.outputs, call.results, strict=True), strict=True))
    found: dict[str, Any] = {}
    for place, (name, result) in named.items():
        value = scores
        if place == 0:
            won = trace.function(("gt", X, 0.0), scores)
            value = trace.apply("argmax", trace.apply("linear", won, votes, base))
        elif len(pairs) == 1 and result.shape[-1] == 2:  # of either class
            value = trace.apply("linear", scores, torch.tensor([[-1.0], [1.0]]), None, **_WIDE)
        found |= trace.done(OperatorCall(call.name, {}, (name,), (result,)), value)
    return found


MACHINES: Mapping[str, Converter] = {
    "SVMRegressor": composed(_regressor), "SVMClassifier": _classifier,
}  # fmt: skip
