"""Arrays to tensors and back, and the one place where torch's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from worker.errors import DeviceFull, ModelFailed
from worker.runtimes.base import Array


def to_torch(array: Array, device: str) -> torch.Tensor:
    """Return a tensor of an array; the copy keeps a model from writing to its input's bytes."""
    return torch.from_numpy(np.array(array, copy=True, order="C")).to(device)


def from_torch(tensor: torch.Tensor) -> Array:
    """Return an array of a tensor, on the host; half precision becomes float32."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return tensor.detach().cpu().contiguous().numpy()


@contextmanager
def running(what: str) -> Iterator[None]:
    """Run torch without gradients and name its errors.

    Raises:
        DeviceFull: out of memory.
        ModelFailed: any other error of the operators.
    """
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        raise DeviceFull(f"{what}: the device is out of memory", hint="lower the batch") from error
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
            raise DeviceFull(f"{what}: not enough memory on this host") from error
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFailed(f"{what} failed: {first:.300}") from error
