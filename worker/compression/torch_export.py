"""Weights of a `torch.export` archive: nodes at the head of its graph make weights of parts.

The nodes are Core ATen operators, so a worker reads such an archive as any other.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from oracle.protocol.manifest import Manifest
from worker.compression import networks
from worker.compression.methods import Parts
from worker.compression.networks import Weights, is_weight
from worker.runtimes import guard, pt2, stored
from worker.runtimes.base import Array, Files
from worker.runtimes.graph import ExportedGraph

_CODES = {dtype: code for code, dtype in pt2.DTYPES.items()}
_UNREAD = ("from_node", "stack_trace", "torch_fn")  # metadata that no reader of ours looks at
_CONFIG = "data/weights/model_weights_config.json"


class ExportedNetwork:
    """An archive whose weights can be replaced."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        program = pt2.read(path)
        self._state = {name: tensor.clone() for name, tensor in program.state.items()}
        self._graph = ExportedGraph(program, "cpu", fold=False)
        self._inputs = [given.name for given in self._graph.inputs]
        self._params = dict(manifest.unpack_params(bytes(32)))  # type: ignore[arg-type]
        self._arguments: dict[str, list[str]] = {}
        parameters = set()
        for spec in program.signature["input_specs"]:
            ((kind, body),) = spec.items()
            key = {"parameter": "parameter_name", "buffer": "buffer_name"}.get(kind)
            if key is not None and body[key] in self._state:
                self._arguments.setdefault(body[key], []).append(body["arg"]["name"])
            if kind == "parameter":
                parameters.add(body["parameter_name"])
        self.weights: Weights = {
            n: t for n, t in self._state.items() if is_weight(t) and n in self._arguments
        }
        self.vectors: Weights = {
            n: t
            for n, t in self._state.items()
            if n in parameters and n not in self.weights and t.dtype == torch.float32
        }

    def answer(self, weights: Weights, inputs: Mapping[str, Array]) -> torch.Tensor:
        """Return the first output (see `FloatNetwork`)."""
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        given |= {n: torch.tensor(v, dtype=torch.float32) for n, v in self._params.items()}
        named = {
            argument: weights.get(name, self._state[name])
            for name, arguments in self._arguments.items()
            for argument in arguments
        }
        return self._graph.run({**{n: given[n] for n in self._inputs}, **named})[0]

    def write(self, path: Path, parts: Mapping[str, Parts]) -> None:
        """Write the archive (see `FloatNetwork`), without the pickle of sample inputs."""
        with guard.open_archive(self._path) as source, zipfile.ZipFile(path, "w") as target:
            root = source.namelist()[0].split("/", 1)[0]

            def told(name: str) -> dict[str, Any]:
                found: dict[str, Any] = json.loads(source.read(f"{root}/{name}"))
                return found

            def keep(name: str, data: bytes) -> None:
                target.writestr(zipfile.ZipInfo(f"{path.stem}/{name}"), data)

            model, config = told("models/model.json"), told(_CONFIG)["config"]
            for name in source.namelist():
                inside = name.split("/", 1)[1]
                if not inside.startswith(("data/weights/", "data/sample_inputs/", "models/")) and (
                    not inside.endswith("serialization_id")
                ):
                    keep(inside, source.read(name))
            entries: dict[str, Any] = {}
            for name, tensor in networks.tensors(self._state, parts):
                place = f"weight_{len(entries)}"
                known = config.get(name, {"is_param": False, "use_pickle": False})
                entries[name] = {**known, "path_name": place, "tensor_meta": _meta(tensor)}
                keep(f"data/weights/{place}", _bytes(tensor))
            keep(_CONFIG, _compact({"config": entries}))
            self._prepend(model["graph_module"], parts)
            keep("models/model.json", _compact(model))

    def _prepend(self, module: dict[str, Any], parts: Mapping[str, Parts]) -> None:
        """Put the nodes that make weights before all others; their parts become buffers."""
        graph, signature = module["graph"], module["signature"]
        steps = _NodeSteps(graph["tensor_values"])
        specs: list[Any] = []
        for spec in signature["input_specs"]:
            ((kind, body),) = spec.items()
            name = str(body.get(f"{kind}_name", "")) if kind in ("parameter", "buffer") else ""
            if name not in parts or set(parts[name]) == {""}:
                specs.append(spec)
                continue
            argument, handles = body["arg"]["name"], {}
            for part, array in parts[name].items():
                given = steps.given(f"{argument}_{part}", torch.from_numpy(np.array(array)))
                handles[part] = given
                specs.append({"buffer": {
                    "arg": {"name": given.name}, "buffer_name": f"{name}.{part}",
                    "persistent": True,
                }})  # fmt: skip
            stored.decode(steps.towards(argument), handles, self._state[name].shape)
        signature["input_specs"] = specs
        graph["inputs"] = [{"as_tensor": {"name": _argument(spec)}} for spec in specs]
        for node in graph["nodes"]:
            for unread in _UNREAD:
                node.get("metadata", {}).pop(unread, None)
        graph["nodes"] = [*steps.nodes, *graph["nodes"]]


def read(manifest: Manifest, files: Files) -> ExportedNetwork:
    """Read an archive. Errors as in `runtimes.torch_export.load`."""
    return ExportedNetwork(files[manifest.runtime.entry], manifest)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the graph: its name, and what it is, from which its shape is told."""

    name: str
    tensor: torch.Tensor


class _NodeSteps:
    """`stored.Steps` as nodes of the graph, which are run as they are written."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._eager = stored.TorchSteps()
        self._prefix = ""
        self.nodes: list[dict[str, Any]] = []

    def given(self, name: str, tensor: torch.Tensor) -> _Value:
        """Note an input of the graph."""
        self._values[name] = _meta(tensor)
        return _Value(name, tensor)

    def towards(self, name: str) -> Self:
        """Say which weight comes next; `reshaped` ends it, and has its name."""
        self._prefix = name
        return self

    def floating(self, x: _Value) -> _Value:
        if x.tensor.dtype == torch.float32:
            return x
        return self._cast(x, self._eager.floating(x.tensor))

    def whole(self, x: _Value) -> _Value:
        return self._cast(x, self._eager.whole(x.tensor))

    def floor(self, x: _Value) -> _Value:
        return self._node("floor.default", self._eager.floor(x.tensor), self=x)

    def multiplied(self, x: _Value, number: float) -> _Value:
        result = self._eager.multiplied(x.tensor, number)
        return self._node("mul.Scalar", result, self=x, other=number)

    def plus(self, x: _Value, number: float) -> _Value:
        return self._node(
            "add.Scalar", self._eager.plus(x.tensor, number), self=x, other=float(number)
        )

    def product(self, a: _Value, b: _Value) -> _Value:
        return self._node("mul.Tensor", self._eager.product(a.tensor, b.tensor), self=a, other=b)

    def difference(self, a: _Value, b: _Value) -> _Value:
        return self._node("sub.Tensor", self._eager.difference(a.tensor, b.tensor), self=a, other=b)

    def side_by_side(self, parts: Sequence[_Value]) -> _Value:
        result = self._eager.side_by_side([part.tensor for part in parts])
        return self._node("cat.default", result, tensors=list(parts), dim=1)

    def matrix_product(self, a: _Value, b: _Value) -> _Value:
        result = self._eager.matrix_product(a.tensor, b.tensor)
        return self._node("mm.default", result, self=a, mat2=b)

    def running_sum(self, x: _Value) -> _Value:
        return self._node("cumsum.default", self._eager.running_sum(x.tensor), self=x, dim=0)

    def picked(self, x: _Value, places: _Value) -> _Value:
        result = self._eager.picked(x.tensor, places.tensor)
        return self._node("index_select.default", result, self=x, dim=0, index=places)

    def first(self, x: _Value, count: int) -> _Value:
        result = self._eager.first(x.tensor, count)
        return self._node("slice.Tensor", result, self=x, dim=0, start=0, end=count)

    def reshaped(self, x: _Value, shape: Sequence[int]) -> _Value:
        last = list(shape) != [-1]  # inside of a recipe everything becomes flat
        name = self._prefix if last else ""
        sizes = [int(side) for side in shape]
        return self._node("view.default", x.tensor.reshape(sizes), name, self=x, size=sizes)

    def _cast(self, x: _Value, result: torch.Tensor) -> _Value:
        found = self._node("_to_copy.default", result, self=x)
        dtype = {"as_scalar_type": _CODES[result.dtype]}
        self.nodes[-1]["inputs"].append({"name": "dtype", "arg": dtype, "kind": 2})
        return found

    def _node(self, target: str, result: torch.Tensor, name: str = "", /, **given: Any) -> _Value:
        name = name or f"made_{len(self.nodes)}"
        self._values[name] = _meta(result)
        self.nodes.append({
            "target": f"torch.ops.aten.{target}", "metadata": {},
            "inputs": [{"name": n, "arg": _told(v), "kind": 1} for n, v in given.items()],
            "outputs": [{"as_tensor": {"name": name}}],
        })  # fmt: skip
        return _Value(name, result)


def _told(value: Any) -> dict[str, Any]:
    if isinstance(value, _Value):
        return {"as_tensor": {"name": value.name}}
    if isinstance(value, list):
        if isinstance(value[0], _Value):
            return {"as_tensors": [{"name": one.name} for one in value]}
        return {"as_ints": value}
    return {"as_float": value} if isinstance(value, float) else {"as_int": value}


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _argument(spec: Mapping[str, Any]) -> str:
    ((_, body),) = spec.items()
    argument = body["arg"]
    return str(argument["as_tensor"]["name"] if "as_tensor" in argument else argument["name"])


def _bytes(tensor: torch.Tensor) -> bytes:
    """Return the bytes of a tensor, of types too that NumPy does not have (bfloat16)."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _meta(tensor: torch.Tensor) -> dict[str, Any]:
    tensor = tensor.contiguous()
    return {
        "dtype": _CODES[tensor.dtype], "sizes": [{"as_int": n} for n in tensor.shape],
        "requires_grad": False, "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": n} for n in tensor.stride()], "storage_offset": {"as_int": 0},
        "layout": 7,
    }  # fmt: skip
