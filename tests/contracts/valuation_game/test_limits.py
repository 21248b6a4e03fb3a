"""Every fault of the largest round that there can be is one transaction of at most 400,000 gas."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CID,
    ONE,
    STAKE,
    VALUATOR,
    Data,
    commitment_to_test_set,
    values_root,
)
from tests.contracts.valuation_game.cases import Announced
from tests.contracts.valuation_game.limits import FEATURES, ROWS, TEST_ROWS, limits

FAR = 2**32 - 1
LIMITS = limits()


@pytest.mark.parametrize("name", LIMITS)
def test_prove__largest_round__within_400_000_gas(name):
    limit = LIMITS[name]
    within = {"FALSE_FLAG": 0}.get(name, FAR)  # everything is near, or nothing
    data = Data()
    data.open(
        features=FEATURES,
        testRows=TEST_ROWS,
        maxContributions=1,
        maxRows=ROWS,
        rowTolerance=within,
        testTolerance=within,
        testCommitment=commitment_to_test_set(limit.root("test"), TEST_ROWS),
    )
    data.submit(ALICE, limit.root("data"), ROWS)
    data.pass_to("submit")
    data.reveal(0, limit.root("data"), ROWS)
    data.pass_to("reveal")
    data.reveal_test(limit.root("test"))
    data.pass_to("test")
    data.do(BOB, "number", 1, 1)
    valuation = limit.valuation(values_root([ONE]))
    for call in (("stake", STAKE), ("claim", 1), ("publish", 1, valuation, [ONE], CID)):
        data.world.call(VALUATOR, "ValuationGame", *call)
    gas = Announced(data).convict(valuation, limit.fault)
    assert gas <= 400_000
