"""What a state is worth on held-out rows, and what each update of a round adds to it: in integers.

Losses are whole numbers, so that values of updates add up without rounding:
```
 loss(θ)  = round(2^20 · mean cross-entropy in nats), at most 2^40
 v(S)     = loss(θ) − loss(θ with the weighted mean of the updates S)       v(∅) = 0
 leave-one-out of i    v(N) − v(N \\ {i})
 Shapley of i          Σ over orders of N of [v(before i, and i) − v(before i)] / number of orders
```
Values are numerators over one denominator; Shapley's add up to v(N) exactly. Equal on one machine
with one number of threads; another machine may round the last bit of a loss otherwise.
Source: Shapley 1953; sampled orders: Castro et al. 2009, doi:10.1016/j.cor.2008.04.004.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from oracle.errors import ConfigInvalid
from oracle.merkle import keccak
from worker.runtimes.architectures import Architecture
from worker.runtimes.tensors import running
from worker.training import states
from worker.training.examples import Examples
from worker.training.local import scores
from worker.training.states import State

LOSS_BITS = 20
MOST_LOSS = 1 << 40  # also of what is not finite
MOST_EXACT = 10  # updates of which all subsets are tried: 1,024 evaluations
BATCH = 1_024  # rows at once
Value = Callable[[frozenset[int]], int]  # v(S), of clients by number


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A state on held-out rows.

    Attributes:
        loss: mean cross-entropy in units of 2^-20 nats.
        right: rows whose class has the highest score; the lowest class of equal ones.
    """

    loss: int
    right: int
    rows: int

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return self.right / self.rows


@dataclass(frozen=True, slots=True)
class Values:
    """What each update is worth: numerators[i] / denominator, in units of 2^-20 nats."""

    numerators: tuple[int, ...]
    denominator: int
    evaluations: int  # states that were tried


def evaluate(
    model: Architecture, state: State, data: Examples, scale_bits: int, *, device: str = "cpu"
) -> Evaluation:
    """Return loss and accuracy of a state; the model ends with its weights.

    Raises:
        StateUnfit, ModelUnsupported, TrainingDataInvalid: see `states.fill` and `local.scores`.
    """
    states.fill(model, state, scale_bits, device)
    model.eval()
    total, right = 0.0, 0
    with running("evaluation"):
        for part in data.parts(BATCH):
            found = scores(model, part, device).double().cpu()
            total += float(torch.nn.functional.cross_entropy(found, part.labels, reduction="sum"))
            right += int((found.argmax(1) == part.labels).sum())
    mean = math.ldexp(total / len(data), LOSS_BITS)
    loss = min(round(mean), MOST_LOSS) if math.isfinite(mean) else MOST_LOSS
    return Evaluation(loss, right, len(data))


def value_of(
    loss: Callable[[State], int], state: State, aggregate: Callable[[Sequence[int]], State]
) -> Value:
    """Return v, which remembers what it has tried.

    Args:
        loss: of a state, in whole units.
        aggregate: gives the state that the updates of some clients (in order) lead to.
    """
    base = loss(state)

    @functools.cache
    def value(members: frozenset[int]) -> int:
        return base - loss(aggregate(sorted(members))) if members else 0

    return value


def leave_one_out(value: Value, clients: int) -> Values:
    """Return what each update adds to all the others; the denominator is 1."""
    everyone = frozenset(range(clients))
    whole = value(everyone)
    found = tuple(whole - value(everyone - {client}) for client in range(clients))
    return Values(found, 1, clients + 1)


def shapley(value: Value, clients: int) -> Values:
    """Return exact Shapley values from all 2^clients subsets; the denominator is clients!.

    Raises:
        ConfigInvalid: more clients than `MOST_EXACT`.
    """
    if clients > MOST_EXACT:
        raise ConfigInvalid(
            f"{clients} updates have 2^{clients} subsets; {MOST_EXACT} is the most",
            hint="draw orders instead",
        )
    found = [0] * clients
    for bits in range(1 << clients):
        members = frozenset(client for client in range(clients) if bits >> client & 1)
        before = math.factorial(len(members)) * math.factorial(max(clients - len(members) - 1, 0))
        for client in set(range(clients)) - members:
            found[client] += before * (value(members | {client}) - value(members))
    return Values(tuple(found), math.factorial(clients), 1 << clients)


def sampled_shapley(value: Value, clients: int, orders: int, seed: bytes) -> Values:
    """Return Shapley values over drawn orders and their reverses; the denominator is their number.

    Args:
        orders: that are drawn; each is also walked backwards.
        seed: of the draw; anybody draws the same orders from it (`drawn_order`).
    """
    found = [0] * clients
    tried = {frozenset[int]()}
    for number in range(orders):
        order = drawn_order(seed, number, clients)
        for walk in (order, order[::-1]):
            members, before = frozenset[int](), 0
            for client in walk:
                members |= {client}
                after = value(members)
                found[client] += after - before
                before = after
                tried.add(members)
    return Values(tuple(found), 2 * orders, len(tried))


def drawn_order(seed: bytes, number: int, clients: int) -> list[int]:
    """Return order `number`: Fisher and Yates, by keccak256(seed ‖ u64 number ‖ u64 place)."""
    order = list(range(clients))
    for place in range(clients - 1, 0, -1):
        drawn = int.from_bytes(keccak(seed + number.to_bytes(8) + place.to_bytes(8)))
        other = drawn % (place + 1)  # the bias is below 2^-200
        order[place], order[other] = order[other], order[place]
    return order
