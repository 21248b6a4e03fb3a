"""Runs `torch.export` archives: names of tensors in the manifest meet names in the graph.

Inputs and parameters are matched by name (the argument names of the exported `forward`), outputs
by position. A graph that takes a run-time parameter takes it as a 0-d float32 tensor of its name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from oracle.protocol.manifest import Manifest
from worker.errors import ModelUnsupported
from worker.runtimes import pt2
from worker.runtimes.base import Array, Files, Params, as_scalars
from worker.runtimes.graph import ExportedGraph
from worker.runtimes.tensors import from_torch, running, to_torch


class TorchExport:
    """A loaded archive."""

    def __init__(self, manifest: Manifest, graph: ExportedGraph, device: str) -> None:
        self._graph = graph
        self._device = device
        self._inputs = [given.name for given in graph.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]
        self.nbytes = graph.nbytes
        self._check(manifest)

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one batch (see `base.Runtime`)."""
        return self.observed(inputs, params, None)

    def observed(
        self, inputs: Mapping[str, Array], params: Params, observe: Callable[[Any], None] | None
    ) -> dict[str, Array]:
        """Answer one batch, and show what each node of the graph returns."""
        given = {**inputs, **as_scalars(params)}
        with running("the exported graph"):
            results = self._graph.run(
                {name: to_torch(given[name], self._device) for name in self._inputs}, observe
            )
            return {
                name: from_torch(tensor)
                for name, tensor in zip(self._outputs, results, strict=True)
            }

    def _check(self, manifest: Manifest) -> None:
        shapes = {spec.name: spec.shape for spec in manifest.inputs}
        shapes.update({spec.name: () for spec in manifest.parameters})
        if missing := {spec.name for spec in manifest.inputs}.difference(self._inputs):
            raise ModelUnsupported(
                f"the graph takes no input {sorted(missing)[0]}",
                hint=f"its arguments are {', '.join(self._inputs)}",
            )
        for given in self._graph.inputs:
            if given.name not in shapes:
                raise ModelUnsupported(
                    f"the graph takes an input {given.name} that model.json does not name"
                )
            shape = shapes[given.name]
            if len(shape) != len(given.shape) or any(
                have is not None and have != want
                for have, want in zip(given.shape, shape, strict=True)
            ):
                raise ModelUnsupported(
                    f"input {given.name} was exported for shape {list(given.shape)}, "
                    f"the manifest promises {list(shape)}",
                    hint="export with dynamic_shapes for sizes that vary",
                )
        if len(self._graph.outputs) != len(manifest.outputs):
            raise ModelUnsupported(
                f"the graph gives {len(self._graph.outputs)} outputs, model.json names "
                f"{len(manifest.outputs)}",
                hint="outputs are matched by their order",
            )


def load(manifest: Manifest, files: Files, device: str) -> TorchExport:
    """Load the entry file (a .pt2).

    Raises:
        ArchiveRefused, PickleRefused, WeightsInvalid, ModelUnsupported: see `pt2` and `graph`.
    """
    graph = ExportedGraph(pt2.read(files[manifest.runtime.entry]), device)
    return TorchExport(manifest, graph, device)
