"""Whole-number weights: 8 bits with a scale for each row, or 4 bits with one for each 32 weights.

Values are rounded to nearest against the largest of their row or group, symmetric around zero.
Activations stay float32, so this saves bytes and no multiplications.
"""

from collections.abc import Sequence

import numpy as np
import torch

from worker.compression.methods import Parts
from worker.runtimes import stored
from worker.runtimes.base import Array

_HALF = (1e-4, 6e4)  # scales that float16 holds to a thousandth


class RoundedWeight:
    """A weight as whole numbers."""

    parameters: Sequence[torch.Tensor] = ()

    def __init__(self, weight: torch.Tensor, bits: int) -> None:
        """Round a weight of two dimensions or more to 8 or 4 bits."""
        self._shape = tuple(weight.shape)
        values = weight.detach().cpu().float().numpy()
        self._parts = _int8(values) if bits == 8 else _int4(values)

    def weight(self) -> torch.Tensor:
        """Return the rounded weight."""
        tensors = {name: torch.from_numpy(part) for name, part in self._parts.items()}
        return stored.in_torch(tensors, self._shape)

    def parts(self) -> Parts:
        """Return numbers and scales."""
        return self._parts


def _int8(values: Array) -> dict[str, Array]:
    rows = values.reshape(len(values), -1)
    scale = (np.abs(rows).max(1, keepdims=True) / 127).astype(np.float32)
    return {"int8": _rounded(rows, scale, 127).astype(np.int8), "scale": scale}


def _int4(values: Array) -> dict[str, Array]:
    flat = values.ravel()
    groups = np.pad(flat, (0, -len(flat) % stored.GROUP)).reshape(-1, stored.GROUP)
    scale = (np.abs(groups).max(1, keepdims=True) / 7).astype(np.float32)
    used = scale[scale > 0]
    if used.size and used.min() >= _HALF[0] and used.max() <= _HALF[1]:
        scale = scale.astype(np.float16)
    codes = (_rounded(groups, scale.astype(np.float32), 7) + 8).astype(np.uint8)
    half = stored.GROUP // 2
    return {"int4": codes[:, :half] | codes[:, half:] << 4, "scale": scale}


def _rounded(values: Array, scale: Array, most: int) -> Array:
    return np.clip(np.rint(values / np.where(scale > 0, scale, 1)), -most, most)
