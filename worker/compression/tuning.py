"""Tunes what a method left free, so that the answers are those of the original again.

The loss is the squared distance to the original's answers over their variance. Where labels are
known and answers are classes, the cross entropy is added. Every tensor moves in steps that are a
share of its own standard deviation, so one setting serves a table's model and a language model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from worker.compression.measure import Kind
from worker.compression.samples import Samples
from worker.runtimes.base import Array

BATCH = 32
_STEP = 0.02  # of a tensor's standard deviation
Answer = Callable[[Mapping[str, Array]], torch.Tensor]


def tune(
    parameters: Iterable[torch.Tensor],
    answer: Answer,
    samples: Samples,
    wanted: Array,
    *,
    kind: Kind,
    steps: int,
    several: bool = True,
) -> None:
    """Move parameters in place.

    Args:
        answer: the first output for inputs, differentiable in the parameters.
        samples: to tune with.
        wanted: what the original answers to them, [samples, numbers].
        several: whether a pass may have several rows.
    """
    leaves = [one for one in parameters if one.is_floating_point() and one.numel()]
    groups: Sequence[dict[str, object]] = [
        {"params": [one.requires_grad_(True)], "lr": _STEP * max(_deviation(one), 1e-4)}
        for one in leaves
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    dice = torch.Generator().manual_seed(0)
    target = torch.from_numpy(wanted).float()
    spread = target.var().clamp(min=1e-12)
    labels = None if samples.labels is None else torch.from_numpy(samples.labels).long()
    try:
        for _ in range(steps):
            rows = torch.randint(len(samples), (BATCH if several else 1,), generator=dice)
            given = answer(samples.part(rows.numpy()).inputs).reshape(len(rows), -1)
            loss = ((given - target[rows]) ** 2).mean() / spread
            if labels is not None and kind == "classes" and given.shape[1] > 1:
                loss = loss + torch.nn.functional.nll_loss(_log_shares(given), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    finally:
        for one in leaves:
            one.requires_grad_(False)


def _deviation(tensor: torch.Tensor) -> float:
    still = tensor.detach()
    return float(still.std() if still.numel() > 1 else still.abs().max())


def _log_shares(given: torch.Tensor) -> torch.Tensor:
    """Return log probabilities of answers that are logits, or probabilities already."""
    shares = (given >= 0).all() and torch.allclose(given.sum(1), torch.ones(len(given)), atol=1e-3)
    return torch.log(given.clamp(min=1e-9)) if shares else given.log_softmax(1)
