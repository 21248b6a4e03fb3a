"""ATen's recurrent layers: `lstm.input`, `gru.input`, `rnn_tanh.input`, `rnn_relu.input`."""

from collections.abc import Mapping
from typing import Any

import torch

from worker.exact.frontends import recurrent
from worker.exact.frontends.recurrent import Kind, Weights
from worker.exact.frontends.tracing import (
    Converter,
    Dynamic,
    GraphRecorder,
    OperatorCall,
    Values,
)


def _layers(kind: Kind) -> Converter:
    def convert(trace: GraphRecorder, call: OperatorCall) -> Values:
        x = call["input"]
        if call["batch_first"]:
            x = trace.move("permute", x, (1, 0, 2))
        held = call["hx"]
        states, cells = held if kind == "lstm" else (held, None)
        weights, directions = _weights(trace, call), 1 + bool(call["bidirectional"])
        lasts, last_cells = [], []
        for layer in range(call["num_layers"]):
            found = []
            for turn in range(directions):
                at = layer * directions + turn
                found.append(recurrent.run(
                    trace, kind, x, weights[at], state=_of(trace, states, at),
                    cell=_of(trace, cells, at), backwards=turn == 1,
                ))  # fmt: skip
            sides = [recurrent.stacked(trace, states_.steps, 0) for states_ in found]
            x = sides[0] if len(sides) == 1 else trace.apply("concat", *sides, dim=2)
            lasts += [states_.last for states_ in found]
            last_cells += [states_.cell for states_ in found]
        if call["batch_first"]:
            x = trace.move("permute", x, (1, 0, 2))
        ends = [lasts, last_cells] if kind == "lstm" else [lasts]
        made = [x, *(recurrent.stacked(trace, end, 0) for end in ends)]
        return {
            name: Dynamic(value.name, result)
            for name, value, result in zip(call.outputs, made, call.results, strict=True)
        }

    return convert


def _of(trace: GraphRecorder, states: Any, at: int) -> Any:
    """Return the state of one direction of one layer, [B, H]."""
    if not isinstance(states, Dynamic):
        return None if states is None else states[at]
    one = trace.apply("slice", states, dim=0, start=at, step=1, size=1)
    return trace.move("reshape", one, states.shape[1:])


def _weights(trace: GraphRecorder, call: OperatorCall) -> list[Weights]:
    """Return the weights of every direction of every layer, as torch lays them out."""
    given, each = call["params"], 4 if call["has_biases"] else 2
    count = call["num_layers"] * (1 + bool(call["bidirectional"]))
    if len(given) != each * count:
        raise trace.refuse(call.name, "it projects its states", instead="proj_size=0")
    found = []
    for at in range(0, len(given), each):
        of_given, of_kept, *biases = given[at : at + each]
        empty = torch.zeros(len(of_given))
        found.append(Weights(of_given, of_kept, *(biases or (empty, empty))))
    return found


RECURRENT: Mapping[str, Converter] = {
    kind: _layers(kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
}
