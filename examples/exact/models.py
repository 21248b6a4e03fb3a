"""Small float models on scikit-learn's digits, trained in seconds on one thread, seeds fixed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs
from torch import Tensor, nn

from worker.exact import floats
from worker.runtimes.architectures import DigitsCnn

BATCH = 64
TEST_SHARE = 5  # every fifth image is for testing
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Split:
    """Images float32 [n, ...] in 0 … 1 with their labels."""

    images: Array
    labels: Array

    def samples(self, count: int | None = None) -> list[dict[str, Array]]:
        """Return single images, by the name of the models' input."""
        return [{"image": image[None]} for image in self.images[:count]]


def digits(*shape: int) -> tuple[Split, Split]:
    """Return training and test images of a shape: (64,) or (1, 8, 8)."""
    data = load_digits()
    images = (data.data.reshape(-1, *shape) / 16).astype(np.float32)
    test = np.arange(len(images)) % TEST_SHARE == 0
    return Split(images[~test], data.target[~test]), Split(images[test], data.target[test])


class SoftmaxRegression(nn.Module):
    """The classic: ten linear scores; the softmax changes no order and is left to the reader."""

    shape = (64,)

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 64]."""
        return self.scores(image)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two hidden layers: a ReLU, which costs nothing, and a GELU, which is a table."""

    shape = (64,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 64]."""
        hidden = nn.functional.gelu(self.second(torch.relu(self.first(image))))
        return self.head(hidden)  # type: ignore[no-any-return]


class Cnn(DigitsCnn):
    """The network of examples/digits."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__({"width": 16})


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class ResidualCnn(nn.Module):
    """Convolutions with BatchNorm and two skips, after arXiv:1512.03385."""

    shape = (1, 8, 8)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(_Block(width), nn.MaxPool2d(2), _Block(width))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10] of images [n, 1, 8, 8]."""
        return self.head(self.pool(self.blocks(self.stem(image))).flatten(1))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model and how long it is trained."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    epochs: int
    rate: float = 5e-3


RECIPES: Mapping[str, Recipe] = {
    "softmax regression": Recipe(SoftmaxRegression, (64,), 30, 2e-2),
    "MLP": Recipe(Mlp, (64,), 20),
    "CNN": Recipe(Cnn, (1, 8, 8), 8),
    "residual CNN": Recipe(ResidualCnn, (1, 8, 8), 6),
}


def train(recipe: Recipe, data: Split) -> nn.Module:
    """Return the trained model, in eval mode."""
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    with torch.random.fork_rng(), floats.one_thread():
        torch.manual_seed(0)
        model = recipe.make()
        steps = recipe.epochs * -(-len(labels) // BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * recipe.rate, steps)
        for _ in range(recipe.epochs):
            for index in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
                loss = nn.functional.cross_entropy(model(images[index]), labels[index])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return model.eval()
