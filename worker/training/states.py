"""A torch module's weights as the integers of a round's state, and back.

A state is i32, one coordinate for each weight: real value = θ · 2^-scale_bits. Tensors stand in the
order of their names (`oracle.training.vectors`). What the module counts in floats but does not
train (running means) is part of the state, as it is of the file.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.errors import ModelUnsupported
from worker.training.errors import StateUnfit, TrainingDiverged

State = NDArray[np.int32]
LEAST, MOST = -(2**31), 2**31 - 1


def named(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the tensors of a state with their names, in its order.

    Raises:
        ModelUnsupported: one of them is not floating: it has no sensible mean.
    """
    tensors = sorted(model.state_dict().items())
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            raise ModelUnsupported(f"tensor {name} is {tensor.dtype}: rounds average floats alone")
    return tensors


def size(model: nn.Module) -> int:
    """Return P, the coordinates of a model's state."""
    return sum(tensor.numel() for _, tensor in named(model))


def of(model: nn.Module, scale_bits: int) -> State:
    """Return a model's weights as a state, each rounded to the nearest step.

    Raises:
        TrainingDiverged: a weight is NaN or infinite.
        StateUnfit: a weight is too large for 32 bits.
        ModelUnsupported: see `named`.
    """
    state = np.empty(size(model), np.int32)
    for name, tensor, part in _parts(model):
        values = np.rint(np.ldexp(tensor.detach().cpu().double().numpy().ravel(), scale_bits))
        if not np.isfinite(values).all():
            raise TrainingDiverged(name, 0)
        if values.size and not LEAST <= values.min() <= values.max() <= MOST:
            raise StateUnfit(
                f"tensor {name} has a weight of {np.ldexp(np.abs(values).max(), -scale_bits):g}: "
                f"with {scale_bits} bits of scale, {np.ldexp(1.0, 31 - scale_bits):g} is the limit",
                hint="open the round with fewer bits of scale",
            )
        state[part] = values
    return state


def fill(model: nn.Module, state: State, scale_bits: int, device: str = "cpu") -> None:
    """Give a model (also one on torch's meta device) the weights of a state.

    Raises:
        StateUnfit: another number of coordinates, or not i32.
        ModelUnsupported: see `named`.
    """
    if state.dtype != np.int32 or state.shape != (size(model),):
        raise StateUnfit(
            f"a state of {state.shape} {state.dtype} for a model of {size(model)} weights",
            hint="the state must be of the version that the round starts from",
        )
    model.load_state_dict(
        {
            name: torch.from_numpy(np.ldexp(state[part].astype(np.float64), -scale_bits))
            .reshape(tensor.shape)
            .to(device, tensor.dtype)
            for name, tensor, part in _parts(model)
        },
        strict=True,
        assign=True,
    )


def _parts(model: nn.Module) -> Iterator[tuple[str, Tensor, slice]]:
    at = 0
    for name, tensor in named(model):
        yield name, tensor, slice(at, at + tensor.numel())
        at += tensor.numel()
