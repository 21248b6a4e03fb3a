"""One module per format of weights; loaded on first use, so that nothing is imported in vain."""

from importlib import import_module

from oracle.protocol.manifest import Manifest
from worker.errors import ModelUnsupported
from worker.runtimes.base import Files, Loader, Runtime

_MODULES = {
    "torch.export": "worker.runtimes.torch_export",
    "safetensors": "worker.runtimes.safetensors_arch",
    "onnx": "worker.runtimes.onnx",
}


def load(manifest: Manifest, files: Files, device: str) -> Runtime:
    """Load a model with the runtime of its format.

    Raises:
        ModelRefused (or a subclass): the files are not what we are willing or able to load.
        DeviceFull: the device has no memory left.
    """
    if manifest.runtime.format not in _MODULES:
        raise ModelUnsupported(f"format {manifest.runtime.format} is not supported")
    loader: Loader = import_module(_MODULES[manifest.runtime.format]).load
    return loader(manifest, files, device)
