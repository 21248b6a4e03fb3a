"""Distillation: a smaller architecture learns to answer as the original.

A student is a registered architecture, whose code every worker has. Where teacher and student are
of one architecture, the student begins with what fits: tensors of equal shape, and layers at even
distances. Source: Hinton et al. 2015, arXiv:1503.02531; Sanh et al. 2019, arXiv:1910.01108.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from oracle.errors import InputInvalid
from oracle.protocol.manifest import Manifest, Scalar
from oracle.protocol.shapes import TensorSpec
from worker.compression.methods import NotCompressible
from worker.compression.networks import FloatNetwork, Weights
from worker.compression.safetensors import ArchitectureNetwork
from worker.runtimes import architectures

HALVED: Mapping[str, tuple[str, int]] = {"digits_cnn": ("width", 32), "minilm": ("layers", 6)}
_LAYERS = "layers."


@dataclass(frozen=True, slots=True)
class Student:
    """A registered architecture and its options."""

    architecture: str
    options: Mapping[str, Scalar]

    @classmethod
    def parse(cls, text: str) -> "Student":
        """Read `minilm:layers=3,width=384`.

        Raises:
            InputInvalid: it is not that.
        """
        name, _, rest = text.partition(":")
        options: dict[str, Scalar] = {}
        for pair in filter(None, rest.split(",")):
            key, _, value = pair.partition("=")
            try:
                options[key] = json.loads(value)
            except ValueError:
                raise InputInvalid(
                    f"student {text!r:.80}: {pair!r:.40} is no option",
                    hint="for example digits_cnn:width=8",
                ) from None
        return cls(name, options)

    @classmethod
    def half_of(cls, manifest: Manifest) -> "Student":
        """Return half of a registered architecture: of its width, or of its layers.

        Raises:
            NotCompressible: the model is not one, or has nothing to halve.
        """
        name = manifest.runtime.architecture or ""
        if name not in HALVED:
            raise NotCompressible(
                "distil needs a smaller architecture to teach",
                hint=f"--student NAME:option=number; registered: {', '.join(HALVED)}",
            )
        option, default = HALVED[name]
        size = manifest.runtime.options.get(option, default)
        if not isinstance(size, int) or size < 2:
            raise NotCompressible(f"{name} with {option}={size} has no half")
        return cls(name, {**manifest.runtime.options, option: size // 2})


def begin(student: Student, manifest: Manifest, teacher: FloatNetwork) -> ArchitectureNetwork:
    """Return a student that has learnt nothing yet.

    Raises:
        ModelUnsupported: the architecture or an option is not known.
        NotCompressible: it takes or gives something else than the original, or is not smaller.
    """
    architectures.build(student.architecture, student.options)  # refuses without taking memory
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = architectures.ARCHITECTURES[student.architecture](student.options)
    for role, ours, theirs in (
        ("inputs", model.inputs, manifest.inputs), ("outputs", model.outputs, manifest.outputs),
    ):  # fmt: skip
        if _forms(ours) != _forms(theirs):
            raise NotCompressible(
                f"{role} of {student.architecture} are " + ", ".join(f"{s.name} {s}" for s in ours),
                hint="the model has " + ", ".join(f"{s.name} {s}" for s in theirs),
            )
    found = ArchitectureNetwork(manifest, model.eval())
    known: Weights = getattr(teacher, "state", {})
    layers = {int(n.split(".")[1]) for n in known if n.startswith(_LAYERS)}
    mine = {int(n.split(".")[1]) for n in found.state if n.startswith(_LAYERS)}
    for name, tensor in found.state.items():
        source = known.get(_counterpart(name, len(mine), len(layers)))
        if source is not None and source.shape == tensor.shape:
            tensor.copy_(source)
    size, whole = (
        sum(t.numel() for t in [*n.weights.values(), *n.vectors.values()]) for n in (found, teacher)
    )
    if size >= whole:
        raise NotCompressible(f"the student has {size} numbers, the original {whole}")
    return found


def _forms(specs: Sequence[TensorSpec]) -> set[tuple[str, str, tuple[int | None, ...]]]:
    return {(spec.name, spec.dtype, spec.shape) for spec in specs}


def _counterpart(name: str, mine: int, theirs: int) -> str:
    """Return the teacher's name of a student's tensor: layers at even distances."""
    if not name.startswith(_LAYERS) or not theirs:
        return name
    _, number, rest = name.split(".", 2)
    place = round(int(number) * (theirs - 1) / max(1, mine - 1))
    return f"{_LAYERS}{place}.{rest}"
