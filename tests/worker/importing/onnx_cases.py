"""`python onnx_cases.py ROOT`: ONNX's own cases in TensorFlow, counted as JSON.

Run by TensorFlow's Python, which has `onnx` and no test library.
"""

import collections
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(sys.argv[1])

import tensorflow as tf
from onnx import numpy_helper, save
from onnx.backend.test.loader import load_model_tests

from worker.errors import ModelRefused
from worker.importing import saved_model

CLOSE = {"float16": 0.05, "bfloat16": 0.05}  # of both, a rounding here and there


def settled(model, given):
    """Make constants of whole numbers that these cases give as inputs: axes, sizes, places."""
    known = {
        one.name: array for one, array in zip(model.graph.input, given, strict=False)
        if array.dtype.kind == "i" and array.ndim < 2
    }  # fmt: skip
    if len(known) < len(given):
        rest = [one for one in model.graph.input if one.name not in known]
        del model.graph.input[:]
        model.graph.input.extend(rest)
        tensors = [numpy_helper.from_array(array, name) for name, array in known.items()]
        model.graph.initializer.extend(tensors)
        return [a for a in given if not (a.dtype.kind == "i" and a.ndim < 2)]
    return given


def same(found, wanted):
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return False
    if wanted.dtype.name in ("int64", "int32", "bool", "uint8", "int8"):
        return bool(np.array_equal(found, wanted))
    far = CLOSE.get(wanted.dtype.name, 1e-4)
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    return bool(np.allclose(found, wanted, rtol=far, atol=far, equal_nan=True))


def outcome(case, path):
    given, wanted = case.data_sets[0]
    given = settled(case.model, [np.asarray(one) for one in given])
    save(case.model, path)
    try:
        graph = saved_model.TensorflowGraph(saved_model.read(path))
        answer = graph.answer.get_concrete_function()
        found = answer(*map(tf.constant, given))
    except (ModelRefused, tf.errors.OpError):
        return "refused"
    return (
        "equal"
        if all(
            same(found[one.name].numpy(), np.asarray(array))
            for one, array in zip(case.model.graph.output, wanted, strict=False)
        )
        else "wrong"
    )


def main():
    told, wrong = collections.Counter(), []
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as place:
        for kind in ("node", "simple"):
            for case in load_model_tests(kind=kind):
                if not case.model or not case.data_sets:
                    continue
                arrays = [one for some in case.data_sets[0] for one in some]
                if not all(isinstance(one, np.ndarray | np.generic) for one in arrays):
                    continue
                if any(np.asarray(one).dtype.kind in "OUSc" for one in arrays):
                    continue
                found = outcome(case, Path(place) / "model.onnx")
                told[found] += 1
                if found == "wrong":
                    wrong.append(case.name)
    print(json.dumps({**told, "names": wrong}))


if __name__ == "__main__":
    main()
