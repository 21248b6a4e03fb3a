"""ONNX's recurrent layers in the float graph: LSTM, GRU and RNN, of one or two directions."""

from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends import recurrent
from worker.exact.frontends.onnx_calls import Values, operand
from worker.exact.frontends.recurrent import Kind, Weights
from worker.exact.frontends.tracing import Converter, Dynamic, GraphRecorder, OperatorCall

# ONNX's order of gates, as places in torch's: i o f c, and z r h
_ORDER: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_FUNCTIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",),
}  # fmt: skip


def _layer(trace: GraphRecorder, call: OperatorCall) -> Values:
    kind = _kind(trace, call)
    x, given, kept, biases, _, states, cells, peepholes = (operand(call, at) for at in range(8))
    if peepholes is not None or call.arguments.get("input_forget"):
        raise trace.refuse(call.name, "its cells see more gates", instead="an LSTM without them")
    if "clip" in call.arguments:
        raise trace.refuse(call.name, "it clips its cells", instead="a layer without clip")
    batched = bool(call.arguments.get("layout", 0))
    if batched:
        x = trace.move("permute", x, (1, 0, 2))
        states, cells = (_turned(trace, held) for held in (states, cells))
    steps, *_ = x.shape
    _require_whole(trace, call, steps)
    found = []
    for at in range(given.shape[0]):
        backwards = at == 1 or call.arguments.get("direction") == b"reverse"
        weights = _weights(call, given[at], kept[at], None if biases is None else biases[at])
        state, cell = (_of(trace, held, at) for held in (states, cells))
        found.append(
            recurrent.run(trace, kind, x, weights, state=state, cell=cell, backwards=backwards)
        )
    rows = [recurrent.stacked(trace, side.steps, 0) for side in found]  # [T, B, H]
    all_ = recurrent.stacked(trace, rows, 1)
    ends = [recurrent.stacked(trace, [side.last for side in found], 0)]
    if kind == "lstm":
        ends.append(recurrent.stacked(trace, [side.cell for side in found], 0))
    if batched:
        all_ = trace.move("permute", all_, (2, 0, 1, 3))
        ends = [trace.move("permute", end, (1, 0, 2)) for end in ends]
    made = [all_, *ends]
    named = zip(call.outputs, call.results, call["places"], strict=True)
    return {name: Dynamic(made[place].name, result) for name, result, place in named}


def _kind(trace: GraphRecorder, call: OperatorCall) -> Kind:
    """Return which cell it is, where its functions are the usual ones."""
    given = [name.decode().lower() for name in call.arguments.get("activations", ())]
    turns = 2 if call.arguments.get("direction") == b"bidirectional" else 1
    usual = list(_FUNCTIONS[call.name]) * turns
    if call.name == "RNN" and given == ["relu"] * turns:
        return "rnn_relu"
    if given and given != usual:
        raise trace.refuse(
            call.name, f"its functions are {', '.join(given)}", instead=", ".join(usual)
        )
    kinds: dict[str, Kind] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}
    return kinds[call.name]


def _require_whole(trace: GraphRecorder, call: OperatorCall, steps: int) -> None:
    lengths = operand(call, 4)
    if lengths is None:
        return
    if isinstance(lengths, Dynamic) or bool((torch.as_tensor(lengths) != steps).any()):
        raise trace.refuse(
            call.name, "sequences are shorter than its input", instead="sequences of one length"
        )


def _turned(trace: GraphRecorder, held: Any) -> Any:
    return None if held is None else trace.move("permute", held, (1, 0, 2))


def _of(trace: GraphRecorder, held: Any, at: int) -> Any:
    """Return the state of one direction, [B, H]."""
    if not isinstance(held, Dynamic):
        return None if held is None else held[at]
    one = trace.apply("slice", held, dim=0, start=at, step=1, size=1)
    return trace.move("reshape", one, held.shape[1:])


def _weights(call: OperatorCall, given: Any, kept: Any, biases: Any) -> Weights:
    """Return one direction's weights with the gates in torch's order."""
    order = _ORDER[call.name]
    size = len(given) // len(order)

    def ordered(matrix: torch.Tensor) -> torch.Tensor:
        parts = torch.split(matrix, size)
        return torch.cat([parts[at] for at in order])

    held = torch.zeros(2 * len(given)) if biases is None else biases
    of_given, of_kept = (ordered(side) for side in held.chunk(2))
    after = bool(call.arguments.get("linear_before_reset", 0))
    return Weights(ordered(given), ordered(kept), of_given, of_kept, after)


RECURRENT: Mapping[str, Converter] = dict.fromkeys(("LSTM", "GRU", "RNN"), _layer)
