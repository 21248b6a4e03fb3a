"""A job of `tallystick train` in exact steps: its rows become integers, its module one program."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from oracle.errors import InputInvalid
from oracle.types import Bytes32
from worker.errors import ModelUnsupported
from worker.exact.training import run, twin
from worker.exact.training.run import BatchedData, ExactTraining
from worker.exact.training.step import StepTerms, build
from worker.training.distributed import data, job, model
from worker.training.distributed.job import TrainingJob

Array = np.ndarray[Any, np.dtype[Any]]
_MOST = 255  # of a sample's integers


@dataclass(frozen=True)
class HeldOut:
    """Rows that a job does not train on."""

    samples: Array
    labels: Array

    def accuracy(self, net: nn.Module) -> float | None:
        """Return the share that a module classifies right; None where there are no rows."""
        if not len(self.labels):
            return None
        with torch.inference_mode():
            found = net(torch.from_numpy(self.samples)).argmax(1).numpy()
        return float((found == self.labels).mean())


@dataclass(frozen=True)
class PreparedJob:
    """A job that can begin, and its float64 twin, which has ended."""

    training: ExactTraining
    twin: nn.Sequential
    held_out: HeldOut


def prepare(path: Path, *, trusted: bool) -> PreparedJob:
    """Read a job, train its twin, and compile a step.

    Raises:
        InputInvalid, NotFound: the job or its data do not fit.
        ModelUnsupported: the module, optimizer or loss has no integer step.
        ConfigInvalid: the job names a builder that is not trusted.
    """
    told = job.read(path)
    _require_plain(told)
    model.trust(told.model, trusted)
    rows = data.open_rows([path.parent / one for one in told.data], [*told.inputs, told.target])
    begin, end = told.rows or (0, len(rows))
    found = rows.read(np.arange(begin, min(end, len(rows))))
    samples, labels = found[told.inputs[0]], found[told.target]
    scale = _scale(samples)
    net = model.build(told, path.parent)
    if not isinstance(net, nn.Sequential):
        raise ModelUnsupported(
            f"{type(net).__name__} has no integer training step",
            hint="name a builder that returns a torch.nn.Sequential",
        )
    shape = samples.shape[1:]
    integers = np.rint(samples * scale).astype(np.int64).reshape(len(samples), -1)
    batched = BatchedData.of(integers, labels, told.batch)
    terms = StepTerms(told.batch, told.optimizer.learning_rate, shape, scale)
    seed = Bytes32(told.seed.to_bytes(32))
    floats = copy.deepcopy(net).double()
    order = run.batches(batched, seed, told.steps)
    ranges = twin.train(
        floats, ((one.reshape(-1, *shape) / scale, classes) for one, classes in order), terms.rate
    )
    step = build(net, terms, ranges)
    state = step.encode(net.state_dict())
    plan = run.plan(step, batched, state, seed=seed, steps=told.steps)
    kept = rows.read(np.arange(*(told.held_out or (0, 0))))
    return PreparedJob(
        ExactTraining(plan, step, batched, state),
        floats,
        HeldOut(
            np.rint(kept[told.inputs[0]] * float(scale)).astype(np.float64) / scale,
            kept[told.target],
        ),
    )


def _require_plain(told: TrainingJob) -> None:
    optimizer = told.optimizer
    if optimizer.name != "sgd" or optimizer.momentum or optimizer.weight_decay:
        raise ModelUnsupported("an integer step is plain SGD: no momentum, no weight decay")
    if told.loss != "cross_entropy" or len(told.inputs) != 1:
        raise ModelUnsupported("an integer step has one input, and the cross entropy of classes")


def _scale(samples: Array) -> int:
    """Return how many integers make 1.0, so that the greatest value has eight bits."""
    if not (samples.size and samples.min() >= 0 and samples.max() <= _MOST):  # NaN is neither
        raise InputInvalid(
            f"samples of integer steps are 0 … {_MOST}, and no NaN",
            hint="shift and divide each column, so that it begins at 0 and ends at 1",
        )
    return int(_MOST // max(float(samples.max()), 1.0))
