"""The small model and the few rows that tests of training share."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from worker.runtimes.architectures import DigitsCnn
from worker.training import examples, states
from worker.training.examples import Examples
from worker.training.local import LocalJob
from worker.training.states import State

SCALE_BITS = 16
JOB = LocalJob(steps=6, learning_rate=0.1, batch=16, seed=7, scale_bits=SCALE_BITS)


def model(width: int = 4, seed: int = 1) -> DigitsCnn:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DigitsCnn({"width": width})


def base(width: int = 4) -> State:
    return states.of(model(width), SCALE_BITS)


def rows(first: int, count: int) -> Examples:
    images, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(labels))[first : first + count]
    arrays = {
        "image": (images[chosen] / 16).astype(np.float32).reshape(-1, 1, 8, 8),
        "labels": labels[chosen],
    }
    return examples.of(arrays, model())
