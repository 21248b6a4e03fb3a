"""Models that people bring, on real data: sequences, recommenders. Trained in seconds, seeds fixed.

Rows of a digit's image are a sequence of eight; a patient's measurements in bins are fields of ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn

from worker.exact import floats

Array = np.ndarray[Any, np.dtype[Any]]
BATCH = 64
FIELDS, BINS = 10, 8


class Recurrent(nn.Module):
    """A recurrent layer over a sequence, and a linear layer over its last state."""

    def __init__(self, kind: str, width: int = 32) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(8, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits [n, 10] of sequences [n, steps, 8]."""
        sequence, _ = self.layer(rows)
        return self.head(sequence[:, -1])  # type: ignore[no-any-return]


class DeepFm(nn.Module):
    """Factorisation machine beside a network, a table for each field (arXiv:1703.04247)."""

    def __init__(self, fields: Sequence[int] = (BINS,) * FIELDS, width: int = 4) -> None:
        super().__init__()
        self.weights = nn.ModuleList(nn.Embedding(count, 1) for count in fields)
        self.factors = nn.ModuleList(nn.Embedding(count, width) for count in fields)
        self.deep = nn.Sequential(nn.Linear(width * len(fields), 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits [n, 1] of ids [n, fields]."""
        first = torch.cat([table(ids[:, at]) for at, table in enumerate(self.weights)], 1)
        factors = torch.stack([table(ids[:, at]) for at, table in enumerate(self.factors)], 1)
        crossed = (factors.sum(1) ** 2 - (factors**2).sum(1)).sum(1, keepdim=True) / 2
        return first.sum(1, keepdim=True) + crossed + self.deep(factors.flatten(1))  # type: ignore[no-any-return]


class DeepFmOfOneTable(nn.Module):
    """The same with one table for all fields, and an offset for each."""

    def __init__(self, fields: Sequence[int] = (BINS,) * FIELDS, width: int = 4) -> None:
        super().__init__()
        self.weights = nn.Embedding(sum(fields), 1)
        self.factors = nn.Embedding(sum(fields), width)
        self.register_buffer("offsets", torch.tensor([0, *np.cumsum(fields)[:-1]]))
        self.deep = nn.Sequential(
            nn.Linear(width * len(fields), 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits [n, 1] of ids [n, fields]."""
        ids = ids + self.get_buffer("offsets")
        factors = self.factors(ids)
        crossed = (factors.sum(1) ** 2 - (factors**2).sum(1)).sum(1, keepdim=True) / 2
        return self.weights(ids).sum(1) + crossed + self.deep(factors.flatten(1))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs [n, ...] of a model with their labels; every fifth row is for testing."""

    name: str
    inputs: Array
    labels: Array

    def rows(self, *, test: bool) -> "Data":
        """Return one part of the rows."""
        chosen = (np.arange(len(self.labels)) % 5 == 0) == test
        return Data(self.name, self.inputs[chosen], self.labels[chosen])

    def samples(self, count: int | None = None) -> list[dict[str, Array]]:
        """Return single rows, by the name of the model's input."""
        return [{self.name: row[None]} for row in self.inputs[:count]]


def sequences() -> Data:
    """Return the rows of handwritten digits, [n, 8, 8] in 0 … 1."""
    digits = load_digits()
    return Data("rows", (digits.images / 16).astype(np.float32), digits.target)


def fields() -> Data:
    """Return measurements of tumours in bins of equal counts, ids [n, 10] below 8."""
    data = load_breast_cancer()
    values = data.data[:, :FIELDS]
    edges = np.quantile(values, np.arange(1, BINS) / BINS, axis=0)
    ids = np.stack([np.searchsorted(edges[:, at], values[:, at]) for at in range(FIELDS)], 1)
    return Data("ids", ids.astype(np.int64), data.target)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model, its data, and how long it is trained."""

    make: Callable[[], nn.Module]
    data: Callable[[], Data]
    epochs: int
    rate: float = 1e-2


RECIPES: Mapping[str, Recipe] = {
    "RNN": Recipe(lambda: Recurrent("RNN"), sequences, 12, 4e-3),
    "LSTM": Recipe(lambda: Recurrent("LSTM"), sequences, 8),
    "GRU": Recipe(lambda: Recurrent("GRU"), sequences, 8),
    "DeepFM": Recipe(DeepFm, fields, 12),
    "DeepFM, one table": Recipe(DeepFmOfOneTable, fields, 12),
}


def train(recipe: Recipe, data: Data) -> nn.Module:
    """Return the model trained on one thread, in eval mode."""
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    with torch.random.fork_rng(), floats.one_thread():
        torch.manual_seed(0)
        model = recipe.make().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=1e-3)
        for _ in range(recipe.epochs):
            for index in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
                loss = _loss(model(inputs[index]), labels[index])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return model.eval()


def _loss(answers: Tensor, labels: Tensor) -> Tensor:
    if answers.shape[1] > 1:
        return nn.functional.cross_entropy(answers, labels)
    return nn.functional.binary_cross_entropy_with_logits(answers[:, 0], labels.float())


def right(answers: Array, labels: Array) -> float:
    """Return the share of rows, or pixels, whose greatest logit, or one logit's sign, is right."""
    said = answers.argmax(1) if answers.shape[1] > 1 else answers[:, 0] > 0
    return float((said == labels).mean())
