"""Recurrent layers in the float graph, step by step: both frontends read theirs as these.

A program has no loops, so every step has operators of its own. Each cell is written so that few are
needed: weights of all gates are one matrix, and two products are one row of two elements. An LSTM
of 64 steps takes 834 operators, of the 1,024 that a program may have.

Values of the same kind share a range over all steps (attribute `alike`) and have 16 bits (role
`gate`): an error of one step is the input of the next.

Sources: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; GRU, arXiv:1406.1078. The
gates' order in weights is i, f, g, o (LSTM) and r, z, n (GRU), as in torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from worker.exact.frontends.tracing import Dynamic, GraphRecorder
from worker.exact.lowering.expressions import Expression, X, clamp

Kind = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]
ROLE = "gate"


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one direction of one layer, gate after gate; float32.

    Attributes:
        given: [gates · H, D], of the input.
        kept: [gates · H, H], of the state.
        of_given, of_kept: biases [gates · H], added to either product.
        reset_after: GRU: the reset gate is applied to the product, not to the state before it.
    """

    given: torch.Tensor
    kept: torch.Tensor
    of_given: torch.Tensor
    of_kept: torch.Tensor
    reset_after: bool = True


@dataclass(frozen=True, slots=True)
class States:
    """What a layer has computed: a state [B, H] for each step in the input's order, and the ends.

    `cell`: the last cell state of an LSTM, else None.
    """

    steps: tuple[Any, ...]
    last: Any
    cell: Any


def run(
    trace: GraphRecorder, kind: Kind, x: Any, weights: Weights, *, state: Any = None,
    cell: Any = None, backwards: bool = False,
) -> States:  # fmt: skip
    """Append one direction of one layer.

    Args:
        x: dynamic [T, B, D].
        state, cell: at the beginning, [B, H]; None is zero.
        backwards: from the last step to the first.

    Raises:
        OperatorUnsupported: the weights depend on the inputs.
    """
    for held in (weights.given, weights.kept, weights.of_given, weights.of_kept):
        if isinstance(held, Dynamic):
            raise trace.refuse(kind, "its weights depend on the input", instead="constant weights")
    layer = {"lstm": _Lstm, "gru": _Gru}.get(kind, _Rnn)(trace, kind, weights)
    state, cell = (_or_zero(held) for held in (state, cell))
    places = range(x.shape[0])
    given = layer.given(x)
    found = {}
    for place in reversed(places) if backwards else places:
        step = trace.apply("slice", given, dim=0, start=place, step=1, size=1)
        step = trace.move("reshape", step, given.shape[1:])
        state, cell = layer.step(step, state, cell)
        found[place] = state
    return States(tuple(found[place] for place in places), state, cell)


def _or_zero(held: Any) -> Any:
    """Return a state; None where it is a constant of zeros, which costs nothing."""
    if isinstance(held, torch.Tensor) and not held.any():
        return None
    return held


class _Layer:
    """What the cells share: ranges by name, the parts of a row, products with weights."""

    def __init__(self, trace: GraphRecorder, kind: Kind, weights: Weights) -> None:
        self.trace, self.kind, self.weights = trace, kind, weights
        self.name = trace.fresh(kind)
        self.width = weights.kept.shape[1]
        self.kept = self._ordered(weights.kept)  # one constant for all steps

    def _ordered(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return gates in the order in which a row has them."""
        return matrix

    def given(self, x: Any) -> Any:
        """Return what the input adds to the gates at every step: [T, B, gates · H]."""
        raise NotImplementedError

    def step(self, given: Any, state: Any, cell: Any) -> tuple[Any, Any]:
        """Return the next state and cell."""
        raise NotImplementedError

    def emit(self, op: str, *parts: Any, alike: str, **attributes: Any) -> Any:
        """Append a node whose range is that of all steps."""
        name = f"{self.name}.{alike}"
        return self.trace.apply(op, *parts, role=ROLE, alike=name, **attributes)

    def function(self, expression: Expression, x: Any, alike: str) -> Any:
        return self.emit("pointwise", x, expression=expression, alike=alike)

    def part(self, x: Any, at: int) -> Any:
        """Return gate `at` of a row of all."""
        return self.trace.apply("slice", x, dim=1, start=at * self.width, step=1, size=self.width)

    def with_state(
        self, given: Any, state: Any, kept: torch.Tensor, bias: Any, alike: str = "gates"
    ) -> Any:
        """Return given + kept · state + bias."""
        if not isinstance(state, Dynamic):
            added = torch.zeros(1) if state is None else state @ kept.T
            added = added if bias is None else added + bias
            if not added.any():
                return given
            return self.emit("add", given, added.expand(given.shape), alike=alike)
        product = self.emit("linear", state, kept, bias, alike=f"{alike}.kept")
        return self.emit("add", product, given, alike=alike)

    def gates(self, matrix: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.split(matrix, self.width))


class _Lstm(_Layer):
    def _ordered(self, matrix: torch.Tensor) -> torch.Tensor:
        """i, f, o, g: the first two lie evenly spaced for the row of two products."""
        i, f, g, o = self.gates(matrix)
        return torch.cat([i, f, o, g])

    def given(self, x: Any) -> Any:
        bias = self._ordered(self.weights.of_given + self.weights.of_kept)
        return self.emit("linear", x, self._ordered(self.weights.given), bias, alike="gates")

    def step(self, given: Any, state: Any, cell: Any) -> tuple[Any, Any]:
        rows = self.with_state(given, state, self.kept, None)
        open_ = self.function(("sigmoid", X), rows, "open")
        new = self.part(self.function(("tanh", X), rows, "cell"), 3)
        pairs = [self.part(open_, 0), new]
        if cell is not None:
            pairs += [self.part(open_, 1), cell]
        cell = self.emit("products", *pairs, alike="cell")
        shown = self.function(("tanh", X), cell, "shown")
        return self.emit("products", self.part(open_, 2), shown, alike="state"), cell


class _Gru(_Layer):
    """h' = z·h + (1 − z)·n, where 1 − z = σ(−x) has weights of its own."""

    def __init__(self, trace: GraphRecorder, kind: Kind, weights: Weights) -> None:
        super().__init__(trace, kind, weights)
        self.inner = torch.zeros(4 * self.width)  # what stands inside the reset gate's product
        self.inner[3 * self.width :] = weights.of_kept[2 * self.width :]

    def _ordered(self, matrix: torch.Tensor) -> torch.Tensor:
        r, z, n = self.gates(matrix)
        return torch.cat([r, z, -z, n])

    def given(self, x: Any) -> Any:
        of_kept = self.weights.of_kept.clone()
        if self.weights.reset_after:
            of_kept[2 * self.width :] = 0  # it stands inside the reset gate's product
        bias = self._ordered(self.weights.of_given + of_kept)
        return self.emit("linear", x, self._ordered(self.weights.given), bias, alike="gates")

    def step(self, given: Any, state: Any, cell: Any) -> tuple[Any, Any]:
        kept, width = self.kept, self.width
        if isinstance(state, torch.Tensor):
            state = Dynamic(self.trace.constant(state, "state"), state)
        own = self.part(given, 3)
        if state is None:
            open_ = self.function(("sigmoid", X), given, "open")
            bias = self.weights.of_kept[2 * width :]
            inside = own
            if self.weights.reset_after and bias.any():
                held = self.emit(
                    "products", self.part(open_, 0), bias.expand(own.shape), alike="reset"
                )
                inside = self.emit("add", held, own, alike="gates")
        elif self.weights.reset_after:
            inside, open_ = self._reset_after(given, state, kept, own)
        else:
            gates = self.trace.apply("slice", given, dim=1, start=0, step=1, size=3 * width)
            rows = self.with_state(gates, state, kept[: 3 * width], None)
            open_ = self.function(("sigmoid", X), rows, "open")
            reset = self.emit("products", self.part(open_, 0), state, alike="reset")
            inside = self.with_state(own, reset, kept[3 * width :], None)
        new = self.function(("tanh", X), inside, "state")
        pairs = [self.part(open_, 2), new]
        if state is not None:
            pairs = [self.part(open_, 1), state, *pairs]
        return self.emit("products", *pairs, alike="state"), cell

    def _reset_after(self, given: Any, state: Any, kept: torch.Tensor, own: Any) -> tuple[Any, Any]:
        product = self.emit("linear", state, kept, self.inner, alike="gates.kept")
        rows = self.emit("add", product, given, alike="gates")
        open_ = self.function(("sigmoid", X), rows, "open")
        held = self.emit("products", self.part(open_, 0), self.part(product, 3), alike="reset")
        return self.emit("add", held, own, alike="gates"), open_


class _Rnn(_Layer):
    def given(self, x: Any) -> Any:
        bias = self.weights.of_given + self.weights.of_kept
        return self.emit("linear", x, self.weights.given, bias, alike="gates")

    def step(self, given: Any, state: Any, cell: Any) -> tuple[Any, Any]:
        rows = self.with_state(given, state, self.kept, None)
        bent: Expression = clamp(X, 0.0, None) if self.kind == "rnn_relu" else ("tanh", X)
        return self.function(bent, rows, "state"), cell


def stacked(trace: GraphRecorder, steps: Sequence[Any], dim: int) -> Any:
    """Return states [B, H] of all steps as one tensor, the steps along a new dimension `dim`."""
    shape = list(steps[0].shape)
    shape.insert(dim, 1)
    tall = [trace.move("reshape", step, shape) for step in steps]
    return tall[0] if len(tall) == 1 else trace.apply("concat", *tall, dim=dim)
