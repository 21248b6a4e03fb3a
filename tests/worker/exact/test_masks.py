"""Masks and positions that a model computes from its inputs, as exports of encoders have them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.worker.exact.agreement import accuracy, require_identical, require_judged
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_module
from worker.exact.graph import Graph, OperatorUnsupported

pytestmark = pytest.mark.filterwarnings(  # of the exporters
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning",
    "ignore::torch.jit.TracerWarning",
)  # fmt: skip
TOKENS, WIDTH, WORDS, PAD = 6, 8, 12, 1
Samples = list[dict[str, np.ndarray[Any, Any]]]


def indexed(ids: Tensor, mask: Tensor) -> Tensor:
    """What transformers' mask functions come to: a look-up at constant places, joined with ones."""
    places = torch.arange(TOKENS)[None, None, None]
    kept = mask.bool()[torch.zeros(1, 1, 1, 1, dtype=torch.int64), places]
    return kept & torch.ones(1, 1, TOKENS, 1, dtype=torch.bool)


def causal(ids: Tensor, mask: Tensor) -> Tensor:
    kept = mask.bool()[:, None, None]
    return kept & torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()


def added(ids: Tensor, mask: Tensor) -> Tensor:
    return torch.where(indexed(ids, mask), 0.0, torch.finfo(torch.float32).min)


def infinite(ids: Tensor, mask: Tensor) -> Tensor:
    kept = (mask[:, None, None] * torch.ones(1, 1, TOKENS, 1)).bool()
    return torch.zeros(1, 1, TOKENS, TOKENS).masked_fill(~kept, -torch.inf)


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "looked up": indexed, "causal": causal, "added": added, "infinite": infinite,
}  # fmt: skip


class Encoder(nn.Module):
    """Words and positions, one head of attention under a mask, a layer norm."""

    def __init__(self, mask: str, *, counted: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Embedding(TOKENS + 2, WIDTH)
        self.parts = nn.Linear(WIDTH, 3 * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.mask, self.counted = mask, counted

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(TOKENS)[None]
        if self.counted:  # RoBERTa's: tokens that are there are counted, from the padding's on
            kept = ids.ne(PAD).int()
            places = (torch.cumsum(kept, 1).type_as(kept) * kept).long() + PAD
        x = self.words(ids) + self.positions(places)
        query, key, value = self.parts(x)[:, None].chunk(3, -1)
        bias = MASKS[self.mask](ids, mask)
        if bias.dtype == torch.bool:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            shares = torch.softmax(query @ key.transpose(-1, -2) / WIDTH**0.5 + bias, -1)
            mixed = torch.where(torch.isnan(shares), 0.0, shares) @ value
        return self.norm(mixed[:, 0] + x)[:, 0]  # type: ignore[no-any-return]


def texts(count: int = 24) -> Samples:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        mask = (np.arange(TOKENS) < rng.integers(2, TOKENS + 1)).astype(np.int64)[None]
        made.append({"ids": np.where(mask, rng.integers(2, WORDS, mask.shape), PAD), "mask": mask})
    return made


def exported(module: nn.Module, sample: dict[str, np.ndarray[Any, Any]]) -> Graph:
    file = io.BytesIO()
    given = tuple(torch.from_numpy(part) for part in sample.values())
    torch.onnx.export(
        module, given, file, dynamo=False, input_names=list(sample), opset_version=17
    )  # fmt: skip
    return from_onnx(onnx.ModelProto.FromString(file.getvalue()), sample)


@pytest.mark.parametrize("read", [from_module, exported], ids=["torch", "onnx"])
@pytest.mark.parametrize("mask", MASKS)
def test_compile__mask_that_is_computed__masks_the_same(
    mask: str, read: Callable[..., Graph]
) -> None:
    module, given = Encoder(mask, counted=mask == "added").eval(), texts()
    graph = read(module, given[0])

    program = compile_graph(graph, given)

    kept = accuracy(program, graph, given)
    assert kept.mean_cosine > 0.999
    require_identical(program, given[1])


def test_check__one_wrong_byte_in_every_operator_of_counted_positions__convicts() -> None:
    given = texts()
    program = compile_graph(from_module(Encoder("added", counted=True), given[0]), given)

    require_judged(program, given[1])


class Applied(nn.Module):
    """A function of x [1, 4, 6]."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


HALF = torch.arange(6) < 3
MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "places": lambda x: x[:, [2, 0]],
    "even places": lambda x: x[:, :, torch.tensor([1, 3, 5])],
    "reversed": lambda x: x.flip(2),
    "turned round": lambda x: torch.roll(x, 2, 1),
    "chosen": lambda x: torch.index_select(x, 1, torch.tensor([3, 3, 0])),
    "gathered": lambda x: torch.gather(x, 1, torch.tensor([[[0, 1, 2, 3, 0, 1]]])),
    "repeated": lambda x: x.repeat(1, 2, 1),
    "sums so far": lambda x: torch.cumsum(x, 2) / 3,
    "constant condition": lambda x: torch.where(HALF, x, 2 * x),
    "one side of a condition": lambda x: torch.where(HALF | ~HALF, x, torch.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_compile__elements_moved_to_constant_places__are_the_same(name: str) -> None:
    rng = np.random.default_rng(0)
    given = [{"x": rng.normal(size=(1, 4, 6)).astype("f4")} for _ in range(16)]
    graph = from_module(Applied(MOVES[name]), given[0])

    kept = accuracy(compile_graph(graph, given), graph, given)

    assert kept.mean_cosine > 0.9999


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x[:, x[0, 0, :2].long()], "places depend on the inputs"),
        (lambda x: (x.int() & torch.tensor(3, dtype=torch.int32)).float(), "of whole numbers"),
    ],
    ids=["places of the input", "bits"],
)
def test_compile__look_up_without_integer_form__refused(
    function: Callable[[Tensor], Tensor], said: str
) -> None:
    given = {"x": np.ones((1, 4, 6), np.float32)}

    with pytest.raises(OperatorUnsupported, match=said):
        from_module(Applied(function), given)
