"""ONNX's own cases: an answer is right or refused with its operator; nothing is silently wrong."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.backend.test.loader import load_model_tests

from oracle.errors import TallystickError
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.lowering.policy import Calibrated

EQUAL = 1080  # at the least
# One range of 16 bits over 0 … 10,003: its step of 0.15 moves a softmax
COARSE = {"test_softmax_large_number"}


class Wide(dict[str, int]):
    """Sixteen bits for every role: what is compared is the reading, not the rounding."""

    def get(self, key: str, default: Any = None) -> int:
        del key, default
        return 16


def outcome(model: Any, given: dict[str, Any], wanted: Sequence[np.ndarray[Any, Any]]) -> str:
    policy = Calibrated(bits=Wide(), weight_bits=16)
    try:
        exact = compile_graph(from_onnx(model, given), [given], policy=policy).answers(given)
    except TallystickError:
        return "refused"
    alike = [close(*pair) for pair in zip(exact.values(), wanted, strict=True)]
    return "equal" if all(alike) else "wrong"


def close(exact: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    ours, theirs = (np.ravel(values).astype(np.float64) for values in (exact, wanted))
    if ours.shape != theirs.shape:
        return False
    apart = np.abs(ours - theirs).max(initial=0)
    return bool(apart <= 0.02 * np.abs(theirs).max(initial=1e-9))


def test_compile__cases_of_onnx__none_is_wrong() -> None:
    told: Counter[str] = Counter()
    wrong = []
    for case in (*load_model_tests(kind="node"), *load_model_tests(kind="simple")):
        if not case.model or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(value, np.ndarray | np.generic) for value in (*inputs, *outputs)):
            continue  # sequences, optional values, types that NumPy does not have
        names = [item.name for item in case.model.graph.input]
        given = {name: np.asarray(value) for name, value in zip(names, inputs, strict=False)}
        found = outcome(case.model, given, outputs)
        told[found] += 1
        if found == "wrong" and case.name not in COARSE:
            wrong.append(case.name)
    assert wrong == []
    assert told["equal"] >= EQUAL, told
    assert told["refused"] > 137  # what has no integer form is said so, by name
