"""From an ONNX file to the float graph: onnxruntime runs one sample, converters name the rest.

Every intermediate value is made an output for that one run, so shapes and constants come from
onnxruntime itself, or from ONNX's reference where onnxruntime has no kernel. Operators of domain ""
(ai.onnx); those that ONNX defines as functions of others are read as these.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
import onnxruntime  # type: ignore[import-untyped]  # it ships no stubs
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # nor this
from onnx.reference import ReferenceEvaluator

from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact.floats import one_sample
from worker.exact.frontends import onnx_ml
from worker.exact.frontends.onnx_operators import CONVERTERS, SHAPE_ONLY, STRUCTURE
from worker.exact.frontends.tracing import Dynamic, GraphRecorder, OperatorCall, convert
from worker.exact.graph import Array, Graph, OperatorUnsupported, Original, Sample

_OPSET = 13
_PLAIN = {
    np.dtype(np.float16): np.float32, np.dtype(np.uint16): np.int64,
    np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64,
}  # fmt: skip
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def from_onnx(source: Path | onnx.ModelProto, sample: Mapping[str, Array]) -> Graph:
    """Read a model and run one sample through it.

    An input that decides a shape (axes, sizes) is taken from the sample, and is none of the
    program's: a program has one shape.

    Args:
        source: a file with its weights inside, or a model in memory.
        sample: one input per name, of numbers, with a batch of one.

    Raises:
        OperatorUnsupported: an operator without an integer form.
        ModelUnsupported: weights in other files, inputs that do not fit.
        WeightsInvalid: not an ONNX file.
    """
    model = _read(source)
    current = _inlined(_upgraded(model))
    fixed = {name: sample[name] for name in _structural(current) if name in sample}
    run = _observed(model)
    original = Original(
        lambda sample: run({**fixed, **sample}), tuple(output.name for output in model.graph.output)
    )
    return _trace(current, sample, _observed(current)(sample), fixed, original)


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


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of an opset in which operators mean what they mean today (Softmax: 13)."""
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset >= _OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, _OPSET)
    except Exception as error:  # the converter's errors share no base class
        raise ModelUnsupported(
            f"opset {opset} is too old, and cannot be upgraded: {error!s:.200}",
            hint=f"export the model for opset {_OPSET} or later",
        ) from error


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without the functions that are read as their bodies."""
    # Only the first result of a normalisation has a form of its own
    several = {
        node.op_type for node in model.graph.node if len(list(filter(None, node.output))) > 1
    }
    whole = [("", name) for name in CONVERTERS if name not in several]
    try:
        return onnx.inliner.inline_selected_functions(
            model, whole, exclude=True, inline_schema_functions=True
        )
    except Exception:  # a model without types: its functions are refused by name, if there are any
        return model


def _structural(model: onnx.ModelProto) -> list[str]:
    """Return the inputs that decide a shape: axes, sizes, borders."""
    made = {name: node for node in model.graph.node for name in node.output if name}
    inputs = [item.name for item in model.graph.input]
    found: set[str] = set()

    def follow(name: str) -> None:
        if name in found:
            return
        found.add(name)
        if name in made and made[name].op_type not in SHAPE_ONLY:
            for before in made[name].input:
                follow(before)

    for node in model.graph.node:
        for at in STRUCTURE.get(node.op_type, ()):
            if at < len(node.input):
                follow(node.input[at])
    return [name for name in inputs if name in found]


def _observed(model: onnx.ModelProto) -> Run:
    """Return what runs a sample, and returns every value of the graph."""
    names = [name for node in model.graph.node for name in node.output if name]
    types = {item.name: item.type.tensor_type.elem_type for item in model.graph.input}
    held = {tensor.name for tensor in model.graph.initializer}
    try:
        session = _session(model, names)
    except Exception as error:  # onnxruntime's errors share no base class
        return _reference(model, types, error)

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        taken = {
            name: _typed(name, given, types[name])
            for name in types
            if name not in held or name in given
        }
        try:
            return dict(zip(names, session.run(names, taken), strict=True))
        except Exception as error:
            return _reference(model, types, error)(given)

    return run


def _session(model: onnx.ModelProto, names: list[str]) -> Any:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _reference(model: onnx.ModelProto, types: Mapping[str, int], why: Exception) -> Run:
    """Return ONNX's own implementation, for what onnxruntime does not run."""
    text = (str(why).splitlines() or [type(why).__name__])[0]
    refused = ModelUnsupported(f"onnxruntime does not run the graph: {text:.300}")

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        taken = {name: _typed(name, given, types[name]) for name in types if name in given}
        try:
            return dict(ReferenceEvaluator(model).run(None, taken, intermediate=True))
        except Exception as error:  # nor do these
            raise refused from error

    return run


def _typed(name: str, given: Mapping[str, Array], kind: int) -> Array:
    if name not in given:
        raise ModelUnsupported(f"the sample has no input {name!r}")
    array = np.asarray(given[name])
    return array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else array


def _trace(
    model: onnx.ModelProto,
    sample: Sample,
    results: Mapping[str, Array],
    fixed: Mapping[str, Array],
    original: Original,
) -> Graph:
    values: dict[str, Any] = {
        tensor.name: _tensor(onnx.numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
    }
    values |= {name: _tensor(array) for name, array in fixed.items()}
    held = {
        **{tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer},
        **{
            item.name: _typed(item.name, sample, item.type.tensor_type.elem_type)
            for item in model.graph.input
            if item.name in sample
        },
        **results,
    }
    given = one_sample({name: array for name, array in sample.items() if name not in fixed})
    trace = GraphRecorder(list(given))
    for name, tensor in given.items():
        trace.shape(name, tensor.shape)
        values[name] = Dynamic(name, tensor)
    read = {*original.outputs, *(name for node in model.graph.node for name in node.input)}
    for node in model.graph.node:
        trace.where = f"node {node.name or node.output[0]}"
        if inner := _captured(node, values):
            raise OperatorUnsupported(
                node.op_type, trace.where, f"a branch reads {inner}, which depends on the inputs",
                instead="a model without control flow: export it for fixed shapes",
            )  # fmt: skip
        parts = [values[name] if name else None for name in node.input]
        dynamic = any(isinstance(part, Dynamic) for part in parts)
        domain = {"": CONVERTERS, "ai.onnx": CONVERTERS, onnx_ml.DOMAIN: onnx_ml.OPERATORS}
        converter = domain.get(node.domain, {}).get(node.op_type)
        if dynamic and node.op_type not in SHAPE_ONLY and converter is None:
            raise OperatorUnsupported(
                node.op_type, trace.where, "it has no integer form",
                instead="docs/exact-models.md lists what compiles; publish this model as a float "
                "one (judged by a committee), or move the operator out of the model",
            )  # fmt: skip
        made = {name: _tensor(results[name]) for name in node.output if name}
        empty = all(value.numel() == 0 for value in made.values())
        if not dynamic or node.op_type in SHAPE_ONLY or empty:
            values.update(made)
            continue
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        call = OperatorCall(
            node.op_type,
            {
                "": parts,
                **attributes,
                "alone": partial(_alone, model, node, held),
                "places": [at for at, name in enumerate(node.output) if name],
            },
            tuple(made),
            tuple(made.values()),
        )
        assert converter is not None
        values.update(convert(trace, converter, call))
        if lost := [name for name in made if name not in values and name in read]:
            raise trace.refuse(
                node.op_type, f"its result {lost[0]} has no integer form",
                instead="a model that does without it",
            )  # fmt: skip
    return trace.finish({name: values[name] for name in original.outputs}, original)


def _alone(
    model: onnx.ModelProto, node: onnx.NodeProto, held: Mapping[str, Array], *, reference: bool
) -> Callable[[Sequence[Any]], Array]:
    """Return what runs one operator on other operands of the same dtypes.

    Args:
        reference: ONNX's own implementation, not onnxruntime.
    """
    names = [name for name in node.input if name]
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(held[name].dtype), held[name].shape
        )
        for name in dict.fromkeys(names)
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "alone", inputs, outputs)
    single = onnx.helper.make_model(graph, ir_version=model.ir_version)
    del single.opset_import[:]
    single.opset_import.extend(model.opset_import)
    types = {item.name: item.type.tensor_type.elem_type for item in inputs}
    run = _reference(single, types, ValueError("one operator")) if reference else _observed(single)

    def answer(parts: Sequence[Any]) -> Array:
        given = zip(node.input, parts, strict=True)
        return run({name: np.asarray(part) for name, part in given if name})[node.output[0]]

    return answer


def _captured(node: onnx.NodeProto, values: Mapping[str, Any]) -> str:
    """Return the name of a value that a subgraph takes from outside though it is dynamic."""
    for item in node.attribute:
        for inner in item.g.node if item.type == onnx.AttributeProto.GRAPH else ():
            for name in inner.input:
                if isinstance(values.get(name), Dynamic):
                    return str(name)
            if deeper := _captured(inner, values):
                return deeper
    return ""


def _tensor(array: Array) -> torch.Tensor:
    """Return an array as a tensor that torch counts with.

    Raises:
        ModelUnsupported: text, sequences.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiubV":
        raise ModelUnsupported(f"a value of {array.dtype} holds no numbers")
    if array.dtype.kind == "V":  # bfloat16, 8 and 4 bits
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array, _PLAIN.get(array.dtype, array.dtype)))
