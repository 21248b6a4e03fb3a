"""ONNX files of any age: what is older than operators run is upgraded by `onnx.version_converter`.

Caffe and MXNet left ONNX files of opsets 1 to 9. onnxruntime runs opset 7 and newer.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import version_converter
from onnx.reference import ReferenceEvaluator

from oracle.protocol.tensor import DTYPES
from worker.errors import ModelUnsupported
from worker.importing.converted import Array, Conversion, Converted
from worker.runtimes import onnx as runtime

UPGRADED = 18
_ROWS = 3


def convert(job: Conversion) -> Converted:
    """Return the file as it is, or upgraded.

    Raises:
        WeightsInvalid, PickleRefused, ModelUnsupported: see `worker.runtimes.onnx.load`.
    """
    source = Path(job.source)
    model = runtime.read(source)
    opset = next((one.version for one in model.opset_import if not one.domain), runtime.OLDEST)
    version = f"ONNX opset {opset}"
    if opset >= runtime.OLDEST:
        return Converted(source.read_bytes(), version)
    rows = _rows(model)
    return Converted(
        upgraded(model).SerializeToString(), version, rows=rows, answers=_answers(model, rows)
    )


def upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of `UPGRADED`; open sizes are closed meanwhile, as the converter asks.

    Raises:
        ModelUnsupported: the converter does not take it.
    """
    closed, names = onnx.ModelProto(), dict[tuple[str, int], str]()
    closed.CopyFrom(model)
    for value in (*closed.graph.input, *closed.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                names[value.name, axis] = dim.dim_param or f"{value.name}_{axis}"
                dim.dim_value = _ROWS
    del closed.graph.value_info[:]
    try:
        made = version_converter.convert_version(closed, UPGRADED)
    except Exception as error:  # the converter is C++ and raises what it likes
        raise ModelUnsupported(
            f"onnx.version_converter does not upgrade it: {error!s:.200}",
            hint="export it anew from its framework, with opset 18",
        ) from error
    weights = {tensor.name for tensor in made.graph.initializer}
    kept = [value for value in made.graph.input if value.name not in weights]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    for value in (*made.graph.input, *made.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if (value.name, axis) in names:
                dim.dim_param = names[value.name, axis]
    del made.graph.value_info[:]
    made.ir_version = max(made.ir_version, 8)
    return made


def _rows(model: onnx.ModelProto) -> dict[str, Array]:
    dice = np.random.default_rng(0)
    weights = {tensor.name for tensor in model.graph.initializer}
    rows = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        given = value.type.tensor_type
        shape = [dim.dim_value or _ROWS for dim in given.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(given.elem_type)
        if kind not in DTYPES.values():
            raise ModelUnsupported(f"input {value.name} is of type {kind}")
        drawn = dice.standard_normal(shape)
        rows[value.name] = (drawn if kind.kind == "f" else np.abs(drawn)).astype(kind)
    return rows


def _answers(model: onnx.ModelProto, rows: dict[str, Array]) -> dict[str, Array]:
    """Return what ONNX's own reference answers; nothing where it lacks operators so old."""
    names = [output.name for output in model.graph.output]
    try:
        found: Any = ReferenceEvaluator(model).run(None, dict(rows))
    except Exception:  # no implementation of an operator of this age, under several classes
        return {}
    return dict(zip(names, map(np.asarray, found), strict=True))
