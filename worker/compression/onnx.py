"""Weights of an ONNX file: nodes at the head of its graph make each weight of its parts.

The nodes are operators of every opset since 11, so onnxruntime reads such a file as any other, and
runs them once when it loads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from oracle.protocol.manifest import Manifest
from oracle.types import ZERO32
from worker.compression.methods import Parts
from worker.compression.networks import Weights, is_weight
from worker.compression.onnx_torch import OnnxInTorch
from worker.errors import ModelUnsupported
from worker.runtimes import onnx as onnx_runtime
from worker.runtimes import stored
from worker.runtimes.base import Array, Files

_OPSET = 11  # CumSum


class OnnxNetwork:
    """A file whose weights can be replaced."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._output = manifest.outputs[0].name
        self._model = onnx_runtime.read(path)
        floats = {
            initializer.name: torch.from_numpy(numpy_helper.to_array(initializer).copy())
            for initializer in self._model.graph.initializer
            if initializer.data_type == TensorProto.FLOAT
        }
        self.weights: Weights = {name: t for name, t in floats.items() if is_weight(t)}
        self.vectors: Weights = {
            name: t
            for name, t in floats.items()
            if t.dim() == 1 and len(t) > 1 and name not in _statistics(self._model.graph)
        }
        self._params = dict(manifest.unpack_params(ZERO32))
        self._torch: OnnxInTorch | None = None

    def answer(self, weights: Weights, inputs: Mapping[str, Array]) -> torch.Tensor:
        """Return the first output (see `FloatNetwork`)."""
        if self._torch is None:
            self._torch = OnnxInTorch(self._model, self._output)
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        given |= {n: torch.tensor(v, dtype=torch.float32) for n, v in self._params.items()}
        return self._torch.run(weights, given)

    def write(self, path: Path, parts: Mapping[str, Parts]) -> None:
        """Write the file (see `FloatNetwork`)."""
        opset = max((o.version for o in self._model.opset_import if not o.domain), default=0)
        if opset < _OPSET:
            raise ModelUnsupported(
                f"the graph has opset {opset}, {_OPSET} is needed",
                hint="convert it: onnx.version_converter.convert_version(model, 17)",
            )
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        kept = [one for one in graph.initializer if one.name not in parts]
        given = [one for one in graph.input if one.name not in parts]
        steps = _OnnxSteps()
        for name, of in parts.items():
            handles = {part: f"{name}.{part}" if part else name for part in of}
            kept += [
                numpy_helper.from_array(np.ascontiguousarray(array), handles[part])
                for part, array in of.items()
            ]
            if set(of) != {""}:
                stored.decode(steps.towards(name), handles, self.weights[name].shape)
        nodes = [*steps.nodes, *graph.node]
        for field, values in (
            (graph.initializer, [*kept, *steps.constants]), (graph.input, given),
            (graph.node, nodes),
        ):  # fmt: skip
            copies = [type(value).FromString(value.SerializeToString()) for value in values]
            del field[:]
            field.extend(copies)
        path.write_bytes(model.SerializeToString())


def _statistics(graph: onnx.GraphProto) -> set[str]:
    """Return the means and variances of batch normalisations: measured, not learnt."""
    return {
        name for node in graph.node if node.op_type == "BatchNormalization"
        for name in node.input[3:5]
    }  # fmt: skip


def read(manifest: Manifest, files: Files) -> OnnxNetwork:
    """Read a file. Errors as in `runtimes.onnx.load`, which looks at it first."""
    path = files[manifest.runtime.entry]
    onnx_runtime.open_session(path, "cpu")
    return OnnxNetwork(path, manifest)


class _OnnxSteps:
    """`stored.Steps` as nodes of the graph; values are names."""

    def __init__(self) -> None:
        self._prefix = ""
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def towards(self, name: str) -> Self:
        """Say which weight comes next; the last `reshaped` has its name."""
        self._prefix = name
        return self

    def floating(self, x: str) -> str:
        return self._node("Cast", x, to=TensorProto.FLOAT)

    def whole(self, x: str) -> str:
        return self._node("Cast", x, to=TensorProto.INT64)

    def floor(self, x: str) -> str:
        return self._node("Floor", x)

    def multiplied(self, x: str, number: float) -> str:
        return self._node("Mul", x, self._constant(np.float32(number)))

    def plus(self, x: str, number: float) -> str:
        return self._node("Add", x, self._constant(np.float32(number)))

    def product(self, a: str, b: str) -> str:
        return self._node("Mul", a, b)

    def difference(self, a: str, b: str) -> str:
        return self._node("Sub", a, b)

    def side_by_side(self, parts: Sequence[str]) -> str:
        return self._node("Concat", *parts, axis=1)

    def matrix_product(self, a: str, b: str) -> str:
        return self._node("MatMul", a, b)

    def running_sum(self, x: str) -> str:
        return self._node("CumSum", x, self._constant(np.int64(0)))

    def picked(self, x: str, places: str) -> str:
        return self._node("Gather", x, places, axis=0)

    def first(self, x: str, count: int) -> str:
        ends = (self._constant(np.array([n], np.int64)) for n in (0, count))
        return self._node("Slice", x, *ends)

    def reshaped(self, x: str, shape: Sequence[int]) -> str:
        sizes = self._constant(np.array(list(shape), np.int64))
        return self._node("Reshape", x, sizes, named="" if list(shape) == [-1] else self._prefix)

    def _constant(self, value: Any) -> str:
        name = f"{self._prefix}.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *inputs: str, named: str = "", **attributes: Any) -> str:
        name = named or f"{self._prefix}.made.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
