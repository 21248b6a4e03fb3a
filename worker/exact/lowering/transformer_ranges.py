"""What the layers of a float encoder read and write on calibration texts."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.exact.graph import Array, Sample
from worker.runtimes.architectures import MiniLm

BATCH = 16  # texts at once

Observed = Mapping[str, Array]


def observe(model: MiniLm, samples: Sequence[Sample]) -> Observed:
    """Run the float model; return what its layers read and write.

    Returns:
        float32 [tokens, columns] by "layers.0.query.in", "layers.0.query.out" …, without padding.
    """
    heard = copy.deepcopy(model).float()
    parts: dict[str, list[Array]] = {}
    keep = torch.empty(0, dtype=torch.bool)

    def listen(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            for end, value in (("in", given[0]), ("out", result)):
                parts.setdefault(f"{name}.{end}", []).append(value[keep].numpy())

        return hook

    for name, module in heard.named_modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.register_forward_hook(listen(name))
    ordered = sorted(samples, key=lambda sample: int(np.sum(sample["attention_mask"])))
    with torch.inference_mode():
        for at in range(0, len(ordered), BATCH):
            ids, mask = _stacked(ordered[at : at + BATCH])
            keep = mask.bool()
            heard(ids, mask)
    return {name: np.concatenate(part) for name, part in parts.items()}


def _stacked(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Return ids and mask of some texts, cut to the longest."""
    width = max(int(np.sum(sample["attention_mask"])) for sample in samples)
    stacked = np.zeros((2, len(samples), width), np.int64)
    for k, sample in enumerate(samples):
        for row, name in enumerate(("input_ids", "attention_mask")):
            values = np.asarray(sample[name]).ravel()[:width]
            stacked[row, k, : len(values)] = values
    return torch.from_numpy(stacked[0]), torch.from_numpy(stacked[1])
