"""Magnitude pruning: the smallest weights of each matrix become zero and are not stored.

A file holds one bit for every weight, and 4 bytes for each that is left. Nothing gets faster: a
worker multiplies with the zeros. Source: Han et al. 2015, arXiv:1506.02626.
"""

from collections.abc import Sequence

import numpy as np
import torch

from worker.compression.methods import Parts


class Pruned:
    """A weight of which a share is zero."""

    def __init__(self, weight: torch.Tensor, share: float) -> None:
        """Keep the largest values of a weight; `share` of them, 0 to 1, become zero."""
        self._values = weight.detach().clone().float()
        size = self._values.abs().flatten()
        order = torch.argsort(size, descending=True, stable=True)
        mask = torch.zeros_like(size)
        mask[order[: max(1, round(len(size) * (1 - share)))]] = 1
        self._mask = mask.reshape(weight.shape)
        self.parameters: Sequence[torch.Tensor] = (self._values,)

    def weight(self) -> torch.Tensor:
        """Return the weight with its zeros."""
        return self._values * self._mask

    def parts(self) -> Parts:
        """Return which weights are left, and their values after a leading zero."""
        flat = self.weight().detach().numpy().ravel()
        bits = flat != 0
        packed = np.packbits(bits, bitorder="little").reshape(-1, 1)
        return {
            "mask": packed,
            "bits": 0.5 ** np.arange(8, dtype=np.float32)[None],
            "values": np.append(np.float32(0), flat[bits]),
        }
