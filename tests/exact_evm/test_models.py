"""Faults in compiled models judged by the contract; all of them: `-m tests.exact_evm.models`."""

import numpy as np
import pytest

from examples.exact import digits, models, trees
from tests.exact_evm.evm import Verifier
from tests.exact_evm.models import judge


@pytest.mark.parametrize("name", ["softmax regression", "residual CNN"])
def test_check__one_wrong_byte_in_every_operator_of_a_network__convicts(name: str) -> None:
    _, test = models.digits(*models.RECIPES[name].shape)
    count = judge(Verifier(), digits.build(name)[0], test.samples()[0], np.random.default_rng(7), 2)
    assert (count.missed, count.framed) == (0, 0)
    assert count.convicted == 2 * count.operators > 0


def test_check__one_wrong_byte_in_every_operator_of_trees__convicts() -> None:
    fitted = trees.build("XGBoost", "cancer")
    sample = {"features": fitted.rows[0]}
    count = judge(Verifier(), fitted.compiled, sample, np.random.default_rng(7), 2)
    assert (count.missed, count.framed) == (0, 0)
    assert count.convicted == 2 * count.operators > 0
