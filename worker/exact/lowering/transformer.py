"""BERT encoders in integers: the recipe, and the program it makes of a `MiniLm`.

What decides accuracy (docs/exact.md has no dtype between 8 and 16 bits):
```
 ids ─GATHER i8─RESCALE─ADD positions─┐
 ┌────────────────────────────────────┴─ LAYERNORM ─▶ x, i16 ──────────────────────────┐
 │  x ─RESCALE, by column─▶ i8 ─DOT─▶ q k v i8 ─DOT─▶ scores i16 ─SOFTMAX─▶ u8 ─DOT─▶ i8 │
 │  ─DOT─▶ i16 ─ADD x─▶ i16 ─LAYERNORM─▶ x, i16 ─RESCALE─▶ i8 ─DOT─▶ LUT ─▶ i8 ─DOT─▶ i16 │
 └──────────────────────────────────────────────── LAYERNORM ◀─ ADD x ◀────────────────┘
```
- The residual stream is i16; all products are i8 by i8.
- Equalisation: columns of an activation get scales of their own, so an outlier does not cost the
  others bits. The weights' columns take the scales up (SmoothQuant, arXiv:2211.10438).
- Bias correction: each layer's bias is set so that its mean output over the calibration tokens is
  the float layer's (arXiv:1906.04721, section 4.2). It is worth more than wider integers.
- Where GELU is read its input is cut at −5 (GELU is 0 there), and its output keeps its minimum,
  −0.17, at the end of i8: a zero point costs nothing, because it goes into the next layer's bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import DType
from oracle.exact.quantisation import Mask, OutputCode, Tokens
from worker.errors import ModelFailed
from worker.exact.compiler import Compiled
from worker.exact.graph import Array, Sample
from worker.exact.lowering.scaling import addition, quantise_rows, requantisation
from worker.exact.lowering.transformer_ranges import Observed, observe
from worker.runtimes.architectures import MiniLm

I8, U8, I16, U16 = DType.I8, DType.U8, DType.I16, DType.U16
GELU_FROM = -5.0  # GELU(−5) = −1.4e-6
EXP_REACH = 12.0  # e^-12 · 65,535 rounds to 0
NORM_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class Recipe:
    """The choices; the defaults are the cheapest that reach a mean cosine of 0.99 on MiniLM."""

    migration: float = 0.8  # how much of a column's range goes into the weights: 0 … 1
    table: DType = I8  # of GELU's input: i8 (256 entries) or i16 (65,536)
    score_unit: int = 16  # scores are counted in 1 / score_unit
    margin: float = 1.25  # of 16-bit ranges over what calibration saw


@dataclass(frozen=True, slots=True)
class Grid:
    """Integers of an activation: x = scale · q + middle, one scale for all columns or one each."""

    scale: Array | np.float64
    middle: float
    dtype: DType

    def integers(self, values: Array) -> Array:
        """Return q of real values."""
        q = np.rint((values - self.middle) / self.scale)
        return np.clip(q, self.dtype.minimum, self.dtype.maximum)


def compile_encoder(
    model: MiniLm, samples: Sequence[Sample], length: int, recipe: Recipe | None = None
) -> Compiled:
    """Compile an encoder with mean pooling for texts of up to `length` tokens, padded to it.

    Args:
        model: with its weights.
        samples: calibration texts, each `input_ids` and `attention_mask` of one row; unpadded ones
            are as good.
        length: S of the program.

    Raises:
        ModelFailed: no samples.
    """
    if not samples:
        raise ModelFailed("no calibration texts", hint="give about a hundred of the kind expected")
    return _Encoder(model, observe(model, samples), length, recipe or Recipe()).compile()


class _Encoder:
    """One compilation."""

    def __init__(self, model: MiniLm, seen: Observed, length: int, recipe: Recipe) -> None:
        self.weights = {name: p.double().numpy() for name, p in model.state_dict().items()}
        self.heads = [cast(Any, layer).heads for layer in model.layers]
        self.seen, self.length, self.recipe = seen, length, recipe
        self.b = ProgramBuilder()

    def compile(self) -> Compiled:
        """Return the program."""
        vocabulary, width = self.weights["words.weight"].shape
        codes = (Tokens("input_ids", self.length, vocabulary), Mask("attention_mask", self.length))
        ids, mask = (self.b.input(code.spec) for code in codes)
        x, grid = self._embedded(ids)
        for number, heads in enumerate(self.heads):
            layer = f"layers.{number}."
            x, grid = self._attended(layer, x, grid, mask, heads)
            x, grid = self._fed_forward(layer, x, grid)
        turned = self.b.view(x, width, self.length, sizes=[width, self.length], strides=[1, width])
        # A mean of tokens is no larger than the largest of them.
        c = self._channels(1 / 2**16, 0.0, 2.0**31)
        self.b.mean(turned, c, dtype=I16, mask=mask, cols=width)
        program, constants = self.b.build()
        scale = float(grid.scale)
        output = OutputCode(
            "embedding", I16, (1, width), scale, meaning="embedding", unit_length=True
        )
        return Compiled(program, constants, codes, (output,))

    # ── Parts of a layer ──────────────────────────────────────────────────────────────────────────

    def _embedded(self, ids: Ref) -> tuple[Ref, Grid]:
        """Words in 8 bits with a scale for each column, positions and type in 16, normalised."""
        words = self.weights["words.weight"]
        columns, scales = quantise_rows(words.T, I8)
        places = self.weights["positions.weight"][: self.length] + self.weights["types.weight"][0]
        limit = max(np.abs(words).max(), np.abs(places).max())
        one = Grid(np.float64(limit / I16.maximum), 0.0, I16)
        table = self.b.constant(np.ascontiguousarray(columns.T), I8)
        found = self.b.rescale(
            self.b.gather(ids, table), self._channels(scales / one.scale, 0.0, 128.0), dtype=I16
        )
        beside = self.b.constant(one.integers(places).astype(np.int16), I16)
        total = self._wide("norm.in")
        return self._normed("norm", self._sum(found, one, beside, one, total), total)

    def _attended(self, layer: str, x: Ref, grid: Grid, mask: Ref, heads: int) -> tuple[Ref, Grid]:
        b, s, width = self.b, self.length, x.spec.cols
        dim = width // heads
        q, k, v = (f"{layer}{name}" for name in ("query", "key", "value"))
        grids = {name: self._own(f"{name}.out") for name in (q, k, v)}
        # What one step of a score is worth must not depend on the column within a head.
        product = (grids[q].scale * grids[k].scale).reshape(heads, dim)
        by_head = product.max(1)
        stretch = np.sqrt(by_head[:, None] / product).ravel()
        for name in (q, k):
            grids[name] = replace(grids[name], scale=grids[name].scale * stretch)
        joined = self._dense([q, k, v], x, grid, [grids[name] for name in (q, k, v)])
        queries, keys = (
            b.view(joined, heads * s, dim, sizes=[heads, s, dim], strides=[dim, 3 * width, 1],
                   base=at * width)
            for at in (0, 1)
        )  # fmt: skip
        factor = np.repeat(by_head, s) / math.sqrt(dim) * self.recipe.score_unit
        c = self._channels(factor, 0.0, dim * 2.0**14)
        scores = b.dot(queries, keys, c, dtype=I16, group=s)
        steps = np.arange(math.ceil(EXP_REACH * self.recipe.score_unit) + 1)
        table = np.rint(np.exp(-steps / self.recipe.score_unit) * 65_535).astype(np.uint16)
        table[-1] = 0
        exp = b.constant(table.reshape(1, -1), U16)
        shares = b.softmax(scores, exp, mask=mask, dtype=U8)
        across = b.view(
            joined, width, s, sizes=[heads, dim, s], strides=[dim, 1, 3 * width], base=2 * width
        )
        mixed = self._equalised(f"{layer}attended.in", [f"{layer}attended"])
        c = self._channels(grids[v].scale / 255 / mixed.scale, 0.0, s * 2.0**15)
        heads_first = b.dot(shares, across, c, dtype=I8, group=s)
        flat = b.view(heads_first, s, width, sizes=[s, heads, dim], strides=[dim, s * dim, 1])
        own = self._wide(f"{layer}attended.out")
        out = self._product([f"{layer}attended"], flat, mixed, [own])
        total = self._wide(f"{layer}attended_norm.in")
        return self._normed(f"{layer}attended_norm", self._sum(x, grid, out, own, total), total)

    def _fed_forward(self, layer: str, x: Ref, grid: Grid) -> tuple[Ref, Grid]:
        expand, shrink = f"{layer}expand", f"{layer}shrink"
        before = self._between(expand, GELU_FROM, self.recipe.table)
        after = self._between(expand, None, I8)
        hidden = self._dense([expand], x, grid, [before])
        codes = np.arange(before.dtype.minimum, before.dtype.maximum + 1)
        values = gelu(codes * before.scale + before.middle)
        table = self.b.constant(after.integers(values).astype(np.int8).reshape(1, -1), I8)
        own = self._wide(f"{shrink}.out")
        out = self._product([shrink], self.b.lut(hidden, table), after, [own])
        total = self._wide(f"{layer}norm.in")
        return self._normed(f"{layer}norm", self._sum(x, grid, out, own, total), total)

    # ── Grids ─────────────────────────────────────────────────────────────────────────────────────

    def _wide(self, name: str) -> Grid:
        """16 bits, one scale, with a margin over what was seen."""
        limit = np.abs(self.seen[name]).max() * self.recipe.margin
        return Grid(np.float64(limit / I16.maximum), 0.0, I16)

    def _own(self, name: str) -> Grid:
        """8 bits, a scale for each column."""
        limit = np.abs(self.seen[name]).max(0)
        return Grid(np.maximum(limit, 1e-6) / I8.maximum, 0.0, I8)

    def _equalised(self, name: str, readers: Sequence[str]) -> Grid:
        """8 bits; columns that weights read strongly get finer steps, at the cost of range."""
        largest = np.maximum(np.abs(self.seen[name]).max(0), 1e-6)
        strength = np.abs(np.concatenate([self.weights[f"{r}.weight"] for r in readers])).max(0)
        share = self.recipe.migration
        scale = largest**share / np.maximum(strength, 1e-9) ** (1 - share)
        return Grid(scale * (largest / scale).max() / I8.maximum, 0.0, I8)

    def _between(self, expand: str, least: float | None, dtype: DType) -> Grid:
        """One scale and a middle: of GELU's input from `least` up, or of its output."""
        seen = self.seen[f"{expand}.out"]
        low, high = (seen.min(), seen.max()) if least is not None else _ends(gelu(seen))
        low = low if least is None else max(low, least)
        levels = dtype.maximum - dtype.minimum
        scale = (high - low) / levels
        return Grid(np.float64(scale), float(low - dtype.minimum * scale), dtype)

    # ── Operators ─────────────────────────────────────────────────────────────────────────────────

    def _dense(self, names: Sequence[str], x: Ref, grid: Grid, results: Sequence[Grid]) -> Ref:
        """Linear layers that read the same residual stream, one after the other in the columns."""
        narrow = self._equalised(f"{names[0]}.in", names)
        c = self._channels(grid.scale / narrow.scale, 0.0, 2.0**15)
        return self._product(names, self.b.rescale(x, c, dtype=I8), narrow, results)

    def _product(self, names: Sequence[str], x: Ref, grid: Grid, results: Sequence[Grid]) -> Ref:
        """Linear layers that read the same integers; biases are corrected."""
        real = np.concatenate([self.weights[f"{name}.weight"] for name in names])
        integers, scales = quantise_rows(real * grid.scale, I8)
        seen = grid.integers(self.seen[f"{names[0]}.in"])
        wanted = np.concatenate([self.seen[f"{name}.out"].mean(0, np.float64) for name in names])
        bias = wanted - seen.mean(0) @ integers.T.astype(np.float64) * scales
        shape = [len(self.weights[f"{name}.weight"]) for name in names]
        sizes = zip(results, shape, strict=True)
        step = np.concatenate([np.broadcast_to(result.scale, n) for result, n in sizes])
        middle = np.repeat([result.middle for result in results], shape)
        bound = np.abs(integers.astype(np.int64)).sum(1) * 128
        c = self._channels(scales / step, (bias - middle) / step, bound)
        return self.b.dot(x, self.b.constant(integers, I8), c, dtype=results[0].dtype)

    def _sum(self, a: Ref, of_a: Grid, b: Ref, of_b: Grid, total: Grid) -> Ref:
        factors = (float(of_a.scale / total.scale), float(of_b.scale / total.scale))
        c = self.b.constant(addition(factors, (2**15, 2**15)), DType.CHANNEL)
        return self.b.add(a, b, c, dtype=I16)

    def _normed(self, name: str, x: Ref, grid: Grid) -> tuple[Ref, Grid]:
        """LAYERNORM with its γ and β in the channels."""
        width = x.spec.cols
        result = self._wide(f"{name}.out")
        gamma, beta = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        c = self._channels(
            gamma / 2**16 / result.scale, beta / result.scale, 2.0**16 * math.sqrt(width)
        )
        eps = round(NORM_EPS * width**2 / float(grid.scale) ** 2)
        return self.b.layernorm(x, c, eps=min(eps, 2**52 - 1), dtype=I16), result

    def _channels(self, factor: Array | float, offset: Array | float, bound: Array | float) -> Ref:
        return self.b.constant(requantisation(factor, offset, bound), DType.CHANNEL)


def gelu(values: Array) -> Array:
    """Return GELU (exact, by the error function) in float64."""
    result: Array = nn.functional.gelu(torch.from_numpy(np.asarray(values, np.float64))).numpy()
    return result


def _ends(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())
