"""An ONNX file as TensorFlow's SavedModel, and what that answers once it is loaded again.

```
 model.onnx ─▶ operators of TensorFlow, weights as variables ─save─▶ FOLDER ─load─▶ answers
```
Runs in TensorFlow's own Python, confined. Whoever asked holds the answers to the served model's.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf  # type: ignore[import-untyped]  # of its own Python
from onnx import inliner, numpy_helper

from oracle.protocol import npz
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.importing import tf_ml, tf_operators, tf_recurrent
from worker.importing.converted import SAVED_MODEL, Array, Conversion, Converted
from worker.importing.tf_operators import Attributes, Operator

OLDEST = 13  # opset: older operators take as attributes what are inputs here
SIGNATURE = "serving_default"
_VARIABLE = 16  # numbers of a weight, at least, that is kept as a variable
_OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("", name): one for name, one in {**tf_operators.OPERATORS, **tf_recurrent.OPERATORS}.items()
} | {("ai.onnx.ml", name): one for name, one in tf_ml.OPERATORS.items()}


def convert(job: Conversion) -> Converted:
    """Write the folder beside the job; return what it answers to the samples once it is loaded.

    The samples are an NPZ of "n/input", where n counts questions; answers are named alike.

    Raises:
        ModelUnsupported: an operator that has no form here, or that fails.
        WeightsInvalid: no ONNX file, or a graph that does not fit together.
    """
    model = read(Path(job.source))
    graph = TensorflowGraph(model)
    target = Path(SAVED_MODEL)
    try:
        tf.saved_model.save(graph.module(), str(target), signatures={SIGNATURE: graph.answer})
    except (ModelUnsupported, WeightsInvalid):
        raise
    except Exception as error:  # TensorFlow raises what it likes
        raise ModelUnsupported(f"TensorFlow does not save the graph: {_said(error)}") from error
    answers = dict(_answers(target, Path(job.samples)))
    return Converted(b"", f"tensorflow {tf.__version__}", answers=answers)


def _answers(folder: Path, samples: Path) -> Iterator[tuple[str, Array]]:
    called = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    with samples.open("rb") as file:
        given = npz.read(file)
    for number in sorted({name.partition("/")[0] for name in given}):
        asked = {
            argument(name.partition("/")[2]): tf.constant(array)
            for name, array in given.items() if name.startswith(f"{number}/")
        }  # fmt: skip
        try:
            found = called(**asked)
        except Exception as error:  # TensorFlow raises what it likes
            raise ModelUnsupported(f"TensorFlow does not run the graph: {_said(error)}") from error
        yield from ((f"{number}/{name}", one.numpy()) for name, one in found.items())


def argument(name: str) -> str:
    """Return an input's name as Python can call it: what signatures ask for."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    return found if found[:1].isalpha() else f"in_{found}"


def read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
        model = inliner.inline_local_functions(model) if model.functions else model
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # protobuf's errors share no base class over its versions
        raise WeightsInvalid(f"not an ONNX file: {error!s:.200}") from error
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    named = {(_domain(node), node.op_type) for node in model.graph.node}
    unknown = sorted(name for _, name in named - set(_OPERATORS))
    if unknown or opset < OLDEST:
        what = ", ".join(unknown)[:200] if unknown else f"opset {opset}"
        raise ModelUnsupported(
            f"the graph has {what}, which has no form in TensorFlow here",
            hint="`--to onnx` writes the file as it is, which onnxruntime runs",
        )
    return inferred


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else str(node.domain)


def _attributes(node: onnx.NodeProto) -> Attributes:
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


class TensorflowGraph:
    """A graph that TensorFlow runs: `answer` takes inputs by name, returns outputs by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._constants: dict[str, Any] = {}
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind == "f" and array.size >= _VARIABLE:
                array = tf.Variable(array, trainable=False, name=argument(tensor.name))
            self._constants[tensor.name] = array
        inputs = [one for one in model.graph.input if one.name not in self._constants]
        self._inputs = [one.name for one in inputs]
        specs = [_spec(one) for one in inputs]
        if len({spec.name for spec in specs}) < len(specs):
            raise ModelUnsupported("two inputs have the same name in Python")
        self._shapes = {
            one.name: _spec(one).shape for one in model.graph.value_info
            if one.type.HasField("tensor_type") and one.type.tensor_type.HasField("shape")
        }  # fmt: skip

        def run(*given: Any) -> dict[str, Any]:
            return self._run(dict(zip(self._inputs, given, strict=True)))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [inspect.Parameter(spec.name, kind) for spec in specs]
        run.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]  # TensorFlow's
        self.answer = tf.function(run, input_signature=specs, autograph=False)

    def module(self) -> Any:
        """Return what TensorFlow saves: the function and its variables."""
        module = tf.Module()
        module.weights = [one for one in self._constants.values() if isinstance(one, tf.Variable)]
        module.answer = self.answer
        return module

    def _run(self, values: dict[str, Any]) -> dict[str, Any]:
        for name, one in self._constants.items():
            values[name] = tf.constant(one) if isinstance(one, np.ndarray) else one.value()
        for node in self._graph.node:
            operator = _OPERATORS[_domain(node), node.op_type]
            try:
                given = [values[name] if name else None for name in node.input]
                made = operator(given, _attributes(node))
                several = made if isinstance(made, list | tuple) else [made]
                for name, value in zip(node.output, several, strict=False):
                    if name in self._shapes:
                        value.set_shape(self._shapes[name])
                    values[name] = value
            except ModelUnsupported:
                raise
            except Exception as error:  # TensorFlow raises what it likes
                where = f"{node.op_type} {node.name or node.output[0]}"
                raise ModelUnsupported(
                    f"TensorFlow does not take {where:.80}: {_said(error)}",
                    hint="`--to onnx` writes the file as it is, which onnxruntime runs",
                ) from error
        if missing := [one.name for one in self._graph.output if one.name not in values]:
            raise ModelUnsupported(f"output {missing[0]:.80} has no form in TensorFlow here")
        return {one.name: tf.identity(values[one.name]) for one in self._graph.output}


def _spec(value: onnx.ValueInfoProto) -> Any:
    given = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(given.elem_type)
    shape = [dim.dim_value or None for dim in given.shape.dim]
    return tf.TensorSpec(shape, tf.as_dtype(kind), name=argument(value.name))


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
