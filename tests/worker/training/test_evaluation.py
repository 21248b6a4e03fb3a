"""Loss, accuracy and values of updates: whole numbers that add up."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from oracle.errors import ConfigInvalid
from tests.worker.training.digits import SCALE_BITS, base, model, rows
from worker.training import evaluation
from worker.training.evaluation import MOST_LOSS
from worker.training.states import State


def value_in(game: dict[frozenset[int], int]) -> evaluation.Value:
    return lambda members: game[members]


def random_game(clients: int, seed: int) -> dict[frozenset[int], int]:
    draw = np.random.default_rng(seed)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(clients), size) for size in range(clients + 1)
    )
    return {frozenset(s): int(draw.integers(-1000, 1000)) if s else 0 for s in subsets}


def by_definition(game: dict[frozenset[int], int], clients: int) -> list[Fraction]:
    orders = list(itertools.permutations(range(clients)))
    found = [Fraction(0)] * clients
    for order in orders:
        for place, client in enumerate(order):
            before = frozenset(order[:place])
            found[client] += Fraction(game[before | {client}] - game[before], len(orders))
    return found


def test_shapley__too_many_updates__is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="11 updates"):
        evaluation.shapley(len, 11)


@pytest.mark.parametrize("clients", [1, 2, 4, 5])
def test_shapley__any_game__is_the_mean_over_all_orders(clients: int) -> None:
    game = random_game(clients, clients)

    found = evaluation.shapley(value_in(game), clients)

    assert [Fraction(n, found.denominator) for n in found.numerators] == by_definition(
        game, clients
    )
    assert sum(found.numerators) == found.denominator * game[frozenset(range(clients))]


def test_sampled_shapley__drawn_orders__add_up_and_come_near() -> None:
    game = random_game(5, 9)

    found = evaluation.sampled_shapley(value_in(game), 5, orders=400, seed=b"round 7")
    again = evaluation.sampled_shapley(value_in(game), 5, orders=400, seed=b"round 7")

    assert found == again
    assert sum(found.numerators) == found.denominator * game[frozenset(range(5))]
    exact = by_definition(game, 5)
    errors = [
        abs(n / found.denominator - float(e)) for n, e in zip(found.numerators, exact, strict=True)
    ]
    assert max(errors) < 120  # values of ±1,000; the seed is fixed


def test_drawn_order__numbers__are_permutations_that_differ() -> None:
    orders = [evaluation.drawn_order(b"seed", number, 6) for number in range(50)]

    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 40


def test_evaluate__state__counts_right_rows_and_rounds_the_loss() -> None:
    network, held_out = model(), rows(100, 64)

    found = evaluation.evaluate(network, base(), held_out, SCALE_BITS)

    logits = network.forward(held_out.inputs["image"]).double().detach().numpy()
    spread = np.log(np.exp(logits).sum(1)) - logits[np.arange(64), held_out.labels.numpy()]
    assert abs(found.loss - spread.mean() * 2**20) <= 0.51
    assert found.right == int((logits.argmax(1) == held_out.labels.numpy()).sum())
    assert (found.rows, found.accuracy) == (64, found.right / 64)
    assert found == evaluation.evaluate(model(), base(), held_out, SCALE_BITS)


def test_evaluate__loss_that_is_huge__is_held_at_the_limit() -> None:
    draw = np.random.default_rng(0)
    state = draw.integers(-(2**31), 2**31, base().size).astype(np.int32)

    assert evaluation.evaluate(model(), state, rows(0, 9), scale_bits=0).loss == MOST_LOSS


def test_leave_one_out__updates_that_help_or_harm__have_their_sign() -> None:
    goal = np.array([10, 10, 10], np.int32)
    updates = np.array([[8, 0, 0], [0, 8, 0], [0, 0, -8], [0, 0, 0]], np.int32)

    def loss(state: State) -> int:
        return int(((goal - state) ** 2).sum())

    def aggregate(members: Sequence[int]) -> State:
        return np.asarray(updates[list(members)].sum(0), np.int32)

    value = evaluation.value_of(loss, np.zeros(3, np.int32), aggregate)
    found = evaluation.leave_one_out(value, 4)

    assert found.numerators == (96, 96, -224, 0)  # the free rider is worth nothing
    assert evaluation.shapley(value, 4).numerators[3] == 0
