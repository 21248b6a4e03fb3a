"""Leave-one-out and Data Shapley: against worked utilities, and as opinions on real data."""

import numpy as np
import pytest

from benchmarks.contributors import KINDS, round_of
from worker.valuation import knn_shapley
from worker.valuation.second_opinions import (
    Rows,
    accuracy,
    leave_one_out,
    members,
    removal_curve,
    tmc_shapley,
)

GAME = [np.array([0]), np.array([1]), np.array([2])]


def gloves(rows: Rows) -> float:
    """Rows 0 and 1 are left gloves, row 2 a right one; a pair is worth 1."""
    return float(2 in rows and len(rows) > 1)


def test_leave_one_out__glove_game__only_the_scarce_glove_is_missed() -> None:
    opinion = leave_one_out(gloves, GAME)
    assert opinion.values == (0.0, 0.0, 1.0)
    assert opinion.evaluations == 4


def test_tmc_shapley__glove_game__a_sixth_a_sixth_two_thirds() -> None:
    opinion = tmc_shapley(gloves, GAME, permutations=2000, tolerance=1e-9)
    for value, error, exact in zip(opinion.values, opinion.errors, (1, 1, 4), strict=True):
        assert value == pytest.approx(exact / 6, abs=5 * error)
    assert sum(opinion.values) == pytest.approx(1)


def test_tmc_shapley__close_to_all__the_rest_is_not_trained() -> None:
    seen: list[int] = []

    def flat(rows: Rows) -> float:
        seen.append(len(rows))
        return 0.9 if len(rows) else 0.0

    opinion = tmc_shapley(flat, GAME, permutations=7)
    assert opinion.evaluations == len(seen) == 8
    assert max(seen[1:]) == 1
    assert sum(opinion.values) == pytest.approx(0.9)


def test_tmc_shapley__one_permutation__no_error_is_known() -> None:
    assert tmc_shapley(gloves, GAME, permutations=1).errors == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("model", ["knn", "logistic"])
def test_accuracy__no_row_and_one_class__nothing_and_its_share(model: str) -> None:
    features, labels = np.array([[0], [9], [-9]], np.int8), np.array([0, 1, 1], np.uint16)
    utility = accuracy(features, labels, features, labels, model)  # type: ignore[arg-type]
    assert utility(np.zeros(0, np.int64)) == 0
    assert utility(np.array([1, 2])) == pytest.approx(2 / 3)
    assert utility(np.array([0])) == pytest.approx(1 / 3)


def test_removal_curve__an_order__the_first_are_removed_first() -> None:
    left: list[list[int]] = []

    def keep(rows: Rows) -> float:
        left.append(rows.tolist())
        return float(len(rows))

    assert removal_curve(keep, np.array([3, 1, 0, 2]), [0, 0.25, 0.5]) == [4, 3, 2]
    assert left == [[0, 1, 2, 3], [0, 1, 2], [0, 2]]


def test_opinions__digits__agree_that_the_poisoned_harm_and_the_copy_adds_nothing() -> None:
    data = round_of("digits")
    flags = knn_shapley.flags(data)
    utility = accuracy(data.features, data.labels, data.test.features, data.test.labels)
    who = members(data, flags)
    for opinion in (leave_one_out(utility, who), tmc_shapley(utility, who, permutations=6)):
        worth = dict(zip(KINDS, opinion.values, strict=True))
        assert worth["poisoned"] < 0 < worth["clean 1"]
        assert worth["duplicate"] == 0
