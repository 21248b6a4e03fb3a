"""Low rank: a matrix becomes the product of two thin ones, the nearest such by its SVD.

A kernel of a convolution is taken as one row for each of its output channels. A worker multiplies
the factors when it loads the model, so a file is smaller and nothing gets faster.
"""

from collections.abc import Sequence

import torch

from worker.compression.methods import Parts


class LowRank:
    """A weight as two factors."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        """Factor a weight of two dimensions or more."""
        self._shape = weight.shape
        matrix = weight.detach().float().reshape(len(weight), -1)
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        root = s[:rank].sqrt()  # on both sides alike: neither factor is moved too far in tuning
        self._left = (u[:, :rank] * root).contiguous()
        self._right = (root[:, None] * v[:rank]).contiguous()
        self.parameters: Sequence[torch.Tensor] = (self._left, self._right)

    def weight(self) -> torch.Tensor:
        """Return the product."""
        weight: torch.Tensor = (self._left @ self._right).reshape(self._shape)
        return weight

    def parts(self) -> Parts:
        """Return the factors."""
        return {"left": self._left.detach().numpy(), "right": self._right.detach().numpy()}


def rank_for(weight: torch.Tensor, share: float) -> int:
    """Return the rank whose factors have at most a share of the weight's elements; 0 where none."""
    rows = len(weight)
    columns = weight.numel() // rows
    return int(share * rows * columns / (rows + columns))
