"""What bad trainers do to a round: robust rules bound it, and they earn nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks import trainers
from benchmarks.trainers import Attack
from oracle.training.vectors import STATE, VectorTree
from worker.training import evaluation, states

ROUNDS = 4


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a step is too small to share
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clean(_one_thread: None) -> float:
    return trainers.accuracy_in_rounds(trainers.federation("iid"), "mean", ROUNDS)


def test_accuracy__integers_and_floats__are_within_a_point(clean: float) -> None:
    floats = trainers.accuracy_in_floats(trainers.federation("iid"), ROUNDS)

    assert clean > 0.85
    assert abs(clean - floats) <= 0.01


@pytest.mark.parametrize("attack", ["sign flip", "scaling"])
def test_mean__three_of_ten_attack__is_ruined(attack: Attack, clean: float) -> None:
    """Else the next test shows nothing."""
    people = trainers.federation("iid", attack)

    assert trainers.accuracy_in_rounds(people, "mean", ROUNDS) < clean - 0.2


@pytest.mark.parametrize("attack", ["sign flip", "scaling", "label flip"])
def test_median__three_of_ten_attack__is_near_the_clean_mean(attack: Attack, clean: float) -> None:
    people = trainers.federation("iid", attack)

    assert trainers.accuracy_in_rounds(people, "median", ROUNDS) > clean - 0.05


@pytest.mark.parametrize("attack", trainers.ATTACKS)
def test_updates_of__any_attack__stays_within_the_clip_and_leaves_the_honest_alone(
    attack: Attack,
) -> None:
    state = states.of(trainers.start(), trainers.JOB.scale_bits)
    honest = trainers.updates_of(trainers.federation("iid"), state, 0)
    found = trainers.updates_of(trainers.federation("iid", attack), state, 0)

    assert max(int(np.abs(update.astype(int)).max()) for update in found) <= trainers.JOB.clip
    for client in range(trainers.TRAINERS):
        same = np.array_equal(found[client], honest[client])
        assert same == (client >= trainers.BAD)


@pytest.mark.parametrize("attack", ["colluding", "free rider"])
def test_updates_of__those_who_send_the_same__have_one_root(attack: Attack) -> None:
    """So a contract sees it, and refuses the later reveal."""
    state = states.of(trainers.start(), trainers.JOB.scale_bits)
    found = trainers.updates_of(trainers.federation("iid", attack), state, 0)

    roots = [VectorTree(update, STATE).root for update in found]

    assert len(set(roots[: trainers.BAD])) == 1
    assert len(set(roots)) == 1 + trainers.TRAINERS - trainers.BAD


@pytest.mark.parametrize("attack", ["sign flip", "label flip", "free rider"])
def test_values__bad_updates__are_worth_less_than_every_honest_one(attack: Attack) -> None:
    people = trainers.federation("iid", attack, trainers=5, bad=1)
    model, bits = trainers.start(), people.job.scale_bits
    state = states.of(model, bits)
    updates = trainers.updates_of(people, state, 0)
    value = evaluation.value_of(
        lambda tried: evaluation.evaluate(model, tried, people.test, bits).loss,
        state,
        lambda members: trainers.mean_of(people, members, state, updates),
    )

    for found in (
        evaluation.shapley(value, 5),
        evaluation.sampled_shapley(value, 5, 4, b"seed"),
        evaluation.leave_one_out(value, 5),
    ):
        assert found.numerators[0] < min(found.numerators[1:])
    assert sum(evaluation.shapley(value, 5).numerators) == 120 * value(frozenset(range(5)))
