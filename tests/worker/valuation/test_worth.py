"""Values are real: who harms or copies earns nothing, and rows of high value are missed."""

import numpy as np
import pytest

from benchmarks.contributors import KINDS, Name, round_of
from benchmarks.valuation import DATA, FRACTIONS, earnings, removal_curves
from oracle.valuation.reference import DUPLICATE
from oracle.valuation.tables import build
from worker.valuation import knn_shapley


@pytest.mark.parametrize("name", DATA)
def test_values__contributors_of_four_kinds__poisoned_and_duplicate_earn_least(name: Name) -> None:
    data = round_of(name)
    flags = knn_shapley.flags(data)
    credit = dict(
        zip(KINDS, build(data, flags, knn_shapley.scores(data, flags)).credits, strict=True)
    )
    assert credit["poisoned"] == credit["duplicate"] == 0
    assert 0 < credit["noisy"] < credit["clean 2"] / 2
    assert credit["noisy"] < credit["clean 1"] / 2


@pytest.mark.parametrize("name", DATA)
def test_values__poisoned_before_it_is_clamped__harms(name: Name) -> None:
    worth = earnings(name)
    assert worth["poisoned"] < -0.4
    assert sum(worth.values()) <= 1  # the accuracy of all


@pytest.mark.parametrize("name", DATA)
def test_flags__a_copy_moved_by_one_step__every_row_cites_its_source(name: Name) -> None:
    data = round_of(name)
    flags = knn_shapley.flags(data)
    copied = slice(data.starts[4], data.starts[5])
    assert (flags.flag[copied] == DUPLICATE).all()
    assert (flags.witness[copied] < data.starts[1]).all()
    assert not flags.flag[: data.starts[4]].any()


@pytest.mark.parametrize("name", DATA)
def test_removal__highest_first__accuracy_falls_faster_than_at_random(name: Name) -> None:
    curves = removal_curves(name)
    at = FRACTIONS.index(0.05 * 4)
    highest, random, lowest = (np.array(curve) for curve in curves.values())
    assert (highest[1:] < random[1:]).all()
    assert highest[at] < random[at] - 0.05
    assert lowest[at] > lowest[0] + 0.01  # better than with all rows
    assert (lowest[2 : at + 2] > random[2 : at + 2]).all()
