"""Layers of a training step: what they compute forward, and how errors and gradients come back.

Activations behind a ReLU are u8, as the clamp at 0 is the ReLU; errors are i16. Weights are read
from the step's working copy, i16 in units of 2^-WORKING_BITS. A gradient comes in the units of the
state and times the learning rate, so that the update is one subtraction.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import nn

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import DType
from worker.errors import ModelUnsupported
from worker.exact.lowering import scaling
from worker.exact.training.arithmetic import (
    Signal,
    bordered,
    columns_of,
    filled,
    masked,
    product,
    reshape,
    transpose,
    windows,
)

WORKING_BITS = 12  # fraction bits of working weights: |w| < 8


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where a tensor of the model lies in the state."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """How many coordinates."""
        return int(np.prod(self.shape))


@dataclass
class Tape:
    """What a step has computed: its builder, working weights, and the gradients so far."""

    builder: ProgramBuilder
    weights: Ref  # 1 × parameters, i16
    parameters: dict[str, Parameter]
    rate: float  # learning rate ÷ batch · units of the state in 1.0
    gradients: dict[str, Ref]  # 1 × count, i32

    def weight(
        self, name: str, rows: int, *, order: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    ) -> Ref:
        """Return a parameter as a matrix; `order`: sizes and strides of another layout."""
        held = self.parameters[name]
        sizes, strides = order or ((held.count,), (1,))
        return self.builder.view(
            self.weights, rows, held.count // rows, sizes=sizes, strides=strides, base=held.start
        )


class Layer(Protocol):
    """One layer of a step."""

    def forward(self, tape: Tape, x: Signal, scale: float) -> Signal:
        """Return the activations; `scale`: integers in 1.0 of them, where the layer may choose."""

    def backward(self, tape: Tape, error: Signal, scale: float | None) -> Signal | None:
        """Take the error behind the layer; return the one before it, None where `scale` is None."""


class Affine:
    """Linear and Conv2d: windows of the input, with a one beside for the bias, times weights.

    Args:
        name: of the module, as in its state dictionary.
        relu: whether a ReLU follows.
    """

    def __init__(self, name: str, module: nn.Linear | nn.Conv2d, *, relu: bool) -> None:
        self.name, self.relu = name, relu
        self.bias = module.bias is not None
        self.outputs = module.weight.shape[0]
        self.kernel = self.stride = 1
        self.border = 0
        if isinstance(module, nn.Conv2d):
            self.kernel, self.stride, self.border = _square(name, module)
        self._image: Signal | None = None  # the input
        self._rows: Signal | None = None  # its windows, and ones
        self._output: Signal | None = None

    def forward(self, tape: Tape, x: Signal, scale: float) -> Signal:
        """Return u8 behind a ReLU, else i16."""
        b = tape.builder
        self._image = x
        seen = bordered(b, x, self.border)
        rows = (
            windows(b, seen, self.kernel, self.stride)
            if self.kernel > 1 or self.stride > 1
            else seen
        )
        weights = self._weights(tape, x.channels)
        if self.bias:
            ones = filled(b, rows.ref.spec.rows, 1, round(x.scale), x.ref.spec.dtype)
            rows = rows.to(b.concat(rows.ref, ones))
            weights = b.concat(weights, tape.weight(f"{self.name}.bias", self.outputs))
        factor = scale / (x.scale * 2.0**WORKING_BITS)
        dtype = DType.U8 if self.relu else DType.I16
        self._rows = rows
        y = replace(rows, ref=product(b, rows.ref, weights, factor, dtype), scale=scale)
        self._output = y
        return y

    def backward(self, tape: Tape, error: Signal, scale: float | None) -> Signal | None:
        """Note the gradients of weight and bias; return the error of the input."""
        assert self._image is not None
        assert self._rows is not None
        assert self._output is not None
        b = tape.builder
        if self.relu:
            error = error.to(masked(b, error.ref, _positive(b, self._output.ref)))
        self._note(tape, error)
        if scale is None:
            return None
        colours = self._image.channels
        if self.stride > 1:
            raise ModelUnsupported(
                f"{self.name}: errors do not pass a stride of {self.stride} in integers",
                hint="a stride is for the first layer; pool behind the others",
            )
        if self.kernel == 1:
            weights = transpose(b, tape.weight(f"{self.name}.weight", self.outputs))
        else:
            weights = self._turned(tape, colours)
        rows = (
            windows(b, bordered(b, error, self.kernel - 1 - self.border), self.kernel, 1)
            if self.kernel > 1
            else error
        )
        factor = scale / (error.scale * 2.0**WORKING_BITS)
        return replace(rows, ref=product(b, rows.ref, weights, factor, DType.I16), scale=scale)

    def _weights(self, tape: Tape, colours: int) -> Ref:
        """Return outputs × (kernel rows, kernel columns, channels)."""
        taps = self.kernel**2
        order = ((self.outputs, taps, colours), (colours * taps, 1, taps)) if taps > 1 else None
        return tape.weight(f"{self.name}.weight", self.outputs, order=order)

    def _turned(self, tape: Tape, colours: int) -> Ref:
        """Return channels × (kernel rows, kernel columns, outputs), the kernel turned by 180°.

        No VIEW goes backwards, so a product with a permutation turns each kernel.
        """
        b, taps = tape.builder, self.kernel**2
        kernels = tape.weight(f"{self.name}.weight", self.outputs * colours)
        turn = b.constant(np.fliplr(np.eye(taps, dtype=np.uint8)), DType.U8)
        turned = product(b, kernels, turn, 1.0, DType.I16)
        return b.view(
            turned, colours, taps * self.outputs,
            sizes=(colours, taps, self.outputs), strides=(taps, 1, colours * taps),
        )  # fmt: skip

    def _note(self, tape: Tape, error: Signal) -> None:
        assert self._rows is not None
        b, rows = tape.builder, self._rows
        factor = tape.rate / (error.scale * rows.scale)
        found = product(b, transpose(b, error.ref), transpose(b, rows.ref), factor, DType.I32)
        columns, taps = found.spec.cols, self.kernel**2
        held = columns - self.bias
        colours = held // taps
        tape.gradients[f"{self.name}.weight"] = b.view(
            found, 1, self.outputs * held,
            sizes=(self.outputs, colours, taps), strides=(columns, 1, colours),
        )  # fmt: skip
        if self.bias:
            last = columns_of(b, found, columns - 1, 1)
            tape.gradients[f"{self.name}.bias"] = reshape(b, last, 1, self.outputs)


class AveragePool:
    """AvgPool2d whose windows touch: the mean of each."""

    def __init__(self, name: str, module: nn.AvgPool2d) -> None:
        size, stride = module.kernel_size, module.stride
        if not isinstance(size, int) or stride != size or module.padding or module.ceil_mode:
            raise ModelUnsupported(f"{name}: windows of a pool must touch and be square, unpadded")
        self.name, self.size = name, size

    def forward(self, tape: Tape, x: Signal, scale: float) -> Signal:
        """Return u8 in the scale of the input."""
        del scale
        b, size, colours = tape.builder, self.size, x.channels
        if x.height % size or x.width % size:
            raise ModelUnsupported(f"{self.name}: {x.height} × {x.width} is no multiple of {size}")
        height, width = x.height // size, x.width // size
        row = x.width * colours
        seen = b.view(
            x.ref, x.batch * height * width * colours, size * size,
            sizes=(x.batch * height, width, colours, size, size),
            strides=(size * row, size * colours, 1, row, colours),
        )  # fmt: skip
        mean = b.constant(
            scaling.requantisation(2.0**-16, 0, 2.0**24), DType.CHANNEL
        )  # MEAN's units
        y = b.mean(seen, mean, dtype=x.ref.spec.dtype, cols=colours)
        return replace(x, ref=y, height=height, width=width)

    def backward(self, tape: Tape, error: Signal, scale: float | None) -> Signal | None:
        """Return each error for all places of its window; the share is in the scale."""
        if scale is None:
            return None
        b, size, colours = tape.builder, self.size, error.channels
        row = error.width * colours
        y = b.view(
            error.ref, error.ref.spec.rows * size * size, colours,
            sizes=(error.batch * error.height, size, error.width, size, colours),
            strides=(row, 0, colours, 0, 1),
        )  # fmt: skip
        return Signal(y, error.scale * size * size, error.height * size, error.width * size)


class Flatten:
    """Images as rows of features, channels first, as torch lays them."""

    def __init__(self) -> None:
        self._image: Signal | None = None

    def forward(self, tape: Tape, x: Signal, scale: float) -> Signal:
        """Return one row for each image."""
        del scale
        self._image = x
        places, colours = x.height * x.width, x.channels
        y = tape.builder.view(
            x.ref, x.batch, colours * places,
            sizes=(x.batch, colours, places), strides=(places * colours, 1, colours),
        )  # fmt: skip
        return Signal(y, x.scale)

    def backward(self, tape: Tape, error: Signal, scale: float | None) -> Signal | None:
        """Return rows of features as images."""
        assert self._image is not None
        if scale is None:
            return None
        x = self._image
        places, colours = x.height * x.width, x.channels
        y = tape.builder.view(
            error.ref, x.batch * places, colours,
            sizes=(x.batch, places, colours), strides=(places * colours, 1, places),
        )  # fmt: skip
        return replace(x, ref=y, scale=error.scale)


def layers_of(model: nn.Module) -> list[tuple[str, Layer]]:
    """Return the layers of an `nn.Sequential` by name, in order; a ReLU is in the one before.

    Raises:
        ModelUnsupported: a layer that has no integer step, or in a place where it has none.
    """
    return list(_layers(model))


def _layers(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    if not isinstance(model, nn.Sequential):
        raise ModelUnsupported(
            f"{type(model).__name__} has no integer training step",
            hint="build it as torch.nn.Sequential of Linear, Conv2d, ReLU, AvgPool2d and Flatten",
        )
    named = list(model.named_children())
    for place, (name, module) in enumerate(named):
        after = named[place + 1][1] if place + 1 < len(named) else None
        match module:
            case nn.Linear() | nn.Conv2d():
                relu = isinstance(after, nn.ReLU)
                if not relu and (after is not None or isinstance(module, nn.Conv2d)):
                    raise ModelUnsupported(f"{name}: only the last Linear has no ReLU behind it")
                yield name, Affine(name, module, relu=relu)
            case nn.ReLU():
                if not place or not isinstance(named[place - 1][1], nn.Linear | nn.Conv2d):
                    raise ModelUnsupported(f"{name}: a ReLU stands behind a Linear or Conv2d")
            case nn.AvgPool2d():
                yield name, AveragePool(name, module)
            case nn.Flatten():
                yield name, Flatten()
            case _:
                raise ModelUnsupported(
                    f"{name}: {type(module).__name__} has no integer training step",
                    hint="there are steps for Linear, Conv2d, ReLU, AvgPool2d and Flatten",
                )
    if not named or not isinstance(named[-1][1], nn.Linear):
        raise ModelUnsupported("the last layer gives the classes' logits: it is a Linear")


def _square(name: str, module: nn.Conv2d) -> tuple[int, int, int]:
    """Return kernel, stride and padding."""
    sides = (module.kernel_size, module.stride, module.padding)
    plain = module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"
    if not plain or any(isinstance(side, str) or len(set(side)) > 1 for side in sides):
        raise ModelUnsupported(f"{name}: kernels of a step are square, of one group, undilated")
    kernel, stride, border = (int(side[0]) for side in sides)
    if border >= kernel:
        raise ModelUnsupported(
            f"{name}: a border of {border} is wider than the kernel of {kernel} allows"
        )
    return kernel, stride, border


def _positive(b: ProgramBuilder, x: Ref) -> Ref:
    """Return 1 where an activation behind a ReLU is above 0."""
    table = np.minimum(np.arange(256), 1).astype(np.uint8)[None]
    return b.lut(x, b.constant(table, DType.U8))
