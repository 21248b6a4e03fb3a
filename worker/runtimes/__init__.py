"""One module per format of weights; loaded on first use, so that nothing is imported in vain."""

from collections.abc import Callable
from importlib import import_module

from oracle.protocol.manifest import Manifest
from oracle.types import Bytes32
from worker.errors import ModelUnsupported
from worker.runtimes.base import Files, Loader, Runtime

ExactLoader = Callable[[Manifest, Files, Bytes32, str], Runtime]  # held against the model root

_MODULES = {
    "torch.export": "worker.runtimes.torch_export",
    "safetensors": "worker.runtimes.safetensors_arch",
    "onnx": "worker.runtimes.onnx",
    "gguf": "worker.runtimes.gguf",
}


def load(manifest: Manifest, files: Files, model_root: Bytes32, device: str) -> Runtime:
    """Load a model with the runtime of its format.

    Raises:
        ModelRefused (or a subclass): the files are not what we are willing or able to load.
        DigestMismatch: an exact version whose program or weights do not have `model_root`.
        DeviceFull: the device has no memory left.
    """
    if manifest.exact is not None:
        exact: ExactLoader = import_module("worker.runtimes.exact").load
        return exact(manifest, files, model_root, device)
    if manifest.runtime.format not in _MODULES:
        raise ModelUnsupported(f"format {manifest.runtime.format} is not supported")
    loader: Loader = import_module(_MODULES[manifest.runtime.format]).load
    return loader(manifest, files, device)


def mask_of(manifest: Manifest) -> str:
    """Return the input whose zeros surely hide padding from a model; "" = there is none.

    Of what others wrote nobody knows: only architectures of ours say so.
    """
    if manifest.exact is not None or manifest.runtime.format != "safetensors":
        return ""
    known = import_module("worker.runtimes.architectures").ARCHITECTURES
    architecture = known.get(manifest.runtime.architecture)
    return architecture.mask if architecture else ""
