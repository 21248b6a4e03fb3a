"""Runs bare safetensors weights with an architecture that is registered here.

Every tensor of the architecture must be in the file with its shape and a floating dtype; every
tensor of the file must be known: nothing is initialised at random, nothing is ignored silently.
A weight may lie there in fewer bytes (`stored`); it becomes float32 when the model is loaded.
"""

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load_file

from oracle.protocol.manifest import Manifest
from worker.errors import ModelUnsupported, WeightsInvalid
from worker.runtimes import architectures, guard, stored
from worker.runtimes.architectures import Architecture
from worker.runtimes.base import Array, Files, Params
from worker.runtimes.tensors import from_torch, running, to_torch

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


class SafetensorsModel:
    """A loaded architecture."""

    def __init__(self, manifest: Manifest, model: Architecture, device: str) -> None:
        self._model = model
        self._device = device
        self._outputs = [spec.name for spec in manifest.outputs]
        self.nbytes = sum(tensor.nbytes for tensor in model.state_dict().values())

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one batch (see `base.Runtime`)."""
        with running(type(self._model).__name__):
            given = {name: to_torch(array, self._device) for name, array in inputs.items()}
            results = self._model.answer(given, params)
            return {name: from_torch(results[name]) for name in self._outputs}


def load(manifest: Manifest, files: Files, device: str) -> SafetensorsModel:
    """Load the entry file into its architecture. Errors as in `read`."""
    return SafetensorsModel(manifest, read(manifest, files, device), device)


def read(manifest: Manifest, files: Files, device: str) -> Architecture:
    """Return the architecture with the weights of the entry file, in float32.

    Raises:
        PickleRefused, WeightsInvalid: see `guard.read_safetensors_header`; tensors that the
            architecture lacks, or others of its own; wrong shapes.
        ModelUnsupported: the architecture or an option is not known, or has other inputs and
            outputs than the manifest names; a dtype is not floating.
    """
    path = files[manifest.runtime.entry]
    header = guard.read_safetensors_header(path)
    model = architectures.build(manifest.runtime.architecture or "", manifest.runtime.options)
    _check(model, manifest)
    names = match(model, header)
    packed = stored.grouped(header)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    stored.require_bounded(path.stat().st_size, shapes.values())
    try:
        tensors = load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise WeightsInvalid(f"safetensors file is damaged: {error}") from error
    with running("loading the weights"):
        state = {
            ours: (
                stored.in_torch({p: tensors[n] for p, n in packed[theirs].items()}, shapes[ours])
                if theirs in packed
                else tensors[theirs].float()
            ).to(device)
            for theirs, ours in names.items()
        }
        model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _check(model: Architecture, manifest: Manifest) -> None:
    for role, ours, theirs in (
        ("input", model.inputs, manifest.inputs),
        ("output", model.outputs, manifest.outputs),
    ):
        known = [spec.name for spec in ours]
        for spec in theirs:
            if spec.name not in known:
                raise ModelUnsupported(
                    f"architecture {manifest.runtime.architecture} has no {role} {spec.name}",
                    hint=f"it has {', '.join(known)}",
                )
    named = [spec.name for spec in manifest.inputs]
    if missing := [spec.name for spec in model.inputs if spec.name not in named]:
        raise ModelUnsupported(f"the model takes an input {missing[0]} that model.json lacks")


def match(model: Architecture, header: Mapping[str, guard.TensorInfo]) -> dict[str, str]:
    """Return our name of each weight in a file, by its own.

    Raises:
        WeightsInvalid, ModelUnsupported: see `load`.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names: dict[str, str] = {}
    packed = stored.grouped(header)
    parts = {name for of in packed.values() for name in of.values()}
    for theirs in [*packed, *(name for name in header if name not in parts)]:
        ours = model.rename(theirs)
        if ours is None:
            continue
        if ours not in wanted or ours in names.values():
            raise WeightsInvalid(f"tensor {theirs:.80} is not one of this architecture's")
        names[theirs] = ours
        if theirs in packed:
            told = {p: (header[n].dtype, header[n].shape) for p, n in packed[theirs].items()}
            stored.require(theirs, told, wanted[ours])
            continue
        info = header[theirs]
        if info.shape != wanted[ours]:
            raise WeightsInvalid(
                f"tensor {theirs:.80} has shape {list(info.shape)}, the architecture wants "
                f"{list(wanted[ours])}",
                hint="check runtime.options in the manifest",
            )
        if info.dtype not in _FLOATS:
            raise ModelUnsupported(f"tensor {theirs:.80}: dtype {info.dtype} is not floating")
    if missing := sorted(wanted.keys() - set(names.values())):
        raise WeightsInvalid(f"the weights have no {missing[0]} ({len(missing)} are missing)")
    return names
