"""Arrays to tensors and back, and the one place where torch's errors become ours."""

from types import TracebackType

import numpy as np
import torch

from worker.errors import DeviceFull, ModelFailed
from worker.runtimes.base import Array

_HALVES = frozenset((torch.float16, torch.bfloat16))


def to_torch(array: Array, device: str) -> torch.Tensor:
    """Return a tensor of an array; the copy keeps a model from writing to its input's bytes."""
    tensor = torch.from_numpy(array.copy())
    return tensor if device == "cpu" else tensor.to(device)


def from_torch(tensor: torch.Tensor) -> Array:
    """Return an array of a tensor, on the host; half precision becomes float32."""
    if tensor.dtype in _HALVES:
        tensor = tensor.float()
    return np.asarray(tensor.numpy(force=True), order="C")


class running:  # a class: as a generator it takes as long as a small layer
    """Run torch without gradients and name its errors.

    Raises:
        DeviceFull: out of memory.
        ModelFailed: any other error of the operators.
    """

    __slots__ = ("_mode", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._mode = torch.inference_mode()

    def __enter__(self) -> None:
        self._mode.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mode.__exit__(kind, error, trace)
        if error is None:
            return
        what = self._what
        if isinstance(error, torch.OutOfMemoryError):
            raise DeviceFull(
                f"{what}: the device is out of memory", hint="lower the batch"
            ) from error
        if isinstance(error, RuntimeError | ValueError | TypeError | LookupError | AttributeError):
            if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
                raise DeviceFull(f"{what}: not enough memory on this host") from error
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelFailed(f"{what} failed: {first:.300}") from error
