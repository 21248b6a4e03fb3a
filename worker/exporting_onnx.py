"""A `torch.export` graph or an architecture as an ONNX graph, by torch's own exporter.

```
 our reader of the archive ──torch.export, sizes open──▶ program ──onnxscript──▶ ONNX
```
The archive itself is never given to `torch.export.load` (see `runtimes.pt2`): what our reader runs
is exported anew. A size stays open where the manifest leaves it open and the graph does not fix it.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from oracle.errors import ConfigInvalid
from oracle.protocol.manifest import Manifest
from worker.errors import ModelUnsupported
from worker.runtimes import pt2, safetensors_arch
from worker.runtimes.base import Array, Files
from worker.runtimes.graph import ExportedGraph

OPSET = 18


def write(manifest: Manifest, files: Files, asked: Mapping[str, Array], out: Path) -> None:
    """Write the graph; its inputs, parameters and outputs have the manifest's names.

    Args:
        asked: arrays for all inputs and parameters, to follow the graph with.

    Raises:
        ConfigInvalid: onnxscript, which torch's exporter needs, is not installed.
        ModelUnsupported: the graph has no form in ONNX.
        ModelRefused: see `pt2.read` and `safetensors_arch.read`.
    """
    try:
        import onnxscript  # noqa: F401, PLC0415 - takes seconds
    except ImportError as error:
        raise ConfigInvalid(
            "torch writes ONNX with onnxscript, which is not installed",
            hint="pip install 'tallystick[compile]'",
        ) from error
    model = _Named(manifest, files).eval()
    shapes = [spec.shape for spec in manifest.inputs] + [()] * len(manifest.parameters)
    free = tuple(
        {axis: torch.export.Dim.AUTO for axis, size in enumerate(shape) if size is None}
        for shape in shapes
    )
    given = tuple(torch.from_numpy(asked[name]) for name in model.takes)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, we do not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter: what it wrote is held to ours
            program = torch.export.export(
                model, given, dynamic_shapes={"given": free}, strict=False
            )
            written = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)
        assert written is not None
        _name(written.model, model.takes, [spec.name for spec in manifest.outputs])
        onnx.save(written.model_proto, out)
    except Exception as error:  # the exporter raises what it likes
        first = (str(_cause(error)).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(
            f"the graph has no form in ONNX: {first:.300}",
            hint="`--to safetensors` writes the weights alone",
        ) from error


def _cause(error: BaseException) -> BaseException:
    """Return what an error began with: torch's exporter wraps the one that names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _name(model: Any, takes: Sequence[str], gives: Sequence[str]) -> None:
    """Call inputs and outputs as the manifest does, and leave out where each node was written.

    torch's own `output_names` gives an output the name that another value may have already.
    """
    graph, wanted = model.graph, {*takes, *gives}
    nodes = list(graph.all_nodes())
    made = (value for node in nodes for value in node.outputs)
    for value in [*graph.inputs, *graph.initializers.values(), *made]:
        if value.name in wanted:
            value.name = f"inner/{value.name}"
    for value, name in chain(
        zip(graph.inputs, takes, strict=True), zip(graph.outputs, gives, strict=True)
    ):
        value.name = name
    for node in nodes:
        node.metadata_props.clear()


class _Named(nn.Module):
    """A model whose inputs come in the manifest's order: parameters are 0-d float32 after them."""

    def __init__(self, manifest: Manifest, files: Files) -> None:
        super().__init__()
        self.takes = [spec.name for spec in manifest.inputs]
        self.takes += [spec.name for spec in manifest.parameters]
        self._gives = [spec.name for spec in manifest.outputs]
        self._graph: ExportedGraph | None = None
        if manifest.runtime.format == "torch.export":
            self._graph = ExportedGraph(pt2.read(files[manifest.runtime.entry]), "cpu")
            return
        if manifest.parameters:
            raise ModelUnsupported("run-time parameters of an architecture have no form in ONNX")
        self._architecture = safetensors_arch.read(manifest, files, "cpu")

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the manifest's order."""
        named = dict(zip(self.takes, given, strict=True))
        if self._graph is not None:
            return tuple(self._graph.run(named, None))
        answered = self._architecture.answer(named, {})
        return tuple(answered[name] for name in self._gives)
