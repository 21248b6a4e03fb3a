"""How the next token is drawn from logits, so that whoever has the logits can tell which it was.

```
 logits ─▶ top_k ─▶ top_p ─▶ argmax of  logit / temperature + g(seed, step, token)
```
g is Gumbel noise made of a hash, so the draw is that of the softmax, and its numbers are anyone's
to compute. A judge's logits differ a little from the operator's: `gap` says by how much, in nat,
they must differ for the token to be the one that is drawn.
Source: Gumbel-max (Maddison et al., A* Sampling, 2014); mixing of SplitMix64 (Steele et al., 2014).
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from oracle.protocol.tensor import Array
from oracle.protocol.text import TOP, quantise

_BLOCK = 512  # logits of which one maximum is looked at first
_HUGE = 1e30
_FEW = 2048  # likeliest tokens among which the share top_p mostly ends


class Logits:
    """What a model says of the next token: float32 [v], and what is worked out of them, once."""

    def __init__(self, values: Array) -> None:
        if not np.isfinite(values.max()):  # broken weights draw, too, and the same anywhere
            values = np.nan_to_num(values, nan=-_HUGE, posinf=_HUGE, neginf=-_HUGE)
        self.values = values
        self._sorted = values[:0]  # the largest ones that were asked for
        self._totals: dict[float, float] = {}

    def top_logprobs(self) -> Array:
        """Return the eight largest log-probabilities as int16, sorted; see `protocol.text`."""
        top = self.largest(TOP).astype(np.float64)
        return quantise(top - self._most - np.log(self._total(1.0)))

    def likeliest(self, count: int) -> Array:
        """Return the ids of so many of the largest logits, sorted; of equal ones the smaller id."""
        ids = self._from(float(self.largest(count)[-1]) if count else np.inf)
        found: Array = ids[np.argsort(-self.values[ids], kind="stable")][:count]
        return found

    def logprobs(self, ids: Sequence[int]) -> Array:
        """Return the log-probabilities of tokens as int16; see `protocol.text`."""
        found = self.values[list(ids)].astype(np.float64)
        return quantise(found - self._most - np.log(self._total(1.0)))

    def draw(self, params: Mapping[str, float], step: int) -> int:
        """Return the token of a step.

        Args:
            params: temperature, top_p, top_k and seed of the question.
        """
        if not params["temperature"]:
            return int(np.argmax(self.values))
        ids = self._from(self._least(params, 0.0))
        return int(ids[np.argmax(self._scores(ids, params, step))])

    def gap(self, token: int, params: Mapping[str, float], step: int, slack: float) -> float:
        """Return by how many nat logits must differ for this token to be drawn; 0 = it is drawn.

        A token that is ahead of it must fall behind, or out of what is drawn from: what is less.

        Args:
            slack: nat; what is drawn from may begin and end so much higher or lower.
        """
        if not params["temperature"]:
            return self._most - float(self.values[token])
        outside = self._least(params, slack) - slack - float(self.values[token])
        least = self._least(params, -slack) + slack
        ids = np.union1d(self._from(least), [token])
        scores = self._scores(ids, params, step)
        ahead = (scores - scores[np.searchsorted(ids, token)]) * params["temperature"]
        return max(0.0, outside, float(np.minimum(ahead, self.values[ids] - least).max()))

    def largest(self, count: int) -> Array:
        """Return so many of the largest logits, sorted."""
        if count > len(self._sorted):
            bound = -np.inf
            if count < len(self._peaks):  # as many blocks hold one that is no smaller
                bound = np.partition(self._peaks, -count)[-count]
            some = self.values[self._from(bound)] if count < len(self.values) else self.values
            self._sorted = np.sort(some)[::-1][:count]
        return self._sorted[:count]

    @cached_property
    def _peaks(self) -> Array:
        whole = len(self.values) // _BLOCK * _BLOCK
        peaks: Array = self.values[:whole].reshape(-1, _BLOCK).max(axis=1)
        return np.append(peaks, self.values[whole:].max(initial=-np.inf))

    @property
    def _most(self) -> float:
        return float(self._peaks.max())

    def _from(self, least: float) -> Array:
        """Return the ids of all logits that are no smaller, in their order."""
        blocks = np.flatnonzero(self._peaks >= least)
        ids = (blocks[:, np.newaxis] * _BLOCK + np.arange(_BLOCK)).ravel()
        ids = ids[: np.searchsorted(ids, len(self.values))]
        found: Array = ids[self.values[ids] >= least]
        return found

    def _total(self, heat: float) -> float:
        """Return the sum of exp((logit - largest) / heat)."""
        if heat not in self._totals:
            weights = self.values - self._most
            if heat != 1:
                weights /= np.float32(heat)
            self._totals[heat] = float(np.exp(weights, out=weights).sum())
        return self._totals[heat]

    def _least(self, params: Mapping[str, float], slack: float) -> float:
        """Return the smallest logit that is drawn from, if the tail of top_p weighs e^-2·slack."""
        top_k, top_p = int(params["top_k"]) or len(self.values), params["top_p"]
        least = -np.inf
        if top_k < len(self.values):
            least = float(self.largest(top_k)[-1])
        if top_p >= 1:
            return least
        share = 1 - min(1.0, (1 - top_p) * np.exp(-2 * slack))
        heat = params["temperature"]
        for count in (min(top_k, _FEW), top_k):
            ordered = self.largest(count).astype(np.float64)
            weights = np.exp((ordered - ordered[0]) / heat)
            total = weights.sum() if count >= top_k else self._total(heat)
            reached = np.searchsorted(np.cumsum(weights), share * total)
            if reached < len(ordered):
                return max(least, float(ordered[reached]))
        return least

    def _scores(self, ids: Array, params: Mapping[str, float], step: int) -> Array:
        return self.values[ids].astype(np.float64) / params["temperature"] + _gumbel(
            int(params["seed"]), step, ids
        )


def _gumbel(seed: int, step: int, ids: Array) -> Array:
    key = hashlib.sha256(seed.to_bytes(8, "little") + step.to_bytes(8, "little")).digest()[:8]
    with np.errstate(over="ignore"):
        mixed = np.uint64(int.from_bytes(key, "little")) + (
            ids.astype(np.uint64) + np.uint64(1)
        ) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    noise: Array = -np.log(-np.log(uniform))
    return noise
