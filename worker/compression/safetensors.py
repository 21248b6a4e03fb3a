"""Weights of a registered architecture: parts of a weight lie beside the plain ones in the file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from oracle.protocol.manifest import Manifest
from worker.compression import networks
from worker.compression.methods import Parts
from worker.compression.networks import Weights, is_weight
from worker.runtimes import safetensors_arch
from worker.runtimes.architectures import Architecture
from worker.runtimes.base import Array, Files


class ArchitectureNetwork:
    """A registered architecture with its weights."""

    def __init__(self, manifest: Manifest, model: Architecture) -> None:
        self._model, self._output = model, manifest.outputs[0].name
        self.state = {n: t.clone() for n, t in model.state_dict().items()}
        self.weights: Weights = {n: t for n, t in self.state.items() if is_weight(t)}
        self.vectors: Weights = {
            n: t for n, t in self.state.items() if n not in self.weights and t.is_floating_point()
        }

    def answer(self, weights: Weights, inputs: Mapping[str, Array]) -> torch.Tensor:
        """Return the first output (see `FloatNetwork`)."""
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        named = {f"model.{name}": t for name, t in {**self.state, **weights}.items()}
        found: torch.Tensor = torch.func.functional_call(
            _Answering(self._model, self._output), named, (given,)
        )
        return found

    def write(self, path: Path, parts: Mapping[str, Parts]) -> None:
        """Write the file (see `FloatNetwork`)."""
        save_file(dict(networks.tensors(self.state, parts)), path)


class _Answering(torch.nn.Module):
    """`answer` where `functional_call` finds it."""

    def __init__(self, model: Architecture, output: str) -> None:
        super().__init__()
        self.model, self._output = model, output

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.model.answer(inputs, {})[self._output]


def read(manifest: Manifest, files: Files) -> ArchitectureNetwork:
    """Read a file of weights. Errors as in `safetensors_arch.load`."""
    return ArchitectureNetwork(manifest, safetensors_arch.read(manifest, files, "cpu"))
