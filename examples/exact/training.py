"""Trains networks on handwritten digits in integers, and checks each step again.

    python -m examples.exact.training [NETWORK]

A job's data, seed and first state fix all of its states. `Digits` holds a network with its float64
twin, which is trained first: its ranges say which scales the integers need.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import nn

from oracle.training import exact_job
from oracle.types import Bytes32
from worker.exact.training import run, twin
from worker.exact.training.run import BatchedData, ExactTraining
from worker.exact.training.step import StepTerms, build

Array = np.ndarray[Any, np.dtype[Any]]
BATCH, RATE, STEPS = 64, 0.5, 220
INTEGERS = 16  # grey values in 1.0
KNOWN = 1408  # images that are trained on: 22 batches
SEED = Bytes32(b"\x05" * 32)
NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], list[nn.Module]]]] = {
    "regression": ((64,), lambda: [nn.Linear(64, 10)]),
    "perceptron": ((64,), lambda: [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]),
    "convolutions": (
        (1, 8, 8),
        lambda: [
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10),
        ],
    ),
}  # fmt: skip


class Digits:
    """A network with its trained twin, its integer step, and the first state."""

    def __init__(self, name: str) -> None:
        self._shape, self._layers = NETWORKS[name]
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(images))
        images, labels = images[order].astype(np.uint8), labels[order]
        self._test = images[KNOWN:], labels[KNOWN:]
        self.data = BatchedData.of(images[:KNOWN], labels[:KNOWN], BATCH)
        self.twin = self.model()
        order = run.batches(self.data, SEED, STEPS)
        ranges = twin.train(self.twin, ((self._real(x), y) for x, y in order), RATE)
        self.step = build(self.model(), StepTerms(BATCH, RATE, self._shape, INTEGERS), ranges)
        self.state = self.step.encode(self.model().state_dict())

    def model(self) -> nn.Sequential:
        """Return the network with its first weights, float64."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(*self._layers()).double()

    def training(self, steps: int = STEPS) -> ExactTraining:
        """Return a job of so many steps."""
        job = run.plan(self.step, self.data, self.state, seed=SEED, steps=steps)
        return ExactTraining(job, self.step, self.data, self.state)

    def accuracy(self, state: Array | None = None) -> float:
        """Return the share of 389 images that a state reads right; None: the twin."""
        model = self.twin
        if state is not None:
            model = self.model()
            model.load_state_dict(self.step.decode(state))
        images, labels = self._test
        with torch.inference_mode():
            found = model(torch.from_numpy(self._real(images))).argmax(1).numpy()
        return float((found == labels).mean())

    def _real(self, images: Array) -> Array:
        real: Array = images.reshape(-1, *self._shape) / INTEGERS
        return real


def main(names: list[str]) -> None:
    """Train each network, verify its history, and say what was reached."""
    for name in names or NETWORKS:
        digits = Digits(name)
        training = digits.training()
        traces = list(training.run())
        print(
            f"{name}: {digits.accuracy(traces[-1].output):.3f} of digits right after {STEPS} "
            f"integer steps, {digits.accuracy():.3f} in float64"
        )
        records = run.records(traces)
        wrong = training.verify(records)
        print(f"  history 0x{exact_job.history_root(records).hex()}")
        print(f"  done again: {'equal' if wrong is None else f'step {wrong.number} is wrong'}")


if __name__ == "__main__":
    main(sys.argv[1:])
