"""A network as compression sees it: weights by name, an answer of them, a file to write.

One module for each format of weights writes what the runtime of that format already reads.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from oracle.protocol.manifest import Manifest
from worker.compression.methods import (
    LEAST,
    Method,
    NotCompressible,
    Parts,
    Shrunk,
    nbytes,
)
from worker.errors import ModelUnsupported
from worker.runtimes.base import Array, Files

Weights = Mapping[str, torch.Tensor]
AllParts = Mapping[str, Parts]  # of each weight by its name; a weight without is plain


class FloatNetwork(Protocol):
    """A model whose weights can be replaced."""

    weights: Weights  # float32, two dimensions or more
    vectors: Weights  # float32 parameters besides them, which tuning may move

    def answer(self, weights: Weights, inputs: Mapping[str, Array]) -> torch.Tensor:
        """Return the first output for weights that take the place of its own; differentiable.

        Raises:
            ModelUnsupported: torch does not run this graph; it is not tuned then.
        """

    def write(self, path: Path, parts: AllParts) -> None:
        """Write the file of the model, with weights in these forms."""


_MODULES = {
    "torch.export": "worker.compression.torch_export",
    "safetensors": "worker.compression.safetensors",
    "onnx": "worker.compression.onnx",
}


def read(manifest: Manifest, files: Files) -> FloatNetwork:
    """Read a network.

    Raises:
        ModelRefused (or a subclass): the runtime of its format would not load it.
        NotCompressible: an exact version.
    """
    if manifest.runtime.format not in _MODULES:
        raise NotCompressible(
            f"a model of format {manifest.runtime.format} is not compressed",
            hint="compress the float model that it was compiled from, and compile that",
        )
    opened: Callable[[Manifest, Files], FloatNetwork]
    opened = import_module(_MODULES[manifest.runtime.format]).read
    return opened(manifest, files)


def tensors(state: Weights, parts: AllParts) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what a file holds: the parts of each weight that has them, others as they are."""
    for name, tensor in state.items():
        if name not in parts:
            yield name, tensor.contiguous()
            continue
        for part, array in parts[name].items():
            kept = torch.from_numpy(np.array(array, order="C"))
            yield f"{name}.{part}" if part else name, kept


def is_weight(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one that a method may take."""
    return (
        tensor.dtype == torch.float32
        and tensor.dim() >= 2
        and tensor.numel() >= LEAST
        and bool(torch.isfinite(tensor).all())
    )


def shrink(network: FloatNetwork, method: Method) -> dict[str, Shrunk]:
    """Return every weight that the method makes smaller, in its new form.

    Raises:
        NotCompressible: there is none.
    """
    found: dict[str, Shrunk] = {}
    for name, weight in network.weights.items():
        shrunk = _shrunk(weight, method)
        if shrunk is not None and nbytes(shrunk.parts()) < weight.nbytes:
            found[name] = shrunk
    if not found:
        raise NotCompressible(
            f"{method.name} finds no weight to make smaller: {len(network.weights)} matrices of "
            f"{LEAST} float32 elements or more",
            hint="models of trees take trees-N, rounds-N and depth-N; others a smaller architecture"
            " by distil",
        )
    return found


def _shrunk(weight: torch.Tensor, method: Method) -> Shrunk | None:
    from worker.compression import low_rank, prune, quantise  # noqa: PLC0415 - one of them

    if method.kind in ("int8", "int4"):
        return quantise.RoundedWeight(weight, 8 if method.kind == "int8" else 4)
    if method.kind == "prune":
        return prune.Pruned(weight, method.amount / 100)
    if method.kind == "low-rank":
        rank = low_rank.rank_for(weight, method.amount / 100)
        return low_rank.LowRank(weight, rank) if rank else None
    raise ModelUnsupported(f"{method.name} makes no smaller weights")
