"""Every operator family from torch.export: the float graph equals torch, the integers are close."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.errors import ModelUnsupported
from worker.exact import floats
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends.torch import from_module
from worker.exact.graph import Graph, OperatorUnsupported
from worker.exact.lowering import passes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
Function = Callable[..., Tensor]
Samples = list[dict[str, np.ndarray]]


class Unary(nn.Module):
    """A function of one input, as a module."""

    def __init__(self, function: Function, *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def randomised(module: nn.Module) -> nn.Module:
    """Give norms statistics that are not 0 and 1."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d | nn.LayerNorm):
                nn.init.normal_(part.weight, 1, 0.2)
                nn.init.normal_(part.bias, 0, 0.2)
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, 0, 0.2)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module.eval()


def normal(*shape: int, count: int = 24) -> Samples:
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=(1, *shape)).astype("f4")} for _ in range(count)]


def compiled(module: nn.Module, samples: Samples) -> tuple[Graph, Compiled]:
    graph = from_module(module, samples[0])
    return graph, compile_graph(graph, samples)


def error(module: nn.Module, graph: Graph, program: Compiled, samples: Samples) -> float:
    """Return the error of the integers in deviations of the float output; check the graph."""
    gaps, values = [], []
    for sample in samples:
        with torch.inference_mode():
            want = module(*(torch.from_numpy(x) for x in sample.values())).numpy()
        np.testing.assert_allclose(floats.run(graph, sample), want, atol=1e-5, rtol=1e-4)
        simple = floats.run(passes.simplify(graph), sample)
        np.testing.assert_allclose(simple, want, atol=1e-4, rtol=1e-3)
        gaps.append(program.run(sample).ravel() - want.ravel())
        values.append(want)
    return float(np.std(gaps) / np.std(values))


def attention(x: Tensor, causal: bool = False) -> Tensor:
    heads = x.view(1, 6, 2, 8).transpose(1, 2)
    mixed = functional.scaled_dot_product_attention(heads, heads, heads, is_causal=causal)
    return mixed.transpose(1, 2).reshape(1, 6, 16)


IMAGES: dict[str, tuple[Function, list[nn.Module]]] = {
    "conv": (lambda x, c: c(x), [nn.Conv2d(4, 6, 3, padding=1)]),
    "conv stride dilation": (
        lambda x, c: c(x), [nn.Conv2d(4, 6, (2, 3), (2, 1), padding=(2, 1), dilation=(1, 2))],
    ),
    "conv 1x1": (lambda x, c: c(x), [nn.Conv2d(4, 6, 1, bias=False)]),
    "conv groups": (lambda x, c: c(x), [nn.Conv2d(4, 6, 3, padding=1, groups=2)]),
    "conv depthwise": (lambda x, c: c(x), [nn.Conv2d(4, 8, 3, groups=4)]),
    "conv norm relu": (
        lambda x, c, n: torch.relu(n(c(x))), [nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)],
    ),
    "norm first": (lambda x, n: n(x), [nn.BatchNorm2d(4)]),
    "residual": (lambda x, c: torch.relu(x + c(torch.relu(x))), [nn.Conv2d(4, 4, 3, padding=1)]),
    "max pool": (lambda x: functional.max_pool2d(x, 3, 2, padding=1), []),
    "average pool": (lambda x: functional.avg_pool2d(x, 2, 1, padding=1), []),
    "adaptive pool": (lambda x: functional.adaptive_avg_pool2d(x, (2, 1)), []),
    "mean of pixels": (lambda x: x.mean((2, 3)), []),
    "flatten": (lambda x, c: c(x.flatten(1)), [nn.Linear(4 * 36, 5)]),
    "channels": (lambda x: torch.cat([x[:, ::2], 3 * x[:, 1:2], torch.tanh(x)], 1), []),
    "gate": (
        lambda x, c: x * torch.sigmoid(c(x.mean((2, 3), keepdim=True))), [nn.Conv2d(4, 4, 1)],
    ),
}  # fmt: skip
IMAGES |= {
    "relu in place": (
        lambda x, c: nn.functional.relu_(c(x)), [nn.Conv2d(4, 6, 3)],
    ),
    "transposed conv": (
        lambda x, c: c(x), [nn.ConvTranspose2d(4, 3, 3, 2, padding=1, output_padding=1)],
    ),
    "nearest": (lambda x: functional.interpolate(x, scale_factor=2), []),
    "nearest by thirds": (lambda x: functional.interpolate(x, size=(8, 9)), []),
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), []),
    "bilinear to a size": (
        lambda x: functional.interpolate(x, size=(9, 5), mode="bilinear", align_corners=True), [],
    ),
    "group norm": (lambda x, n: n(x), [nn.GroupNorm(2, 4)]),
    "prelu": (lambda x, a: a(x), [nn.PReLU(4)]),
    "gated": (lambda x: functional.glu(x, 1), []),
}  # fmt: skip
ROWS: dict[str, tuple[Function, list[nn.Module]]] = {
    "linear": (lambda x, c: c(x), [nn.Linear(16, 5)]),
    "conv1d": (lambda x, c: c(x), [nn.Conv1d(6, 4, 3, stride=2, padding=1)]),
    "transposed conv1d": (lambda x, c: c(x), [nn.ConvTranspose1d(6, 4, 3, 2)]),
    "pools of one axis": (
        lambda x: torch.cat([
            functional.max_pool1d(x, 3, 2, padding=1), functional.avg_pool1d(x, 2),
            functional.adaptive_avg_pool1d(x, 4),
        ], 2), [],
    ),
    "log softmax": (lambda x: torch.log_softmax(x, -1), []),
    "softplus": (lambda x: functional.softplus(x, beta=2), []),
    "celu": (lambda x: functional.celu(x, 0.5), []),
    "log sigmoid": (functional.logsigmoid, []),
    "any": (lambda x: x * ((x > 1).any(-1, keepdim=True)), []),
    "scaled input": (lambda x, c: c((x - torch.arange(16.0)) / 3), [nn.Linear(16, 5)]),
    "relu6": (lambda x, c: functional.relu6(c(x) * 9), [nn.Linear(16, 5)]),
    "clamp": (lambda x, c: torch.clamp(c(x), -0.5, 0.7), [nn.Linear(16, 5)]),
    "layer norm": (lambda x, n: n(x), [nn.LayerNorm(16)]),
    "layer norm of relu": (lambda x, n: n(torch.relu(x)), [nn.LayerNorm(16)]),
    "softmax": (lambda x: torch.softmax(3 * x, -1), []),
    "attention": (attention, []),
    "causal attention": (lambda x: attention(x, causal=True), []),
    "product": (lambda x: x @ x.transpose(1, 2), []),
    "positions": (lambda x: x + torch.arange(96.0).reshape(1, 6, 16) / 50, []),
    "difference": (lambda x, c: c(x) - x, [nn.Linear(16, 16)]),
    "turned difference": (lambda x: 1.5 - x[:, :1] + (x[:, :1] - x), []),
    "split": (lambda x: torch.stack(x.chunk(2, -1), 1).permute(0, 2, 1, 3).flatten(2), []),
    "select": (lambda x, c: torch.tanh(c(x[:, 0])), [nn.Linear(16, 5)]),
    "silu by hand": (lambda x: x * torch.sigmoid(x), []),
    "square": (lambda x: x.pow(2).sum(-1), []),
    "unit length": (lambda x: functional.normalize(x, dim=-1), []),
    **{
        function.__name__: (
            lambda x, c, activation=function: activation(c(x)), [nn.Linear(16, 16)],
        )
        for function in (
            functional.gelu, functional.silu, functional.elu, functional.leaky_relu,
            functional.hardswish, functional.mish, functional.sigmoid,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_from_module__image_operator__is_close_to_torch(name: str) -> None:
    torch.manual_seed(0)
    function, parts = IMAGES[name]
    module, samples = randomised(Unary(function, *parts)), normal(4, 6, 6)
    graph, program = compiled(module, samples)

    assert error(module, graph, program, samples) < 0.02


@pytest.mark.parametrize("name", ROWS)
def test_from_module__row_operator__is_close_to_torch(name: str) -> None:
    torch.manual_seed(0)
    function, parts = ROWS[name]
    module, samples = randomised(Unary(function, *parts)), normal(6, 16)
    graph, program = compiled(module, samples)

    assert error(module, graph, program, samples) < 0.02


def test_from_module__argmax__is_torchs() -> None:
    torch.manual_seed(0)
    module, samples = Unary(lambda x, c: c(x).argmax(-1), nn.Linear(16, 5)).eval(), normal(16)
    graph, program = compiled(module, samples)

    same = [program.run(s)[0] == int(module(torch.from_numpy(s["x"]))) for s in samples]

    assert program.outputs[0].meaning == "class"
    assert np.mean(same) > 0.9
    assert graph.nodes[-1].op == "argmax"


def test_from_module__masked_attention_and_mean__follow_the_mask() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 16)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            x = self.table(ids)
            added = (1.0 - mask[:, None, :].float()) * torch.finfo(x.dtype).min
            x = x + torch.softmax(x @ x.transpose(1, 2) / math.sqrt(16) + added, -1) @ x
            weights = mask[..., None].float()
            return (x * weights).sum(1) / weights.sum(1).clamp(min=1e-9)

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = Encoder().eval()
    samples = []
    for count in rng.integers(1, 9, 24):
        mask = (np.arange(8) < count).astype(np.int64)[None]
        samples.append({"ids": rng.integers(0, 50, (1, 8)), "mask": mask})
    graph, program = compiled(module, samples)

    assert error(module, graph, program, samples) < 0.02
    assert [code.kind for code in program.inputs] == ["tokens", "mask"]
    other = {**samples[0], "ids": np.where(samples[0]["mask"] == 1, samples[0]["ids"], 7)}
    assert np.array_equal(program.integers(other), program.integers(samples[0]))


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: torch.topk(x, 2).values, "topk"),
        (lambda x: torch.sort(x).values, "sort"),
        (lambda x: torch.softmax(x, 1), "softmax"),
        (lambda x: x / x.sum(-1, keepdim=True), "div"),
    ],
)
def test_from_module__operator_without_integers__is_named_with_its_place(
    function: Function, operator: str
) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Unary(function)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    with pytest.raises(OperatorUnsupported) as caught:
        compiled(Outer(), normal(6, 16))

    assert operator in caught.value.operator
    assert "inner" in caught.value.where
    assert caught.value.hint


def test_from_module__two_outputs__are_one_after_another() -> None:
    samples = normal(4)
    graph = from_module(Unary(lambda x: (torch.relu(x), x[:, :2] + 1)), samples[0])
    program = compile_graph(graph, samples)
    first, second = program.answers(samples[0]).values()
    assert (first.shape, second.shape) == ((1, 4), (1, 2))
    assert np.abs(first - np.maximum(samples[0]["x"], 0)).max() < 0.05
    assert np.abs(second - samples[0]["x"][:, :2] - 1).max() < 0.05
    assert program.program.output.cols == 6


def test_from_module__input_unknown__is_named() -> None:
    with pytest.raises(ModelUnsupported, match="no input x"):
        from_module(Unary(torch.relu), {"y": np.zeros((1, 4), "f4")})
