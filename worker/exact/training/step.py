"""One step of training as an exact program: every element of it can be judged by a contract.

    inputs    state 1 × parameters i32 · samples batch × features u8 · labels 1 × batch u16
    output    the next state

Forward, softmax cross entropy, backward, and `state − rate · gradient` (SGD), with operators that
exact answers have already (docs/exact.md, section 4). The state holds all parameters in the order
of their names, each flattened in C order, in units of 2^-STATE_BITS.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from oracle.errors import InputInvalid
from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, Spec
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import Program
from oracle.training.exact_job import STATE_BITS
from worker.errors import ModelUnsupported
from worker.exact.training.arithmetic import Signal, add, beside, greatest, product
from worker.exact.training.layers import WORKING_BITS, Layer, Parameter, Tape, layers_of
from worker.exact.training.twin import Ranges

MOST_PARAMETERS = 2**14  # an output has at most 65,536 bytes (docs/exact.md, section 3)
_ROOM = 1.5  # activations and errors may become so much greater than the twin's
_LOGIT_BITS = 10
_EXP_SHIFT, _EXP_TERMS = 3, 4096


@dataclass(frozen=True)
class TrainingStep:
    """A step's program, and where each parameter lies in its state."""

    program: Program
    constants: Constants
    parameters: tuple[Parameter, ...]

    def encode(self, weights: Mapping[str, torch.Tensor]) -> Array:
        """Return a state (int32, 1 × parameters).

        Args:
            weights: a module's state dictionary.

        Raises:
            InputInvalid: a tensor is missing, has another shape, or holds NaN or |w| ≥ 8.
        """
        state = np.empty(self.program.inputs[0].cols, np.int64)
        for held in self.parameters:
            if held.name not in weights or tuple(weights[held.name].shape) != held.shape:
                raise InputInvalid(f"the weights have no {held.name} of shape {held.shape}")
            values = weights[held.name].detach().double().numpy().ravel()
            if not np.abs(values).max(initial=0) < 2.0 ** (15 - WORKING_BITS):  # NaN is not below
                raise InputInvalid(f"{held.name} holds NaN or a weight of 8 and above")
            state[held.start : held.start + held.count] = np.rint(values * 2.0**STATE_BITS)
        return state.astype(np.int32)[None]

    def decode(self, state: Array) -> dict[str, torch.Tensor]:
        """Return a state (int32, 1 × parameters) as a state dictionary of float32."""
        return {
            held.name: torch.from_numpy(
                (state[0, held.start : held.start + held.count] / 2.0**STATE_BITS)
                .reshape(held.shape)
                .astype(np.float32)
            )
            for held in self.parameters
        }


@dataclass(frozen=True, slots=True)
class StepTerms:
    """What a step is besides its model.

    Attributes:
        batch: samples of a step; a power of two, so that a batch is one node of the data's tree.
        rate: learning rate.
        shape: of one sample: (features,) or (channels, height, width).
        steps_of_input: integers in 1.0 of the samples.
    """

    batch: int
    rate: float
    shape: tuple[int, ...]
    steps_of_input: int

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch & (self.batch - 1):
            raise InputInvalid(f"a batch of {self.batch} is no power of two")
        if not 0 < self.rate < 2**7:
            raise InputInvalid(f"a learning rate of {self.rate} is not above 0 and below 128")
        if len(self.shape) not in (1, 3):
            raise InputInvalid(f"samples of {self.shape} are no features and no images")
        if not 1 <= self.steps_of_input <= greatest(DType.U8):
            raise InputInvalid(f"{self.steps_of_input} integers in 1.0 do not fit 8 bits")


def build(model: nn.Module, terms: StepTerms, ranges: Ranges) -> TrainingStep:
    """Return the program of one step.

    Args:
        model: an `nn.Sequential`; its parameters are not part of the program.
        terms: batch, learning rate, samples.
        ranges: of the twin, over training like what will come.

    Raises:
        ModelUnsupported: a layer without an integer step, or more than 16,384 parameters.
    """
    layers = layers_of(model)
    parameters = _parameters(model)
    total = sum(held.count for held in parameters)
    if total > MOST_PARAMETERS:
        raise ModelUnsupported(
            f"{total:,} parameters; a step that a contract judges has at most {MOST_PARAMETERS:,}",
            hint="train the last layers alone, over the features that the others give",
        )
    b = ProgramBuilder()
    state = b.input(Spec(DType.I32, 1, total))
    samples = b.input(Spec(DType.U8, terms.batch, int(np.prod(terms.shape))))
    labels = b.input(Spec(DType.U16, 1, terms.batch))
    halves = (2.0 ** (WORKING_BITS - STATE_BITS), 0.0)
    nothing = b.constant(np.zeros((1, total), np.int32), DType.I32)
    tape = Tape(
        b,
        add(b, state, nothing, halves, DType.I16),
        {held.name: held for held in parameters},
        terms.rate / terms.batch * 2.0**STATE_BITS,
        {},
    )
    try:
        error = _error(b, _forward(tape, layers, _images(b, samples, terms), ranges), labels)
        _backward(tape, layers, error, ranges)
        change = beside(b, *(tape.gradients[held.name] for held in parameters))
        add(b, state, change, (1, -1), DType.I32)
        program, constants = b.build()
    except ProgramInvalid as error_:
        raise ModelUnsupported(
            f"a step of this model is no valid program: {error_}",
            hint="take smaller layers or batches: docs/exact.md, section 3, has the bounds",
        ) from error_
    return TrainingStep(program, constants, parameters)


def _parameters(model: nn.Module) -> tuple[Parameter, ...]:
    found, start = [], 0
    for name, tensor in sorted(model.state_dict().items()):
        found.append(Parameter(name, tuple(tensor.shape), start))
        start += tensor.numel()
    return tuple(found)


def _images(b: ProgramBuilder, samples: Ref, terms: StepTerms) -> Signal:
    """Return the samples with their channels in columns."""
    if len(terms.shape) == 1:
        return Signal(samples, terms.steps_of_input)
    colours, height, width = terms.shape
    places = height * width
    ref = samples
    if colours > 1 or places > 1:
        ref = b.view(
            samples, terms.batch * places, colours,
            sizes=(terms.batch, places, colours), strides=(places * colours, 1, places),
        )  # fmt: skip
    return Signal(ref, terms.steps_of_input, height, width)


def _forward(tape: Tape, layers: list[tuple[str, Layer]], x: Signal, ranges: Ranges) -> Signal:
    """Return the logits; activations get whole steps in 1.0, so that a bias of one is exact."""
    for place, (name, layer) in enumerate(layers):
        reach = _ROOM * ranges.activations.get(name, 0.0)
        if place == len(layers) - 1:
            scale = 2.0 ** min(_LOGIT_BITS, np.floor(np.log2(2**15 / max(reach, 1e-9))))
        else:
            scale = float(np.clip(np.floor(255 / max(reach, 1e-9)), 1, 255))
        x = layer.forward(tape, x, scale)
    return x


def _error(b: ProgramBuilder, logits: Signal, labels: Ref) -> Signal:
    """Return softmax(logits) − one-hot labels, in 1/32,767."""
    drops = np.arange(_EXP_TERMS) * 2.0**_EXP_SHIFT / logits.scale
    table = b.constant(np.rint(65535 * np.exp(-drops)).astype(np.uint16)[None], DType.U16)
    shares = b.softmax(logits.ref, table, dtype=DType.U16, shift=_EXP_SHIFT)
    classes = logits.channels
    eye = b.constant(np.eye(classes, dtype=np.uint8), DType.U8)
    scaled = product(b, shares, eye, 32767 / 65535, DType.I16)
    one_hot = b.constant((-32767 * np.eye(classes, dtype=np.int32)).astype(np.int16), DType.I16)
    error = add(b, scaled, b.gather(labels, one_hot), (1, 1), DType.I16)
    return Signal(error, 32767.0)


def _backward(tape: Tape, layers: list[tuple[str, Layer]], error: Signal, ranges: Ranges) -> None:
    trained = min(place for place, (_, layer) in enumerate(layers) if hasattr(layer, "outputs"))
    for place in reversed(range(trained, len(layers))):
        name, layer = layers[place]
        scale = None
        if place > trained:
            scale = 2.0 ** np.floor(np.log2(2**15 / (_ROOM * max(ranges.errors[name], 1e-9))))
        passed = layer.backward(tape, error, scale)
        if passed is None:
            return
        error = passed
