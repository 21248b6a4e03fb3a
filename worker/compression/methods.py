"""What a method is called, and what it makes of a weight.

`int8`, `int4`, `prune-N` (N percent become zero), `low-rank-N` (factors of N percent of the bytes),
`distil`; of trees `trees-N`, `rounds-N` (N percent stay) and `depth-N` (levels).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from oracle.errors import InputInvalid, did_you_mean
from worker.errors import ModelUnsupported
from worker.runtimes.base import Array

Parts = Mapping[str, Array]  # of a form in `worker.runtimes.stored`; "" is a plain weight
LEAST = 64  # elements: a smaller weight stays as it is
NETWORK = ("int8", "int4", "prune-50", "prune-90", "low-rank-50", "low-rank-25", "distil")
FOREST = ("trees-50", "trees-25", "depth-8", "depth-4")
BOOSTED = ("rounds-50", "rounds-25", "depth-4", "depth-2")
_NAMES = re.compile(r"(int8|int4|distil)|(prune|low-rank|trees|rounds|depth)-([1-9]\d?)")


class MethodUnknown(InputInvalid):
    """There is no method of this name, or not for this kind of model."""


class NotCompressible(ModelUnsupported):
    """The method finds nothing in this model that it could make smaller."""


class Shrunk(Protocol):
    """A weight in a smaller form."""

    parameters: Sequence[torch.Tensor]  # what tuning may move; none where it cannot

    def weight(self) -> torch.Tensor:
        """Return the weight that a worker will have, differentiable in the parameters."""

    def parts(self) -> Parts:
        """Return what the file holds."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method by its name."""

    name: str
    kind: str
    amount: int = 0

    @classmethod
    def parse(cls, name: str, known: Sequence[str]) -> "Method":
        """Read a name.

        Args:
            known: names for models of this kind, as examples; other amounts are fine.

        Raises:
            MethodUnknown: none of them.
        """
        found = _NAMES.fullmatch(name)
        kinds = {one.rpartition("-")[0] or one for one in known}
        kind = (found[1] or found[2]) if found else ""
        if not found or kind not in kinds:
            raise MethodUnknown(
                f"method {name!r:.40} is not one for this model",
                hint=f"{did_you_mean(name, known)}for example {', '.join(known)}",
            )
        return cls(name, kind, int(found[3] or 0))


def nbytes(parts: Parts) -> int:
    """Return how many bytes the parts have."""
    return sum(array.nbytes for array in parts.values())
