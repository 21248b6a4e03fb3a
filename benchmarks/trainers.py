"""Trainers of digits, honest and not, in rounds: integer updates beside FedAvg in float64.

scikit-learn's digits are cut into rows for training, in equal parts at random (`iid`) or by
Dirichlet draws per class (`dirichlet`: some trainers hardly see some digits), and a test set that
no trainer sees. Bad trainers are the first ones. What they do:
```
 sign flip    −5 · the update that they would have sent
 scaling      10 · an update trained on flipped labels (9 − label)
 label flip   an update trained on flipped labels
 free rider   the zero update: it wants the reward without the work
 colluding    all send the mean − 1.5 deviations of their own honest updates (arXiv:1902.06156)
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # it ships no types
from torch import Tensor, nn

from oracle.protocol.shapes import TensorSpec
from worker.runtimes.architectures import Architecture
from worker.training import evaluation, examples, local, rules, states
from worker.training.examples import Examples
from worker.training.local import LocalJob
from worker.training.states import State

Attack = Literal["none", "sign flip", "scaling", "label flip", "free rider", "colluding"]
ATTACKS: tuple[Attack, ...] = ("sign flip", "scaling", "label flip", "colluding", "free rider")
Split = Literal["iid", "dirichlet"]
TRAINERS = 10
BAD = 3
ATTACKED_STEPS = 10  # of a round, where every rule meets every attack
ROUNDS = 20
TEST = 397  # rows; 1,400 are trained on
CONCENTRATION = 0.3
HIDDEN = 64  # units of the network
JOB = LocalJob(steps=20, learning_rate=0.3, batch=32, seed=0, scale_bits=16)
Updates = list[NDArray[np.int16]]


class Mlp(Architecture):
    """One hidden layer over 8 × 8 grey digits: 4,810 weights."""

    inputs = (TensorSpec("image", "F32", (None, 64)),)
    outputs = (TensorSpec("logits", "F32", (None, 10)),)

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, HIDDEN)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [n, 10]."""
        logits: Tensor = self.head(torch.relu(self.hidden(image)))
        return logits

    def answer(
        self, inputs: Mapping[str, Tensor], params: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Run the model; takes no parameters."""
        return {"logits": self(inputs["image"])}


@dataclass(frozen=True, eq=False)
class Federation:
    """Who trains on what.

    Attributes:
        parts: the rows of each trainer.
        bad: how many of them, the first ones, attack.
    """

    parts: tuple[Examples, ...]
    test: Examples
    attack: Attack
    bad: int
    job: LocalJob

    @property
    def weights(self) -> list[int]:
        """The rows that each trainer counts."""
        return [len(part) for part in self.parts]


def federation(
    split: Split,
    attack: Attack = "none",
    *,
    trainers: int = TRAINERS,
    bad: int = BAD,
    steps: int = JOB.steps,
) -> Federation:
    """Return trainers of digits, the first of them bad when there is an attack."""
    everything = _digits()
    known = len(everything) - TEST
    test = everything.rows(torch.arange(known, len(everything)))
    parts = tuple(
        everything.rows(torch.from_numpy(rows))
        for rows in _split(everything.labels[:known].numpy(), split, trainers)
    )
    job = dataclasses.replace(JOB, steps=steps)
    return Federation(parts, test, attack, bad if attack != "none" else 0, job)


def start() -> Mlp:
    """Return the model that all start from."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Mlp()


def updates_of(people: Federation, state: State, number: int) -> Updates:
    """Return the update of each trainer in round `number`."""
    return _attacked(people, [_trained(people, c, state, number) for c in range(len(people.parts))])


def accuracy_in_rounds(people: Federation, rule: rules.Name, rounds: int = ROUNDS) -> float:
    """Return the test accuracy after some rounds of integer updates under a rule."""
    state = states.of(start(), people.job.scale_bits)
    for number in range(rounds):
        updates = updates_of(people, state, number)
        state = aggregated(people, rule, state, updates)
    return evaluation.evaluate(start(), state, people.test, people.job.scale_bits).accuracy


def aggregated(
    people: Federation, rule: rules.Name, state: State, updates: Sequence[NDArray[np.int16]]
) -> State:
    """Return the state that follows; robust rules know how many may be bad, not who."""
    clip = people.job.clip
    chosen = rules.chosen(rule, updates, people.weights, clip=clip, suspected=BAD)
    return rules.next_state(chosen, state, updates)


def mean_of(people: Federation, members: Sequence[int], state: State, updates: Updates) -> State:
    """Return the state that the weighted mean of some trainers' updates leads to."""
    weights = [people.weights[member] for member in members]
    some = [updates[member] for member in members]
    return rules.next_state(rules.chosen("mean", some, weights, clip=people.job.clip), state, some)


def accuracy_in_floats(people: Federation, rounds: int = ROUNDS) -> float:
    """Return the test accuracy of FedAvg in float64: the same rows in the same order."""
    model = start().double()
    total = sum(people.weights)
    for number in range(rounds):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        mean = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
        for client, part in enumerate(people.parts):
            model.load_state_dict(before)
            _steps_in_floats(model, part, _job(people.job, client, number))
            for name, tensor in model.state_dict().items():
                mean[name] += tensor * (len(part) / total)
        model.load_state_dict(mean)
    with torch.inference_mode():
        found = model(people.test.inputs["image"].double()).argmax(1)
    return float((found == people.test.labels).double().mean())


def _steps_in_floats(model: Mlp, part: Examples, job: LocalJob) -> None:
    optimizer = torch.optim.SGD(model.parameters(), job.learning_rate)
    for rows in local.batches(len(part), job):
        batch = part.rows(rows)
        optimizer.zero_grad()
        scores = model(batch.inputs["image"].double())
        torch.nn.functional.cross_entropy(scores, batch.labels).backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        optimizer.step()


def _trained(people: Federation, client: int, state: State, number: int) -> NDArray[np.int16]:
    part = people.parts[client]
    if client < people.bad and people.attack in ("label flip", "scaling"):
        part = Examples(part.inputs, 9 - part.labels)
    return local.train(start(), state, part, _job(people.job, client, number)).values


def _attacked(people: Federation, updates: Updates) -> Updates:
    own = np.array(updates[: people.bad], np.float64)
    if people.attack == "sign flip":
        own = -5 * own
    elif people.attack == "scaling":
        own = 10 * own
    elif people.attack == "free rider":
        own = 0 * own
    elif people.attack == "colluding":
        own = np.broadcast_to(own.mean(0) - 1.5 * own.std(0), own.shape)
    clip = people.job.clip
    return [*np.clip(np.rint(own), -clip, clip).astype(np.int16), *updates[people.bad :]]


def _job(job: LocalJob, client: int, number: int) -> LocalJob:
    return dataclasses.replace(job, seed=1000 * number + client)


@cache
def _digits() -> Examples:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pictures = (images[order] / 16).astype(np.float32)
    return examples.of({"image": pictures, "labels": labels[order]}, start())


def _split(labels: NDArray[np.int64], split: Split, trainers: int) -> list[NDArray[np.int64]]:
    """Return the rows of each trainer."""
    if split == "iid":
        return np.array_split(np.arange(len(labels)), trainers)
    draw = np.random.default_rng(3)
    rows: list[list[NDArray[np.int64]]] = [[] for _ in range(trainers)]
    for label in range(10):
        of_label = np.flatnonzero(labels == label)
        shares = draw.dirichlet([CONCENTRATION] * trainers)
        cuts = (np.cumsum(shares)[:-1] * len(of_label)).astype(np.int64)
        for client, part in enumerate(np.split(of_label, cuts)):
            rows[client].append(part)
    return [np.concatenate(parts) for parts in rows]
