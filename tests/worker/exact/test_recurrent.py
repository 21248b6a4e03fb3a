"""RNN, LSTM and GRU from torch and ONNX: the library's answers, one set of integers, judged."""

import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.worker.exact.agreement import accuracy, require_identical, require_judged
from worker.errors import ModelUnsupported
from worker.exact import floats
from worker.exact.compiler import Compiled, compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_module
from worker.exact.graph import Graph, OperatorUnsupported

pytestmark = pytest.mark.filterwarnings(  # of the exporters
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning",
    "ignore::torch.jit.TracerWarning",
)  # fmt: skip
STEPS, WIDTH, HIDDEN = 5, 3, 4
STATES = ("state", "cell")
CLOSE = 0.999  # cosine to the library: weights have 8 bits
Arrays = dict[str, np.ndarray[Any, Any]]


class Net(nn.Module):
    """A recurrent layer, of which the sequence and the last states are read."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = getattr(nn, kind)(WIDTH, HIDDEN, **options)

    def forward(self, x: Tensor) -> Tensor:
        sequence, last = self.layer(x)
        ends = last if isinstance(last, tuple) else (last,)
        return torch.cat([sequence.flatten(), *(end.flatten() for end in ends)])[None]


def samples(steps: int = STEPS, count: int = 24) -> list[Arrays]:
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=(1, steps, WIDTH)).astype("f4")} for _ in range(count)]


def compiled(module: nn.Module, given: list[Arrays]) -> tuple[Graph, Compiled]:
    graph = from_module(module, given[0])
    return graph, compile_graph(graph, given)


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "rnn of relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "lstm without bias": ("LSTM", {"bias": False}),
    "gru without bias": ("GRU", {"bias": False}),
    "two layers, both ways": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "gru both ways": ("GRU", {"bidirectional": True}),
}


@pytest.mark.parametrize("name", TORCH)
def test_compile__recurrent_layer_of_torch__is_close_in_every_state(name: str) -> None:
    kind, options = TORCH[name]
    module, given = Net(kind, batch_first=True, **options), samples()

    graph, program = compiled(module, given)

    for sample in given[:4]:
        with torch.inference_mode():
            wanted = module(torch.from_numpy(sample["x"])).numpy()
        np.testing.assert_allclose(floats.run(graph, sample), wanted, atol=1e-5)
        np.testing.assert_allclose(program.run(sample), wanted, atol=0.03)


def test_compile__state_that_is_an_input__is_read() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.GRU(WIDTH, HIDDEN, batch_first=True)

        def forward(self, x: Tensor, state: Tensor) -> Tensor:
            return self.layer(x, state)[0]  # type: ignore[no-any-return]

    rng = np.random.default_rng(1)
    given = [{**s, "state": rng.normal(size=(1, 1, HIDDEN)).astype("f4")} for s in samples()]
    module = Decoder()

    _, program = compiled(module, given)

    with torch.inference_mode():
        wanted = module(*(torch.from_numpy(part) for part in given[0].values())).numpy()
    np.testing.assert_allclose(program.run(given[0]), wanted, atol=0.03)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_compile__file_that_torch_wrote__is_the_layer(kind: str) -> None:
    module, given, file = Net(kind, batch_first=True), samples(), io.BytesIO()
    torch.onnx.export(
        module.eval(), (torch.from_numpy(given[0]["x"]),), file, dynamo=False,
        input_names=["x"], opset_version=17,
    )  # fmt: skip
    model = onnx.ModelProto.FromString(file.getvalue())
    assert kind in {node.op_type for node in model.graph.node}

    graph = from_onnx(model, given[0])

    kept = accuracy(compile_graph(graph, given), graph, given)
    assert kept.mean_cosine > CLOSE


def recurrent(op: str, gates: int, directions: int = 1, **attributes: Any) -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    shapes = {
        "W": (directions, gates * HIDDEN, WIDTH), "R": (directions, gates * HIDDEN, HIDDEN),
        "B": (directions, 2 * gates * HIDDEN),
    }  # fmt: skip
    held = {name: rng.normal(size=shape).astype("f4") / 2 for name, shape in shapes.items()}
    node = helper.make_node(
        op, ["x", "W", "R", "B"], ["", "y"], name="cell", hidden_size=HIDDEN, **attributes
    )
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, 1, WIDTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


ONNX: dict[str, onnx.ModelProto] = {
    "gru, reset before": recurrent("GRU", 3),
    "gru, reset after": recurrent("GRU", 3, linear_before_reset=1),
    "lstm backwards": recurrent("LSTM", 4, direction="reverse"),
    "lstm both ways": recurrent("LSTM", 4, 2, direction="bidirectional"),
    "rnn of relu": recurrent("RNN", 1, activations=["Relu"]),
}


@pytest.mark.parametrize("name", ONNX)
def test_compile__recurrent_operator_of_onnx__gives_its_last_state(name: str) -> None:
    given = [{"x": sample["x"].swapaxes(0, 1)} for sample in samples()]
    graph = from_onnx(ONNX[name], given[0])

    kept = accuracy(compile_graph(graph, given), graph, given)

    assert kept.mean_cosine > CLOSE


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (recurrent("LSTM", 4, activations=["HardSigmoid", "Tanh", "Tanh"]), "functions are hards"),
        (recurrent("LSTM", 4, clip=1.0), "clips"),
        (recurrent("LSTM", 4, input_forget=1), "more gates"),
    ],
    ids=["functions", "clip", "coupled gates"],
)
def test_compile__cell_of_another_kind__refused(model: onnx.ModelProto, said: str) -> None:
    given = {"x": samples()[0]["x"].swapaxes(0, 1)}

    with pytest.raises(OperatorUnsupported, match=said):
        from_onnx(model, given)


def test_compile__too_many_steps__says_how_many_operators_and_what_to_do() -> None:
    given = samples(steps=80, count=1)

    with pytest.raises(ModelUnsupported, match=r"operators, 1,024 are allowed") as caught:
        compiled(Net("LSTM", batch_first=True), given)

    assert "states as inputs and outputs" in caught.value.hint


class Segment(nn.Module):
    """Some steps of an LSTM, which takes and gives its states."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.LSTM(WIDTH, HIDDEN, batch_first=True)

    def forward(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return state and cell after the steps, [1, 1, H] of each."""
        _, (state, cell) = self.layer(x, (state, cell))
        return state, cell


def test_compile__long_sequence__is_asked_for_in_segments() -> None:
    steps, segments, rng = 20, 8, np.random.default_rng(3)
    module, whole = Segment(), rng.normal(size=(1, steps * segments, WIDTH)).astype("f4")
    given = [
        {**sample, **{name: rng.uniform(-1, 1, (1, 1, HIDDEN)).astype("f4") for name in STATES}}
        for sample in samples(steps)
    ]
    _, program = compiled(module, given)
    state = dict.fromkeys(STATES, np.zeros((1, 1, HIDDEN), "f4"))

    for part in np.split(whole, segments, 1):
        answers = program.answers({"x": part, **state})
        state = dict(zip(STATES, answers.values(), strict=True))

    with torch.inference_mode():
        zero = torch.zeros(1, 1, HIDDEN)
        wanted, _ = module(torch.from_numpy(whole), zero, zero)
    np.testing.assert_allclose(state["state"], wanted.numpy(), atol=0.03)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_check__one_wrong_byte_in_every_operator_of_a_cell__convicts(kind: str) -> None:
    given = samples(steps=2)
    _, program = compiled(Net(kind, batch_first=True), given)

    require_identical(program, given[0])
    require_judged(program, given[0])
