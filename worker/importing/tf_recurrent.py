"""RNN, GRU and LSTM of ONNX in TensorFlow, step after step.

```
 x [steps, rows, in] ─▶ x·Wᵀ for all steps ─scan─▶ h of each step ─▶ [steps, directions, rows, h]
```
Source: https://onnx.ai/onnx/operators, RNN, GRU and LSTM: order of gates, equations.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]  # of its own Python

from worker.errors import ModelUnsupported
from worker.importing.tf_operators import Attributes, Given, Operator, padded

_ACTIVATIONS = {
    "RNN": ([b"Tanh"], [b"Relu"]), "GRU": ([b"Sigmoid", b"Tanh"],),
    "LSTM": ([b"Sigmoid", b"Tanh", b"Tanh"],),
}  # fmt: skip
Step = Callable[[list[Any], Any], list[Any]]


def _recurrent(kind: str, gates: int) -> Operator:
    def operator(given: Given, a: Attributes) -> Any:
        x, w, r, bias, lengths, state, cell, peepholes = padded(given, 8)
        refused = {
            "a length for each row": lengths is not None, "peepholes": peepholes is not None,
            "clip": "clip" in a, "input_forget": a.get("input_forget"), "layout 1": a.get("layout"),
        }  # fmt: skip
        count = w.shape[0]
        named = [bytes(one) for one in a.get("activations", _ACTIVATIONS[kind][0] * count)]
        own = named[: len(named) // count]
        refused["such activations"] = own not in _ACTIVATIONS[kind] or named != own * count
        if found := [name for name, there in refused.items() if there]:
            raise ModelUnsupported(f"{kind} with {found[0]} has no form in TensorFlow here")
        hidden, direction = a["hidden_size"], a.get("direction", b"forward")
        zeros = tf.zeros(tf.stack([tf.shape(x)[1], hidden]), x.dtype)
        if bias is None:
            bias = tf.zeros([count, 2 * gates * hidden], x.dtype)
        outputs, last = [], []
        for n in range(count):
            backwards = direction == b"reverse" or n == 1
            start = [
                zeros if s is None else s[n] for s in (state, cell)[: 2 if kind == "LSTM" else 1]
            ]
            to_input, to_state = tf.split(bias[n], 2)
            step = _STEPS[kind](r[n], to_state, a)
            projected = tf.tensordot(x, w[n], [[2], [1]]) + to_input
            states = tf.scan(step, projected, start, reverse=backwards, parallel_iterations=1)
            outputs.append(states[0])
            last.append([one[0 if backwards else -1] for one in states])
        return [tf.stack(outputs, 1), *(tf.stack(list(ends)) for ends in zip(*last, strict=True))]

    return operator


def _rnn(r: Any, bias: Any, a: Attributes) -> Step:
    relu = b"Relu" in list(a.get("activations", ()))
    run = tf.nn.relu if relu else tf.tanh
    return lambda states, given: [run(given + tf.matmul(states[0], r, transpose_b=True) + bias)]


def _gru(r: Any, bias: Any, a: Attributes) -> Step:
    size = a["hidden_size"]
    of_gates, of_new = r[: 2 * size], r[2 * size :]

    def step(states: list[Any], given: Any) -> list[Any]:
        (h,) = states
        both = tf.matmul(h, of_gates, transpose_b=True) + bias[: 2 * size]
        update, reset = tf.split(tf.sigmoid(given[:, : 2 * size] + both), 2, 1)
        if a.get("linear_before_reset"):
            back = reset * (tf.matmul(h, of_new, transpose_b=True) + bias[2 * size :])
        else:
            back = tf.matmul(reset * h, of_new, transpose_b=True) + bias[2 * size :]
        new = tf.tanh(given[:, 2 * size :] + back)
        return [(1 - update) * new + update * h]

    return step


def _lstm(r: Any, bias: Any, _: Attributes) -> Step:
    def step(states: list[Any], given: Any) -> list[Any]:
        h, c = states
        gates = given + tf.matmul(h, r, transpose_b=True) + bias
        into, out, forget, new = tf.split(gates, 4, 1)
        c = tf.sigmoid(forget) * c + tf.sigmoid(into) * tf.tanh(new)
        return [tf.sigmoid(out) * tf.tanh(c), c]

    return step


_STEPS: Mapping[str, Callable[[Any, Any, Attributes], Step]] = {
    "RNN": _rnn, "GRU": _gru, "LSTM": _lstm,
}  # fmt: skip
OPERATORS: Mapping[str, Operator] = {
    kind: _recurrent(kind, gates) for kind, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
}
