"""Passes: what they merge, and what they must leave apart."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worker.exact.frontends.torch import from_module
from worker.exact.graph import Graph
from worker.exact.lowering import expressions, passes
from worker.exact.lowering.expressions import X

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def simple(module: nn.Module, *shape: int, name: str = "x") -> Graph:
    return passes.simplify(from_module(module.eval(), {name: np.ones((1, *shape), "f4")}))


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def test_simplify__relu_of_a_value_read_twice__stays_apart() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x @ torch.ones(4, 4)
            return torch.softmax(torch.relu(y), -1) + y

    assert operators(simple(Net(), 3, 4)) == ["linear", "clamp", "softmax", "add"]


def test_simplify__two_functions_of_one_value__are_one_table() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) + x * torch.sigmoid(x)

    assert operators(simple(Net(), 3)) == ["pointwise"]


def test_simplify__scale_before_a_padded_convolution__stays_apart() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x + 1)

    assert operators(simple(Net(), 2, 4, 4)) == ["affine", "conv2d"]


def test_simplify__convolution_norm_relu__is_one_node() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    graph = simple(net, 2, 4, 4, name="input")

    assert operators(graph) == ["conv2d"]
    assert graph.nodes[0].attributes["low"] == 0.0


def test_simplify__dead_branch__is_dropped() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            torch.exp(x)
            return torch.tanh(x)

    assert operators(simple(Net(), 3)) == ["pointwise"]


def test_simplify__normalise_of_masked_mean__keeps_both() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            keep = mask[..., None].float()
            mean = (keep * x).sum(1) / keep.sum(1).clamp(min=1e-9)
            return nn.functional.normalize(mean, dim=-1)

    sample = {"x": np.ones((1, 5, 4), "f4"), "mask": np.ones((1, 5), int)}
    graph = passes.simplify(from_module(Net(), sample))

    assert operators(graph) == ["reshape", "masked_mean", "normalise"]


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        (("mul", ("add", X, 2.0), 3.0), (3.0, 6.0)),
        (("sub", 1.0, ("div", X, 4.0)), (-0.25, 1.0)),
        (("neg", X), (-1.0, 0.0)),
        (("mul", X, X), None),
        (("div", 1.0, X), None),
        (("exp", X), None),
        (("add", X, ("exp", X)), None),
    ],
)
def test_as_affine__expression__is_read(
    expression: expressions.Expression, line: tuple[float, float] | None
) -> None:
    assert expressions.as_affine(expression) == line


@pytest.mark.parametrize(
    ("expression", "limits"),
    [
        (("maximum", X, 0.0), (0.0, None)),
        (("minimum", ("maximum", X, 0.0), 6.0), (0.0, 6.0)),
        (("maximum", 0.0, X), (0.0, None)),
        (("maximum", X, ("neg", X)), None),
        (("add", X, 0.0), None),
    ],
)
def test_as_clamp__expression__is_read(
    expression: expressions.Expression, limits: tuple[float | None, float | None] | None
) -> None:
    assert expressions.as_clamp(expression) == limits
