"""The float twin of an integer step: the same steps in float64, and how far its values reach."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Ranges:
    """Greatest |value| of what each layer gives, and of the error before it (of one sample's loss).

    Attributes:
        activations: by layer; behind its ReLU, if it has one.
        errors: by layer.
    """

    activations: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    errors: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def train(model: nn.Sequential, batches: Iterator[tuple[Array, Array]], rate: float) -> Ranges:
    """Train in float64 with SGD and softmax cross entropy; the model is changed.

    Args:
        model: float64 parameters.
        batches: samples float64 [batch, …] in real units, and labels int [batch].
        rate: learning rate.
    """
    ranges = Ranges()
    for samples, labels in batches:
        given, gave = dict[str, Tensor](), dict[str, Tensor]()
        x, name = torch.from_numpy(samples).double(), ""
        for child, module in model.named_children():
            if not isinstance(module, nn.ReLU):  # which belongs to the layer before it
                name, given[child] = child, x.requires_grad_()
                if not x.is_leaf:
                    x.retain_grad()
            x = gave[name] = module(x)
        loss = nn.functional.cross_entropy(x, torch.from_numpy(labels).long(), reduction="sum")
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _note(ranges.activations, gave)
        _note(ranges.errors, {name: x.grad for name, x in given.items() if x.grad is not None})
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(rate / len(labels) * parameter.grad)
    return ranges


def _note(reaches: dict[str, float], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        reaches[name] = max(reaches[name], float(value.detach().abs().max()))
