"""A graph is held to the model that it was read from: what is read wrongly is refused, by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from oracle.exact import quantisation
from tests.worker.exact.test_frontend_onnx import normal
from worker.exact.compiler import compile_graph
from worker.exact.frontends import aten
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_module
from worker.exact.graph import Graph, OperatorUnsupported, Sample
from worker.exact.original import ReadingWrong, probes, require_faithful
from worker.exact.report import AccuracyLow, measure_graph


class Applied(torch.nn.Module):
    """One function as a model, with two vectors."""

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("a", torch.arange(8.0))
        self.register_buffer("b", -2 * torch.arange(8.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def rows(count: int = 60, *, kind: str = "float") -> list[Sample]:
    dice = np.random.default_rng(3)
    if kind == "int":
        return [{"x": dice.integers(0, 9, (1, 8))} for _ in range(count)]
    return [{"x": dice.standard_normal((1, 8)).astype("f4")} for _ in range(count)]


def close(graph: Graph, samples: list[Sample]) -> None:
    """Compile, and compare with the model itself on samples that were not seen."""
    compiled = compile_graph(graph, samples[:40])
    measure_graph(compiled, graph, samples[40:]).accuracy.require(0.9)


def proto(nodes: list[Any], opset: int = 17, **constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


# ── What is read ────────────────────────────────────────────────────────────────────────────────
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "where, two vectors": lambda m, x: torch.where(x > 0, m.a, m.b),
    "where, a vector and the input": lambda m, x: torch.where(x > 0, m.a, x),
    "where, the input and a vector": lambda m, x: torch.where(x > 0, 3 * x, m.b),
    "where, two activations": lambda m, x: torch.where(x > m.a - 4, 2 * x, x - 1),
    "to whole numbers": lambda m, x: (3 * x).to(torch.int64).float() + m.a,
    "to truth values": lambda m, x: (x > 0).to(torch.bool).float() * m.a,
    "a power of the input": lambda m, x: 2.0**x,
    "two activations compared": lambda m, x: (x > m.a * x - x).float() + m.b,
    "the mean of all": lambda m, x: (x * m.a).mean().reshape(1, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compile__function_of_torch__is_what_torch_answers(name: str) -> None:
    samples = rows()
    close(from_module(Applied(FUNCTIONS[name]), samples[0]), samples)


def test_compile__whole_numbers_as_numbers__are_not_taken_for_a_mask() -> None:
    torch.manual_seed(0)
    layer, samples = torch.nn.Linear(8, 4), rows(kind="int")
    layer.requires_grad_(False)
    close(from_module(Applied(lambda _, x: layer(x.float())), samples[0]), samples)


def test_compile__softmax_of_an_old_opset__is_over_all_that_follows() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Softmax", ["image"], ["y"]),
    ]
    samples = rows()
    graph = from_onnx(proto(nodes, 11, shape=np.array([1, 8, 1, 1])), samples[0])
    close(graph, samples)


# ── What is refused ─────────────────────────────────────────────────────────────────────────────
def test_compile__operator_that_is_read_wrongly__is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aten.CONVERTERS, "exp", aten.CONVERTERS["tanh"])  # type: ignore[index]
    samples = rows()
    graph = from_module(Applied(lambda m, x: torch.exp(x * m.a) * 2), samples[0])
    with pytest.raises(ReadingWrong, match="exp at the model"):
        compile_graph(graph, samples)


def test_require_faithful__wrong_where_no_sample_is__random_probes_tell() -> None:
    samples = [{"x": np.ones((1, 8), "f4") * n} for n in range(3)]
    kinked = from_module(Applied(lambda m, x: torch.where(x < 0, x * m.a, x)), samples[0])
    straight = from_module(Applied(lambda m, x: x * 1.0), samples[0])
    assert kinked.original is not None
    require_faithful(kinked, samples)
    with pytest.raises(ReadingWrong):
        require_faithful(Graph(**{**_fields(straight), "original": kinked.original}), samples)


def _fields(graph: Graph) -> dict[str, Any]:
    return {name: getattr(graph, name) for name in Graph.__dataclass_fields__}


def test_compile__branch_that_reads_an_input__refused_though_its_condition_is_constant() -> None:
    double = helper.make_node("Add", ["x", "x"], ["twice"])
    out = helper.make_tensor_value_info("twice", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([double], "branch", [], [out])
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(OperatorUnsupported, match=r"If at node y: a branch reads x"):
        from_onnx(proto([node], yes=np.array(True)), {"x": normal(1, 8)})


def test_compile__whole_numbers_divided__refused_as_the_rest_is_lost() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=onnx.TensorProto.INT64),
        helper.make_node("Div", ["whole", "three"], ["third"]),
        helper.make_node("Cast", ["third"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    samples = [{"x": 10 * sample["x"]} for sample in rows()]
    graph = from_onnx(proto(nodes, three=np.array(3)), samples[0])
    with pytest.raises(ReadingWrong, match="third at node third"):
        compile_graph(graph, samples)


@pytest.mark.parametrize(
    "function",
    [
        lambda _m, x: torch.nn.functional.max_pool2d(
            x.reshape(1, 1, 2, 4), 2, 1, ceil_mode=True
        ).flatten(1),
        lambda m, x: m.a.long()[x.long().abs() % 8],
        lambda _m, x: torch.topk(x, 2).values,
    ],
)
def test_compile__operator_in_an_unknown_form__is_refused_and_no_traceback(function: Any) -> None:
    samples = rows()
    with pytest.raises(OperatorUnsupported):
        compile_graph(from_module(Applied(function), samples[0]), samples)


# ── Accuracy ────────────────────────────────────────────────────────────────────────────────────
def test_require__columns_of_different_size__each_keeps_its_own() -> None:
    scale = torch.tensor([1e6, 1.0, 0.01, 10.0, 1.0, 1.0, 1.0, 1.0])
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 3).requires_grad_(False)
    samples = [{"x": sample["x"] * scale.numpy()} for sample in rows()]
    graph = from_module(Applied(lambda _, x: layer(x / scale)), samples[0])
    compiled = compile_graph(graph, samples[:40])
    measure_graph(compiled, graph, samples[40:]).accuracy.require(0.98)
    assert {op.opcode.name for op in compiled.program.ops} == {"DOT"}  # factors are weights now


def test_require__inputs_far_from_the_calibrated_ones__too_little_is_kept() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 3).requires_grad_(False)
    samples = rows()
    graph = from_module(Applied(lambda _, x: layer(x)), samples[0])
    compiled = compile_graph(graph, samples[:40])
    larger = [{"x": sample["x"] * [[30.0, *[1.0] * 7]]} for sample in samples[40:]]
    report = measure_graph(compiled, graph, larger)
    (outside,) = quantisation.outside(compiled.inputs, larger[0])
    assert (outside.name, outside.count, outside.total) == ("x", 1, 8)
    assert not quantisation.outside(compiled.inputs, samples[0])
    with pytest.raises(AccuracyLow, match="on 20 held-out samples the integers keep"):
        report.accuracy.require(0.98)
    report.accuracy.require(0.0)


@pytest.mark.parametrize(("error", "kept"), [(0.0, True), (0.5, False)])
def test_require__one_number__by_the_variance_it_explains(error: float, kept: bool) -> None:
    samples = rows()
    graph = from_module(Applied(lambda m, x: (x * m.a).sum(1, keepdim=True)), samples[0])
    compiled = compile_graph(graph, samples[:40])
    moved = Moved(compiled, error)
    accuracy = measure_graph(moved, graph, samples[40:]).accuracy  # type: ignore[arg-type]
    assert accuracy.one_number
    assert (accuracy.agreement >= 0.98) == kept


class Moved:
    """A program whose answers are turned by a share of their sign."""

    def __init__(self, compiled: Any, share: float) -> None:
        self._compiled, self._share = compiled, share
        self.program, self.constants = compiled.program, compiled.constants
        self.inputs = compiled.inputs

    def run(self, sample: Sample) -> Any:
        """Return the answer, moved."""
        return self._compiled.run(sample) * (1 - self._share)


def test_probes__ids_stay_those_of_one_sample() -> None:
    samples = [{"ids": np.array([[n, n]]), "x": np.full((1, 2), n, "f4")} for n in range(5)]
    for probe in probes(samples, list(samples[0])):
        assert any((probe["ids"] == sample["ids"]).all() for sample in samples)
