"""What a participant computes in a round: some local steps of SGD, and their delta in integers.

```
 state θ (i32) ─▶ weights ─▶ H steps on the participant's own rows ─▶ weights'
 update u = clip(round((weights' − weights) · 2^scale_bits) + what the last round left over)
```
Source: FedAvg (McMahan et al. 2017, arXiv:1602.05629), DiLoCo's H steps between exchanges
(arXiv:2311.08105), error feedback (Karimireddy et al. 2019, arXiv:1901.09847).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oracle.errors import ConfigInvalid
from oracle.protocol.canonical import sha256
from oracle.types import Bytes32
from worker.errors import ModelUnsupported
from worker.runtimes.architectures import Architecture
from worker.training import states
from worker.training.errors import StateUnfit, TrainingDataInvalid, TrainingDiverged
from worker.training.examples import Examples
from worker.training.states import State

MOST_CLIP = 2**15 - 1  # an update's coordinates fit 16 bits
Progress = Callable[[int, int, float], None]  # (steps done, all steps, loss of the last)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """What a round asks of a participant.

    Attributes:
        steps: H, of SGD.
        batch: rows of one step; a participant with fewer takes all its rows.
        seed: of the order of rows, and of what the model itself draws (dropout).
        scale_bits: a coordinate of 1 stands for 2^-scale_bits.
        clip: what |u| does not exceed.
    """

    steps: int
    learning_rate: float
    batch: int
    seed: int
    scale_bits: int
    clip: int = MOST_CLIP

    def __post_init__(self) -> None:
        """Raise ConfigInvalid unless every value is possible."""
        for name, least, most in (
            ("steps", 1, 2**31),
            ("batch", 1, 2**31),
            ("seed", 0, 2**63 - 1),
            ("scale_bits", 0, 30),
            ("clip", 1, MOST_CLIP),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigInvalid(f"{name} {getattr(self, name)} is not {least} … {most}")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigInvalid(f"learning_rate {self.learning_rate} is not above zero and finite")


@dataclass(frozen=True, eq=False)
class LocalUpdate:
    """What local training gave.

    Attributes:
        values: i16, P: the update that is committed to.
        left_over: f32, P: what rounding and the clip took; added in the next round, never shown.
        clipped: coordinates that the clip cut.
        losses: of each step, before it.
    """

    values: NDArray[np.int16]
    left_over: NDArray[np.float32]
    clipped: int
    losses: tuple[float, ...]

    @property
    def digest(self) -> Bytes32:
        """SHA-256 of the values, little-endian: equal for equal jobs on one machine."""
        return sha256(self.values.astype("<i2").tobytes())


def silent(done: int, steps: int, loss: float) -> None:
    """Report to nobody."""


def train(
    model: Architecture,
    state: State,
    data: Examples,
    job: LocalJob,
    *,
    left_over: NDArray[np.float32] | None = None,
    device: str = "cpu",
    report: Progress = silent,
) -> LocalUpdate:
    """Train a model from a state on a participant's data; return the update.

    One machine with one number of threads gives equal bytes (`worker.device.configure`).

    Args:
        model: of any weights, also without (`architectures.build`); it ends with the trained ones.
        state: i32, P: of the round's base version.
        left_over: f32, P: of the participant's last update (error feedback); None = without.

    Raises:
        TrainingDiverged: the loss, a gradient or a weight is NaN or infinite.
        StateUnfit, ModelUnsupported: see `states.fill`; the model gives no scores of classes.
        TrainingDataInvalid: a label is no class of the model.
    """
    states.fill(model, state, job.scale_bits, device)
    start = {name: tensor.clone() for name, tensor in states.named(model)}
    model.train()
    losses = []
    forked = [torch.device(device)] if device.startswith("cuda") else []
    with torch.enable_grad(), torch.random.fork_rng(devices=forked):
        torch.manual_seed(job.seed)
        optimizer = torch.optim.SGD(model.parameters(), job.learning_rate)
        for step, rows in enumerate(batches(len(data), job)):
            optimizer.zero_grad(set_to_none=True)
            batch = data.rows(rows)
            loss = torch.nn.functional.cross_entropy(
                scores(model, batch, device), batch.labels.to(device)
            )
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            losses.append(float(loss.detach()))
            _require_finite(model, losses[-1], step)
            optimizer.step()
            report(step + 1, job.steps, losses[-1])
    model.eval()
    return _quantised(_delta(model, start, job), job, left_over, tuple(losses))


def scores(model: Architecture, data: Examples, device: str = "cpu") -> Tensor:
    """Return a model's scores of classes: float, rows × classes.

    Raises:
        ModelUnsupported: its only output is no such table.
        TrainingDataInvalid: a label is no class.
    """
    outputs = model.answer({name: value.to(device) for name, value in data.inputs.items()}, {})
    found = outputs[model.outputs[0].name]
    if len(outputs) != 1 or found.ndim != 2 or len(found) != len(data):
        raise ModelUnsupported("rounds train classifiers: one output, scores [n, classes]")
    if (highest := int(data.labels.max())) >= found.shape[1]:
        raise TrainingDataInvalid(f"label {highest} for a model of {found.shape[1]} classes")
    return found


def batches(rows: int, job: LocalJob) -> Iterator[Tensor]:
    """Yield row numbers of each step: each row once before any comes again, the rest dropped."""
    draw = torch.Generator().manual_seed(job.seed)
    size = min(job.batch, rows)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(job.steps):
        if len(order) < size:
            order = torch.randperm(rows, generator=draw)
        yield order[:size]
        order = order[size:]


def _require_finite(model: Architecture, loss: float, step: int) -> None:
    """Raise TrainingDiverged for the first gradient, or else loss, that is not finite."""
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    total = sum(gradient.sum() for gradient in gradients.values())  # one pass, one wait
    if math.isfinite(loss) and math.isfinite(total):
        return
    for name, gradient in sorted(gradients.items()):
        if not bool(torch.isfinite(gradient).all()):
            raise TrainingDiverged(name, step)
    if not math.isfinite(loss):
        raise TrainingDiverged("loss", step)


def _delta(model: Architecture, start: dict[str, Tensor], job: LocalJob) -> NDArray[np.float64]:
    """Return what training changed, in steps of the round's scale: f64, P."""
    parts = []
    for name, tensor in states.named(model):
        change = (tensor.detach().double() - start[name].double()).cpu().numpy().ravel()
        if not np.isfinite(change).all():
            raise TrainingDiverged(name, job.steps - 1)
        parts.append(np.ldexp(change, job.scale_bits))
    return np.concatenate(parts)


def _quantised(
    delta: NDArray[np.float64],
    job: LocalJob,
    left_over: NDArray[np.float32] | None,
    losses: tuple[float, ...],
) -> LocalUpdate:
    if left_over is not None:
        if left_over.shape != delta.shape:
            raise StateUnfit(f"left over are {left_over.shape} for {delta.size} weights")
        delta = delta + left_over
    rounded = np.rint(delta)
    values = np.clip(rounded, -job.clip, job.clip)
    return LocalUpdate(
        values.astype(np.int16),
        (delta - values).astype(np.float32),
        int(np.count_nonzero(rounded != values)),
        losses,
    )
