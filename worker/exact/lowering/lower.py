"""From the calibrated float graph to a program: walks the nodes, hands each to its rule.

Rules are in layers.py (what multiplies or reduces) and elements.py (what works element by element).
Dtypes and ranges are the policy's choice, places are the layout's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oracle.errors import TallystickError
from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import MAX_OPERATORS, Program
from oracle.exact.quantisation import InputCode, Linear, Mask, Meaning, OutputCode, Tokens
from worker.errors import ModelUnsupported
from worker.exact.calibration import Statistics
from worker.exact.graph import Array, Graph, GraphNode
from worker.exact.lowering import ids
from worker.exact.lowering.expressions import X
from worker.exact.lowering.layout import OperandLayout, Quantised, TooManyDimensions, dense
from worker.exact.lowering.policy import IntegerRange, RangePolicy, Site
from worker.exact.lowering.scaling import FactorOutOfRange, quantise_tensor, requantisation

_VIEWS = frozenset({"reshape", "permute", "slice", "expand"})
_TO_SCORES = _VIEWS | {"affine", "add", "masked_fill"}  # from products to the softmax
_TO_ANSWERS = _VIEWS | {
    "add",
    "sub",
    "affine",
    "sum",
    "mean",
}  # as fine as an answer
_SQUARES = (("mul", X, X), ("pow", X, 2.0))
_READS_SIGNED = frozenset({"add", "sub", "layer_norm", "softmax"})  # ADD takes no u8


@dataclass(frozen=True, slots=True)
class MaskValue:
    """A function of a mask input seen through views: `low` where it is 0, `high` where it is 1."""

    view: Quantised
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Masked:
    """Scores of which those with `keep` = 0 count for nothing; only a softmax reads it."""

    scores: Quantised
    keep: Quantised


Value = Quantised | MaskValue | Masked
Rule = Callable[["Lowering", GraphNode], Value]


class Lowering:
    """One compilation: the builder, the values so far, and what rules ask for."""

    def __init__(
        self,
        graph: Graph,
        statistics: Mapping[str, Statistics],
        policy: RangePolicy,
        rules: Mapping[str, Rule],
    ) -> None:
        self.graph = graph
        self.builder = ProgramBuilder()
        self.layout = OperandLayout(self.builder)
        self.policy = policy
        self.inputs: list[InputCode] = []
        self._statistics = statistics
        self._rules = rules
        self._users = graph.users()
        self._producers = graph.producers()
        self._values: dict[str, Value] = {}
        self._plain: dict[str, Quantised] = {}  # what has a zero of its own, without
        self._result: Ref | None = None
        last = self._producers[graph.output]
        self.answers = last.inputs if last.op == "outputs" else (graph.output,)
        self._ends: list[tuple[int, GraphNode]] = []  # the last operator of each node

    def run(self) -> None:
        """Lower every node.

        Raises:
            OperatorUnsupported: a node without integer form, with its place and a way out.
        """
        for name in self.graph.inputs:
            self._values[name] = self._input(name)
        for node in self.graph.nodes:
            if node.op == "outputs":
                continue  # the last one, see below
            rule = self._rules.get(node.op)
            if rule is None:
                raise node.refuse(
                    "it has no integer form",
                    instead="remove it, or publish a float version (judged by a committee)",
                )
            try:
                value = rule(self, node)
            except TooManyDimensions as error:
                raise node.refuse(
                    str(error), instead="a reshape between two permutations, or fewer dimensions"
                ) from error
            except FactorOutOfRange as error:
                raise node.refuse(
                    str(error), instead="check the calibration data: a range is almost zero"
                ) from error
            except TallystickError:
                raise
            except Exception as error:  # a combination that no rule thought of
                raise node.refuse(
                    f"it has no integer form here ({type(error).__name__}: {error})",
                    instead="publish a float version (judged by a committee)",
                ) from error
            self._values[node.output] = value
            if _ref(value).place == "op":
                self._ends.append((_ref(value).number, node))

    # ── What rules ask for ────────────────────────────────────────────────────────────────────────

    def quantised(self, node: GraphNode, at: int = 0) -> Quantised:
        """Return an operand as integers, of which 0 stands for 0."""
        value = self.on_grid(node, at)
        if not value.zero:
            return value
        name = self.name(node, at)
        if name not in self._plain:
            c = requantisation(1.0, -value.zero, value.bound)
            self._plain[name] = self.rescaled(value, DType.I16, value.scale, c)
        return self._plain[name]

    def on_grid(self, node: GraphNode, at: int = 0) -> Quantised:
        """Return an operand as integers, of which another one may stand for 0."""
        value = self._values[self.name(node, at)]
        if isinstance(value, Masked):
            raise node.refuse("it reads masked scores", instead="read them with a softmax")
        return self._numbers(value) if isinstance(value, MaskValue) else value

    def value(self, node: GraphNode, at: int = 0) -> Value | None:
        """Return an operand in whatever form it has; None for a constant."""
        return self._values.get(self.name(node, at))

    def name(self, node: GraphNode, at: int) -> str:
        """Return the name of an operand that must be there."""
        name = node.inputs[at]
        if name is None:
            raise node.refuse(f"operand {at} is missing", instead="give it")
        return name

    def constant(self, node: GraphNode, at: int) -> Array | None:
        """Return an operand that is a constant; None when it is not one."""
        name = node.inputs[at] if at < len(node.inputs) else None
        return None if name is None else self.graph.constants.get(name)

    def shape(self, node: GraphNode) -> tuple[int, ...]:
        """Return the shape of a node's result."""
        return self.graph.shapes[node.output]

    def choice(self, node: GraphNode, role: str | None = None) -> IntegerRange:
        """Return dtype and range of a node's result."""
        if "grid" in node.attributes:
            return grid_range(node.attributes["grid"])
        if ids.is_shift(node) and {reader.op for reader in self._ids(node.output)} == {"embedding"}:
            return IntegerRange(DType.U16, DType.U16.maximum)  # as they are
        clamped = node.attributes.get("low") is not None  # by an unsigned dtype alone
        signed = self._statistics[node.output].low < 0 and not clamped
        fits = clamped or self._takes_unsigned(node.output)
        site = Site(node.output, role or self._role(node), node, signed, fits)
        statistics = self._statistics[node.output]
        choice = _even(self.policy.choose(site, statistics), statistics)
        high = node.attributes.get("high")
        if high is not None and choice.limit > high:
            choice = IntegerRange(choice.dtype, high)
        return choice

    def statistics(self, node: GraphNode, at: int = 0) -> Statistics:
        """Return the statistics of an operand."""
        return self._statistics[self.name(node, at)]

    def least(self, node: GraphNode, at: int) -> float:
        """Return the least magnitude that an operand was seen with."""
        held = self.constant(node, at)
        return float(
            np.abs(held).min() if held is not None else self.statistics(node, at).magnitudes[0]
        )

    def rescaled(self, value: Quantised, dtype: DType, scale: float, channels: Array) -> Quantised:
        """Return the value in other integers, where it lies."""
        ref = value.ref
        ref = self.builder.rescale(ref, self.builder.constant(channels, DType.CHANNEL), dtype=dtype)
        return Quantised(ref, scale, value.shape, value.strides, value.base)

    # ── Ends ──────────────────────────────────────────────────────────────────────────────────────

    def outputs(
        self, names: Sequence[str], meaning: Meaning, labels: tuple[str, ...]
    ) -> tuple[OutputCode, ...]:
        """Make the last operator write the answers, and return what they stand for."""
        last = self._producers[self.graph.output]
        names = names or last.attributes.get("names", ("output",))
        if len(names) != len(self.answers):
            raise last.refuse(
                f"it has {len(self.answers)} outputs", instead=f"{len(names)}, as model.json says"
            )
        values = [self._answer(name, last) for name in self.answers]
        if len(values) > 1:
            values = self._joined(values)
        else:
            shape = values[0].shape or (1,)
            ref = self.layout.laid_out(values[0], math.prod(shape[:-1]), shape[-1])
            if not self.builder.is_newest(ref):
                ref = self.builder.view(
                    ref, ref.spec.rows, ref.spec.cols, sizes=[math.prod(shape)], strides=[1]
                )
            values = [replace(values[0], ref=ref)]
        self._result = values[0].ref
        codes = []
        for at, (name, answer, value) in enumerate(zip(names, self.answers, values, strict=True)):
            made = self._producers.get(answer or "", last)
            said: Meaning = "class" if made.op == "argmax" else "value" if at else meaning
            code = OutputCode(
                name, value.dtype, value.shape or (1,), value.scale, meaning=said,
                unit_length=made.op == "normalise", labels=() if at else labels,
            )  # fmt: skip
            codes.append(code)
        return tuple(codes)

    def _answer(self, name: str | None, last: GraphNode) -> Quantised:
        held = self.graph.constants.get(name or "")
        if held is None:
            return self.quantised(GraphNode("output", (name,), last.output, where=last.where))
        integers, scale = quantise_tensor(held, DType.I16)
        return dense(self.builder.constant(integers.reshape(1, -1), DType.I16), scale, held.shape)

    def _joined(self, values: Sequence[Quantised]) -> list[Quantised]:
        """Lay values one after another in one row, without loss; each keeps its scale."""
        dtypes = {value.dtype for value in values}
        wide = DType.I32 if dtypes & {DType.I32, DType.U16} else DType.I16
        parts = []
        for value in values:
            ref = self.layout.laid_out(value, 1, math.prod(value.shape))
            if len(dtypes) > 1 and value.dtype != wide:
                c = self.builder.constant(requantisation(1.0, 0.0, value.bound), DType.CHANNEL)
                ref = self.builder.rescale(ref, c, dtype=wide)
            parts.append(ref)
        ref = self.layout.side_by_side(parts)
        return [replace(value, ref=ref) for value in values]

    def build(self) -> tuple[Program, Constants]:
        """Return the program and its constants.

        Raises:
            OperatorUnsupported: a node is too large for a proof, or its sums for 37 bits.
            ModelUnsupported: too many operators.
            ProgramInvalid: an output that is too large.
        """
        if (count := self.builder.count) > MAX_OPERATORS:
            raise ModelUnsupported(
                f"the program has {count:,} operators, {MAX_OPERATORS:,} are allowed",
                hint="a recurrent layer has 13 (LSTM), 14 (GRU) or 4 (RNN) for each step: export "
                "it whole (torch.export without run_decompositions); or publish fewer steps, with "
                "the states as inputs and outputs, and ask for one segment after the other",
            )
        try:
            program, constants = self.builder.build()
            assert self._result is not None, "the output comes first"
            assert self._result.number == len(program.ops) - 1, "a program's last operator is it"
            return program, constants
        except ProgramInvalid as error:
            nodes = [node for end, node in self._ends if error.op is not None and end >= error.op]
            if not nodes or error.part == "output":
                raise
            raise nodes[0].refuse(
                str(error),
                instead="make the layer smaller, or choose 8 bits for one side of it in the policy",
            ) from error

    def _input(self, name: str) -> Value:
        shape = self.graph.shapes[name]
        statistics = self._statistics[name]
        counts = ids.limits(self.graph, name) if statistics.integral else None
        if counts is not None:
            same = len(set(counts.tolist())) == 1
            count = int(counts[0]) if same else tuple(counts.tolist())
            code: InputCode = Tokens(name, math.prod(shape), count)
        elif statistics.integral and statistics.low >= 0 and statistics.largest <= 1:
            code = Mask(name, math.prod(shape))
        else:
            signed = statistics.low < 0
            choice = self.policy.choose(Site(name, "input", None, signed), statistics)
            if statistics.integral and statistics.largest < DType.I16.maximum:
                choice = IntegerRange(DType.I16, DType.I16.maximum)
            choice = self._read_as_grid(name) or _even(choice, statistics)
            column = next((node for node in self._users[name] if node.op == "columns"), None)
            scale: float | tuple[float, ...] = choice.scale
            if column is not None:
                choice = self.policy.choose(
                    Site(column.output, "column", column, signed), self._statistics[column.output]
                )
                scale = tuple((column.attributes["scale"] * choice.scale).tolist())
            image = len(shape) == 4
            order = (0, 2, 3, 1) if image else tuple(range(len(shape)))
            rows = math.prod(shape) // shape[1 if image else -1] if shape else 1
            code = Linear(name, choice.dtype, shape, order, rows, scale)
        self.inputs.append(code)
        ref = self.builder.input(code.spec)
        if isinstance(code, Linear):
            return dense(ref, choice.scale, shape, code.order)
        seen = dense(ref, 1.0, shape)
        return MaskValue(seen, 0.0, 1.0) if isinstance(code, Mask) else seen

    def _read_as_grid(self, name: str) -> IntegerRange | None:
        """Return the steps of the one grid that an input is put on at once: the model's own."""
        readers = self._users[name]
        if not readers or any(node.op != "grid" for node in readers):
            return None
        (grid, *others) = (node.attributes for node in readers)
        if any(grid != other for other in others):
            return None
        return IntegerRange(DType.I16, grid["scale"] * DType.I16.maximum)

    def _ids(self, name: str) -> list[GraphNode]:
        """Return who reads ids, also through what adds an offset to them."""
        found = []
        for node in self._reached(name):
            found += self._ids(node.output) if ids.is_shift(node) else [node]
        return found

    def _reached(self, name: str, through: frozenset[str] = _VIEWS) -> list[GraphNode]:
        """Return who reads a value, also through operators that pass it on."""
        found = []
        for node in self._users.get(name, ()):
            found += self._reached(node.output, through) if node.op in through else [node]
        return found

    def _role(self, node: GraphNode) -> str:
        if "role" in node.attributes and node.output not in self.answers:
            return str(node.attributes["role"])
        if self._is_last(node.output):
            return "output"
        if {reader.op for reader in self._reached(node.output, _TO_SCORES)} == {"softmax"}:
            return "score"
        reached = self._reached(node.output)
        readers = {"square" if is_square(reader) else reader.op for reader in reached}
        if readers & {"layer_norm", "grid"}:
            return "sum"
        if readers == {"square"}:
            return "square"
        return "table" if "pointwise" in readers else node.op

    def _is_last(self, name: str) -> bool:
        """Whether all that follows a value is a sum, and a function of it: what rounds as it."""
        if name in self.answers:
            return True
        users = self._users.get(name, [])
        return bool(users) and all(
            user.output in self.answers if user.op == "pointwise"
            else user.op in _TO_ANSWERS and self._is_last(user.output)
            for user in users
        )  # fmt: skip

    def _numbers(self, mask: MaskValue) -> Quantised:
        """Return a function of a mask as numbers."""
        if mask.low == 0.0 and mask.high > 0:
            return _scaled(mask.view, mask.high)
        scale = max(abs(mask.low), abs(mask.high)) / DType.I16.maximum or 1.0
        table = np.full((1, 256), round(mask.high / scale), np.int16)
        table[0, 0] = round(mask.low / scale)
        ref = self.builder.lut(mask.view.ref, self.builder.constant(table, DType.I16))
        return replace(mask.view, ref=ref, scale=scale)

    def _takes_unsigned(self, name: str) -> bool:
        return not any(node.op in _READS_SIGNED for node in self._reached(name))


def grid_range(grid: Mapping[str, Any]) -> IntegerRange:
    """Return the integers of a grid that a model brings along."""
    dtypes = {(d.minimum, d.maximum): d for d in (DType.I8, DType.U8, DType.I16)}
    dtype = dtypes[grid["least"], grid["most"]]
    return IntegerRange(dtype, grid["scale"] * dtype.maximum)


def is_square(node: GraphNode) -> bool:
    """Whether a node multiplies a value with itself: a product, which is finer than a table."""
    return node.op == "pointwise" and node.attributes["expression"] in _SQUARES


def _even(choice: IntegerRange, seen: Statistics) -> IntegerRange:
    """Return a range in which whole numbers lie on the grid, where all that was seen is whole."""
    if not seen.whole or choice.scale >= 1:
        return choice
    return IntegerRange(choice.dtype, choice.dtype.maximum / math.floor(1 / choice.scale))


def _scaled(value: Quantised, factor: float) -> Quantised:
    return Quantised(value.ref, value.scale * factor, value.shape, value.strides, value.base)


def _ref(value: Value) -> Ref:
    if isinstance(value, Quantised):
        return value.ref
    return value.scores.ref if isinstance(value, Masked) else value.view.ref
