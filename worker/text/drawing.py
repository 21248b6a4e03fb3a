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
from collections.abc import Mapping

import numpy as np

from oracle.protocol.tensor import Array
from oracle.protocol.text import TOP, quantise

_BLOCK = 512  # logits of which one maximum is looked at first
_FEW = 2048  # likeliest tokens among which the share top_p mostly ends


def top_logprobs(logits: Array) -> Array:
    """Return the eight largest log-probabilities as int16, sorted (see `oracle.protocol.text`)."""
    top = np.sort(logits[likeliest(logits, TOP)])[::-1].astype(np.float64)
    total = float(np.exp(logits - logits.max()).sum(dtype=np.float64))
    return quantise(top - float(logits.max()) - np.log(total))


def likeliest(logits: Array, count: int) -> Array:
    """Return the ids of the largest logits, in no order."""
    if count >= len(logits):
        return np.arange(len(logits))
    whole = len(logits) // _BLOCK * _BLOCK
    if count * _BLOCK * 4 > whole:
        return np.argpartition(-logits, count - 1)[:count]
    blocks = logits[:whole].reshape(-1, _BLOCK)
    chosen = np.argpartition(-blocks.max(axis=1), count - 1)[:count]
    ids = (chosen[:, np.newaxis] * _BLOCK + np.arange(_BLOCK)).ravel()
    ids = np.concatenate([ids, np.arange(whole, len(logits))])
    return ids[np.argpartition(-logits[ids], count - 1)[:count]]


def draw(logits: Array, params: Mapping[str, float], step: int) -> int:
    """Return the token of a step.

    Args:
        params: temperature, top_p, top_k and seed of the question.
    """
    if not params["temperature"]:
        return int(np.argmax(logits))
    least = _least(logits, params, 0.0)
    ids = np.flatnonzero(logits >= least)
    return int(ids[np.argmax(_scores(logits, ids, params, step))])


def gap(logits: Array, token: int, params: Mapping[str, float], step: int, slack: float) -> float:
    """Return by how many nat logits must differ for this token to be drawn; 0 = it is drawn.

    Args:
        slack: nat; what is drawn from may begin and end so much higher or lower.
    """
    if not params["temperature"]:
        return float(logits.max() - logits[token])
    if logits[token] < _least(logits, params, slack) - slack:
        return float("inf")
    sure = np.flatnonzero(logits >= _least(logits, params, -slack) + slack)
    ids = np.union1d(sure, [token])
    scores = _scores(logits, ids, params, step)
    behind = scores.max() - scores[np.searchsorted(ids, token)]
    return float(behind * params["temperature"])


def _least(logits: Array, params: Mapping[str, float], slack: float) -> float:
    """Return the smallest logit that is drawn from, if the tail of top_p weighs e^-2·slack."""
    top_k, top_p = int(params["top_k"]) or len(logits), params["top_p"]
    least = -np.inf
    if top_k < len(logits):
        least = float(logits[likeliest(logits, top_k)].min())
    if top_p >= 1:
        return least
    share = 1 - min(1.0, (1 - top_p) * np.exp(-2 * slack))
    heat = params["temperature"]
    for count in (min(top_k, _FEW), top_k):
        ordered = np.sort(logits[likeliest(logits, count)])[::-1].astype(np.float64)
        weights = np.exp((ordered - ordered[0]) / heat)
        total = weights.sum()
        if count < top_k:
            total = np.exp((logits - logits.max()) / heat, dtype=np.float64).sum()
        reached = np.searchsorted(np.cumsum(weights), share * total)
        if reached < count:
            return max(least, float(ordered[reached]))
    return least


def _scores(logits: Array, ids: Array, params: Mapping[str, float], step: int) -> Array:
    return logits[ids].astype(np.float64) / params["temperature"] + _gumbel(
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
