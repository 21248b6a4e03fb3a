"""Our values are those of an independent implementation, to our one rounding and its float64."""

import json

import numpy as np
import pytest

from oracle.valuation import reference
from oracle.valuation.dataset import DataSet
from oracle.valuation.rounds import ONE, Params, RoundData
from tests.vectors.valuation.make import HERE

RECORDED = json.loads((HERE / "pydvl.json").read_text())


@pytest.mark.parametrize("k", [1, 3, 5, 10, 150])
def test_scores__what_pydvl_valued__the_same_to_the_rounding(k: int) -> None:
    rows = DataSet.of(np.array(RECORDED["features"]), np.array(RECORDED["labels"]))
    test = DataSet.of(np.array(RECORDED["testFeatures"]), np.array(RECORDED["testLabels"]))
    assert rows.features.tolist() == RECORDED["features"]
    data = RoundData(Params(k, 0, 0), (rows,), test)
    flags = reference.flags(data)
    assert not flags.flag.any()
    values = np.zeros(rows.rows, np.int64)
    for block in reference.scores(data, flags):
        values[block.rows[0]] += block.s[0]
    ours = values / (ONE * test.rows)
    rounding = rows.rows / ONE  # each c_p is less than one unit short
    np.testing.assert_allclose(ours, RECORDED["values"][str(k)], rtol=0, atol=rounding + 1e-14)
    assert np.abs(ours).max() > 1e6 * rounding
