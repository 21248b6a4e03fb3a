"""Which dtype and range each tensor gets: the choices that decide accuracy, apart from the rest.

The lowering asks a policy at every tensor; a model family with needs of its own (transformers) is
another policy, or a pass over the float graph, never a branch in the lowering.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from oracle.exact.dtypes import DType
from worker.exact.calibration import Statistics
from worker.exact.graph import GraphNode

Clip = Literal["largest", "percentile", "least_error"]


@dataclass(frozen=True, slots=True)
class Site:
    """A tensor about to be given integers.

    `role` is the operator that makes it, or `input`, `column` (an input whose columns have scales
    of their own), `output`, `score` (read by a softmax), `sum` (read by a layer norm), `table`
    (read by a pointwise function), `square` (multiplied with itself) or `gate` (within a recurrent
    layer).
    """

    value: str
    role: str
    node: GraphNode | None
    signed: bool
    unsigned_fits: bool = True  # whether every reader takes u8


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """Integers for a tensor: |x| ≤ limit is spread over the dtype."""

    dtype: DType
    limit: float

    @property
    def scale(self) -> float:
        """What one step is worth."""
        return self.limit / self.dtype.maximum


class RangePolicy(Protocol):
    """Answers for every tensor of a model."""

    @property
    def exp_entries(self) -> int:
        """Most entries of a softmax's table: a proof shows all of them, 2 bytes each."""
        ...

    def choose(self, site: Site, statistics: Statistics) -> IntegerRange:
        """Return dtype and range of an activation."""
        ...

    def weight(self, node: GraphNode) -> DType:
        """Return the dtype of a layer's weights: `i8` or `i16`."""
        ...


@dataclass(frozen=True, slots=True)
class Calibrated:
    """8 bits where nothing else is said; 16 for outputs, scores and around layer norms.

    `bits` says 8 or 16 by role, or by the name of a value, which wins; `clip` how ranges follow
    from the data; 16 bits have room for values `headroom` times as large as any that were seen.
    """

    bits: Mapping[str, int] = field(default_factory=dict)
    clip: Clip = "largest"
    percentile: float = 99.99
    weight_bits: int = 8
    headroom: float = 2.0
    exp_entries: int = 1024

    _DEFAULTS: ClassVar[Mapping[str, int]] = {
        "output": 16, "score": 16, "sum": 16, "layer_norm": 16, "embedding": 16,
        "masked_mean": 16, "softmax": 8, "column": 16, "gate": 16, "square": 16,
    }  # fmt: skip

    def choose(self, site: Site, statistics: Statistics) -> IntegerRange:
        """Return the calibrated range in 8 or 16 bits, unsigned where nothing is negative."""
        bits = self.bits.get(site.value, self.bits.get(site.role))
        bits = bits or self._DEFAULTS.get(site.role, 8)
        unsigned = not site.signed and site.unsigned_fits
        pair = {8: (DType.I8, DType.U8), 16: (DType.I16, DType.U16)}[bits]
        dtype = pair[unsigned]
        return IntegerRange(dtype, self._limit(statistics, dtype) or 1.0)

    def _limit(self, statistics: Statistics, dtype: DType) -> float:
        if self.clip == "percentile":
            return statistics.percentile(self.percentile)
        if dtype.size == 2:
            return statistics.largest * self.headroom
        if self.clip == "least_error":
            return statistics.least_error(dtype.maximum)
        return statistics.largest

    def weight(self, node: GraphNode) -> DType:
        """Return the same width for every layer."""
        return DType.I16 if self.weight_bits == 16 else DType.I8
