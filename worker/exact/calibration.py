"""What values a model has on real data: ranges, distributions and the extremes of each channel."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from worker.errors import ModelFailed
from worker.exact import floats
from worker.exact.graph import Array, Graph

KEPT = 2**16  # magnitudes of a value that are kept, evenly spread over the samples
PER_SAMPLE = 2**12


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one value was on the calibration data.

    `magnitudes` are sorted |x|, a sample of them; `channels` is max |x| along the last dimension.
    """

    low: float
    high: float
    magnitudes: Array
    channels: Array
    integral: bool = False  # ids and masks
    whole: bool = False  # whole numbers, of whatever dtype

    @property
    def largest(self) -> float:
        """Greatest magnitude."""
        return max(abs(self.low), abs(self.high))

    def percentile(self, share: float) -> float:
        """Return the magnitude that `share` percent of all elements do not exceed."""
        return float(np.percentile(self.magnitudes, share))

    def least_error(self, levels: int, candidates: int = 64) -> float:
        """Return the limit with the least squared error of rounding and clipping.

        Args:
            levels: integers on one side of zero, 127 for i8.
            candidates: limits that are tried, evenly spaced up to the largest magnitude.
        """
        best, least = self.largest, np.inf
        for share in np.linspace(1, 0.2, candidates):
            limit = self.largest * share
            step = limit / levels
            if step == 0:
                continue
            rounded = np.minimum(np.rint(self.magnitudes / step), levels) * step
            error = float(np.square(rounded - self.magnitudes).sum())
            if error < least:
                best, least = limit, error
        return best


class _Observed:
    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.parts: list[Array] = []
        self.channels: Array | None = None
        self.integral, self.whole = False, True

    def add(self, value: torch.Tensor) -> None:
        self.integral = not value.is_floating_point()
        array = value.to(torch.float32).numpy()
        finite = np.abs(array)
        self.whole = self.whole and bool((array == np.rint(array)).all())
        self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        flat = finite.ravel()
        self.parts.append(flat[:: max(1, flat.size // PER_SAMPLE)])
        last = finite.reshape(-1, finite.shape[-1] if finite.ndim else 1).max(0)
        self.channels = last if self.channels is None else np.maximum(self.channels, last)

    def merge(self, other: "_Observed") -> None:
        """Take in what another value was; channels stay this one's."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.parts += other.parts
        self.whole = self.whole and other.whole

    def finish(self) -> Statistics:
        magnitudes = np.sort(np.concatenate(self.parts))
        magnitudes = magnitudes[:: max(1, magnitudes.size // KEPT)]
        assert self.channels is not None
        return Statistics(self.low, self.high, magnitudes, self.channels, self.integral, self.whole)


def calibrate(graph: Graph, samples: Iterable[Mapping[str, Array]]) -> dict[str, Statistics]:
    """Run samples through the float graph and return the statistics of every value.

    Raises:
        ModelFailed: no samples, or a NaN.
    """
    observed: dict[str, _Observed] = {}

    def observe(name: str, value: torch.Tensor) -> None:
        if value.is_floating_point() and torch.isnan(value).any():
            raise ModelFailed(f"{name} is NaN on a calibration sample", hint="check the data")
        observed.setdefault(name, _Observed()).add(value)

    with floats.one_thread():
        for sample in samples:
            floats.run(graph, sample, observe)
    if not observed:
        raise ModelFailed("there are no calibration samples", hint="give at least a few dozen")
    for names in _alike(graph):
        for name in names[1:]:
            observed[names[0]].merge(observed[name])
        ranges = observed[names[0]]
        for name in names[1:]:
            each = observed[name]
            each.low, each.high, each.parts = ranges.low, ranges.high, ranges.parts
            each.whole = ranges.whole
    return {name: each.finish() for name, each in observed.items()}


def _alike(graph: Graph) -> list[list[str]]:
    """Return the values that share a range, by the name that their nodes carry."""
    groups: dict[str, list[str]] = {}
    for node in graph.nodes:
        if "alike" in node.attributes:
            groups.setdefault(node.attributes["alike"], []).append(node.output)
    return list(groups.values())
