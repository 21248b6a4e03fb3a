"""From an ONNX file to the float graph: onnxruntime runs one sample, converters name the rest.

Every intermediate value is made an output for that one run, so shapes and constants come from
onnxruntime itself. Operators of domain "" (ai.onnx) up to opset 23.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no stubs
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # nor this

from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.frontends.onnx_operators import CONVERTERS, SHAPE_ONLY
from worker.exact.frontends.tracing import Dynamic, GraphRecorder, OperatorCall, one_sample
from worker.exact.graph import Array, Graph, OperatorUnsupported


def from_onnx(source: Path | onnx.ModelProto, sample: Mapping[str, Array]) -> Graph:
    """Read a model and run one sample through it.

    Args:
        source: a file with its weights inside, or a model in memory.
        sample: one input per name, float32 or integer, with a batch of one.

    Raises:
        OperatorUnsupported: an operator without an integer form.
        ModelUnsupported: weights in other files, several outputs, inputs that do not fit.
        WeightsInvalid: not an ONNX file.
    """
    model = _read(source)
    given = {name: tensor.numpy() for name, tensor in one_sample(sample).items()}
    outputs = [output.name for output in model.graph.output]
    if len(outputs) != 1:
        raise ModelUnsupported(
            f"the model has {len(outputs)} outputs; an exact answer is one tensor",
            hint="export a model that returns the one tensor that is the answer",
        )
    return _trace(model, given, _run(model, given), outputs[0])


def _read(source: Path | onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(
            source.read_bytes() if isinstance(source, Path) else source.SerializeToString()
        )
    except DecodeError as error:
        raise WeightsInvalid(f"not an ONNX file, or cut short: {error}") from error
    for tensor in model.graph.initializer:
        if tensor.external_data:
            raise ModelUnsupported(
                f"tensor {tensor.name:.80} lies in another file",
                hint="save the model with its weights inside (save_as_external_data=False)",
            )
    return model


def _run(model: onnx.ModelProto, given: Mapping[str, Array]) -> dict[str, Array]:
    """Return every value of the graph for one sample."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        taken = {item.name: given[item.name] for item in session.get_inputs()}
        return dict(zip(names, session.run(names, taken), strict=True))
    except KeyError as error:
        raise ModelUnsupported(f"the sample has no input {error}") from error
    except Exception as error:  # onnxruntime's errors share no base class
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(f"onnxruntime does not run the graph: {text:.300}") from error


def _trace(
    model: onnx.ModelProto, given: Mapping[str, Array], results: Mapping[str, Array], output: str
) -> Graph:
    trace = GraphRecorder(list(given))
    values: dict[str, Any] = {
        tensor.name: _tensor(onnx.numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
    }
    for name, array in given.items():
        trace.shape(name, array.shape)
        values[name] = Dynamic(name, _tensor(array))
    for node in model.graph.node:
        trace.where = f"node {node.name or node.output[0]}"
        parts = [values[name] if name else None for name in node.input]
        made = {name: _tensor(results[name]) for name in node.output if name}
        if node.op_type in SHAPE_ONLY or not any(isinstance(part, Dynamic) for part in parts):
            values.update(made)
            continue
        converter = CONVERTERS.get(node.op_type)
        if converter is None or node.domain not in ("", "ai.onnx"):
            raise OperatorUnsupported(
                node.op_type, trace.where, "it has no integer form",
                instead="use the operators in worker/exact/frontends/onnx_operators.py, or publish "
                "this model as a float one (judged by a committee)",
            )  # fmt: skip
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        call = OperatorCall(
            node.op_type, {"": parts, **attributes}, tuple(made), tuple(made.values())
        )
        values.update(converter(trace, call))
    value = values[output]
    if not isinstance(value, Dynamic):
        raise ModelUnsupported("the output does not depend on the inputs")
    return trace.finish(value.name)


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
