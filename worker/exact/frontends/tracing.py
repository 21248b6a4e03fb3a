"""What both frontends share: a graph grows while one sample runs through the framework's operators.

Running a sample gives every shape and folds every constant (positions, masks, sizes) without a
second implementation of the framework's rules. A value is *dynamic* when it depends on an input.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from oracle.errors import TallystickError
from worker.errors import ModelUnsupported
from worker.exact import floats
from worker.exact.graph import Array, Graph, GraphNode, OperatorUnsupported, Original
from worker.exact.lowering import expressions, ids, passes
from worker.exact.lowering.expressions import Expression, X
from worker.runtimes.tensors import from_torch

IS_NAN: Expression = ("ne", X, X)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A value that depends on the model's inputs, with what it is for the sample."""

    name: str
    sample: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape for one sample."""
        return tuple(self.sample.shape)


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """One call of a framework's operator: arguments by name, results for the sample."""

    name: str
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]
    results: tuple[Any, ...]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def output(self) -> str:
        """Name of the first result."""
        return self.outputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return tuple(self.results[0].shape)


class GraphRecorder:
    """A graph under construction."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self._nodes: list[GraphNode] = []
        self._constants: dict[str, Array] = {}
        self._held: dict[int, tuple[torch.Tensor, str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fresh = 0
        self.where = ""

    def shape(self, name: str, shape: Sequence[int]) -> None:
        """Note the shape of a value."""
        self._shapes[name] = tuple(shape)

    def constant(self, value: Any, hint: str = "constant") -> str:
        """Add a constant and return its name; the same tensor is one constant."""
        if id(value) in self._held:
            return self._held[id(value)][1]
        array = from_torch(value) if isinstance(value, torch.Tensor) else np.asarray(value)
        self._fresh += 1
        name = f"{hint}.{self._fresh}"
        self._constants[name] = array
        self._shapes[name] = array.shape
        if isinstance(value, torch.Tensor):
            self._held[id(value)] = (value, name)  # held, so that the id stays its own
        return name

    def emit(
        self,
        op: str,
        inputs: Sequence[str | None],
        output: str,
        shape: Sequence[int],
        /,
        **attributes: Any,
    ) -> str:
        """Append a node and return the name of its result."""
        self._nodes.append(GraphNode(op, tuple(inputs), output, attributes, self.where))
        self.shape(output, shape)
        return output

    def fresh(self, hint: str) -> str:
        """Return a name for a value that the framework did not name."""
        self._fresh += 1
        return f"{hint}.{self._fresh}"

    def refuse(self, operator: str, why: str, *, instead: str) -> OperatorUnsupported:
        """Return the error that names the node being read."""
        return OperatorUnsupported(operator, self.where, why, instead=instead)

    def is_ids(self, value: Dynamic) -> bool:
        """Whether a value is ids of an input, seen through views and with offsets added."""
        name = value.name
        made = {node.output: node for node in self._nodes}
        while name not in self.inputs:
            node = made[name]
            if node.op not in ids.VIEWS and not ids.is_shift(passes.named(node)):
                return False
            name = node.inputs[0] or ""
        return not value.sample.is_floating_point() and bool((value.sample >= 0).all())

    def maker(self, name: str) -> GraphNode | None:
        """Return the node that makes a value; None for an input."""
        return next((node for node in self._nodes if node.output == name), None)

    def is_nan_of(self, condition: Any, value: Any) -> bool:
        """Whether a condition asks which elements of a value are no numbers."""
        node = self.maker(condition.name)
        if node is None or node.attributes.get("expression") != IS_NAN:
            return False
        return isinstance(value, Dynamic) and node.inputs == (value.name,)

    def name_of(self, value: Any, hint: str = "constant") -> str | None:
        """Return the name of a dynamic value, or of a new constant; None stays."""
        if value is None:
            return None
        return value.name if isinstance(value, Dynamic) else self.constant(value, hint)

    def arithmetic(self, name: str, a: Any, b: Any, output: str, shape: Sequence[int]) -> str:
        """Append a binary operator; either side may be a number, an array or dynamic.

        A number makes it `pointwise`, an array `affine`; two dynamic sides keep `name`.
        """
        parts = [_scalar(side) for side in (a, b)]
        dynamic = [side for side in (a, b) if isinstance(side, Dynamic)]
        if len(dynamic) == 1 and None not in parts:
            expression: Expression = (name, *(X if part is X else part for part in parts))
            given = dynamic[0].name
            if dynamic[0].shape != tuple(shape):
                given = self.emit("expand", [given], self.fresh(output), shape, shape=tuple(shape))
            return self.emit("pointwise", [given], output, shape, expression=expression)
        if len(dynamic) == 1 and name in ("add", "sub", "mul", "div"):
            return self._affine(name, a, b, output, shape)
        names = [
            side.name
            if isinstance(side, Dynamic)
            else self.constant(torch.as_tensor(side), "operand")
            for side in (a, b)
        ]
        return self.emit(name, names, output, shape)

    def _affine(self, name: str, a: Any, b: Any, output: str, shape: Sequence[int]) -> str:
        first = isinstance(a, Dynamic)
        given, array = (a, b) if first else (b, a)
        values = torch.as_tensor(array).to(torch.float64).numpy()
        if given.shape != tuple(shape):
            given = self.move("expand", given, shape)
        if name == "add" and np.isneginf(values).any():  # scores that count for nothing
            return self._masked_out(given, values, output, shape)
        if name == "div" and not first:
            inverse = self.emit(
                "pointwise", [given.name], self.fresh(output), given.shape,
                expression=("reciprocal", X),
            )  # fmt: skip
            return self._affine(
                "mul", Dynamic(inverse, given.sample.reciprocal()), array, output, shape
            )
        scale: Any = {"add": 1.0, "sub": 1.0 if first else -1.0, "mul": values}.get(name)
        if scale is None:
            scale = 1.0 / values
        offset = {"add": values, "sub": -values if first else values}.get(name, 0.0)
        return self.emit(
            "affine", [given.name], output, shape,
            scale=np.asarray(scale, np.float64), offset=np.asarray(offset, np.float64),
        )  # fmt: skip

    def _masked_out(self, given: Dynamic, values: Array, output: str, shape: Sequence[int]) -> str:
        kept = np.where(np.isneginf(values), 0.0, values)
        if kept.any():
            given = self.calculate("add", given, torch.from_numpy(kept))
        mask = self.constant(np.broadcast_to(np.isneginf(values), shape), "mask")
        return self.emit("masked_fill", [given.name, mask], output, shape, where=1, value=-np.inf)

    def apply(self, op: str, *parts: Any, **attributes: Any) -> Dynamic:
        """Append a node whose shape follows from running it; parts are dynamic, or constants."""
        name = self.fresh(op)
        node = GraphNode(op, tuple(self.name_of(part) for part in parts), name, attributes)
        sample = floats.evaluate(node, [_sampled(part) for part in parts])
        self.emit(op, node.inputs, name, sample.shape, **attributes)
        return Dynamic(name, sample)

    def calculate(self, name: str, a: Any, b: Any) -> Any:
        """Return a binary operator's result; constant where both sides are."""
        sides = [_sampled(side).to(torch.float32) for side in (a, b)]
        sample = getattr(torch, name)(*sides)
        if not isinstance(a, Dynamic) and not isinstance(b, Dynamic):
            return sample
        return Dynamic(self.arithmetic(name, a, b, self.fresh(name), sample.shape), sample)

    def function(self, expression: Expression, x: Any) -> Any:
        """Return a function of each element; constant where `x` is."""
        if not isinstance(x, Dynamic):
            return expressions.evaluate(expression, torch.as_tensor(x)).to(torch.float32)
        return self.apply("pointwise", x, expression=expression)

    def move(self, op: str, x: Any, value: Sequence[int]) -> Any:
        """Return `x` reshaped, expanded or permuted; constant where `x` is."""
        if not isinstance(x, Dynamic):
            return getattr(torch.as_tensor(x), op)(tuple(value))
        if op == "reshape":
            value = x.sample.reshape(tuple(value)).shape
        return self.apply(op, x, **{"dims" if op == "permute" else "shape": tuple(value)})

    def done(self, call: OperatorCall, value: Dynamic) -> "Values":
        """Return a composed value as the call's result, under the name that the library gives."""
        if value.shape != call.shape:
            value = self.move("reshape", value, call.shape)
        if self._nodes and self._nodes[-1].output == value.name:
            self._nodes[-1] = replace(self._nodes[-1], output=call.output)
            self.shape(call.output, call.shape)
            return {call.output: Dynamic(call.output, call.results[0])}
        return {call.output: Dynamic(value.name, call.results[0])}

    def finish(self, answers: Mapping[str, Any], original: Original) -> Graph:
        """Return the graph, without what does not reach an output.

        Args:
            answers: dynamic values or constants by the names of the outputs.
            original: the model.

        Raises:
            ModelUnsupported: nothing is computed.
        """
        if not any(isinstance(value, Dynamic) for value in answers.values()):
            raise ModelUnsupported("the output does not depend on the inputs")
        if len(answers) > 1:
            names = tuple(answers)
            output = self.apply("outputs", *answers.values(), names=names).name
        else:
            (value,) = answers.values()
            output = value.name
            if output in self.inputs:  # an answer has a tensor of its own
                output = self.move("reshape", value, value.shape).name
        graph = Graph(self.inputs, output, (), {}, dict(self._shapes), original)
        graph = graph.with_nodes(self._nodes, self._constants)
        for node in graph.nodes:
            if 0 in graph.shapes[node.output]:
                raise node.refuse("it has no elements", instead="leave it out of the model")
        if empty := [name for name in graph.inputs if 0 in graph.shapes[name]]:
            raise ModelUnsupported(f"input {empty[0]} has no elements")
        return graph


Values = Mapping[str, Any]
Converter = Callable[[GraphRecorder, OperatorCall], Values]


def convert(trace: GraphRecorder, converter: Converter, call: OperatorCall) -> Values:
    """Let a converter read a call.

    Raises:
        OperatorUnsupported: it is used in a way that the converter does not know.
    """
    try:
        return converter(trace, call)
    except TallystickError:
        raise
    except Exception as error:  # whatever a model's author thought of
        raise trace.refuse(
            call.name, f"it is not known in this form ({type(error).__name__}: {error})",
            instead="publish this model as a float one (judged by a committee), or write the "
            "operator in another way",
        ) from error  # fmt: skip


def first(call: OperatorCall, name: str) -> Values:
    """Return the call's first result as the value of that name."""
    return {call.output: Dynamic(name, call.results[0])}


def pair(value: Any) -> tuple[int, int]:
    """Return the two numbers of a list; one number stands for both."""
    if isinstance(value, int):
        return value, value
    return int(value[0]), int(value[-1])


def _sampled(part: Any) -> Any:
    if isinstance(part, Dynamic):
        return part.sample
    return part if part is None else torch.as_tensor(part)


def _scalar(side: Any) -> Any:
    """Return X for a dynamic side, a float for one number, None for an array."""
    if isinstance(side, Dynamic):
        return X
    if isinstance(side, torch.Tensor):
        return float(side) if side.numel() == 1 else None
    return float(side)
