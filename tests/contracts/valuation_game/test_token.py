"""Valuations under a paused token: a false one is convicted, a true one settled all the same."""

import pytest

from oracle.valuation import table_comparison
from tests.contracts import blocking_token
from tests.contracts.data_credits.play import (
    BOB,
    CHALLENGER,
    CLAIM,
    DEAD,
    FEE,
    FORFEIT,
    REWARD,
    SETTLED,
    STAKE,
    VALUATOR,
    VALUING,
    VOID,
)
from tests.contracts.valuation_game.cases import Case
from tests.support.evm import Reverted
from tests.valuation import rounds

HELD = rounds.small()
RIGHT = rounds.tables(HELD)


@pytest.fixture
def case():
    return Case(held=HELD)


def test_prove__token_paused__convicts_and_credits(case):
    _, false = rounds.falsified(HELD, "distance")
    valuation = case.publish(false)
    blocking_token.pause(case.data.world)
    case.convict(valuation, table_comparison.find(HELD, false, RIGHT))
    assert case.do(BOB, "rewardOf", CHALLENGER) == STAKE // 2
    assert case.do(BOB, "rewardOf", DEAD) == STAKE - STAKE // 2
    assert case.do(BOB, "seatOf", VALUATOR) == (99 * STAKE, 0)
    with pytest.raises(Reverted):
        case.do(CHALLENGER, "withdrawReward")
    blocking_token.pause(case.data.world, paused=False)
    case.do(CHALLENGER, "withdrawReward")


def test_settle__token_paused__pays_in_the_books(case):
    case.publish(RIGHT)
    blocking_token.pause(case.data.world)
    case.pass_window()
    values = list(RIGHT.values)
    case.do(BOB, "settle", 1, values)
    assert case.data.stage() == SETTLED
    assert case.data.see("balanceOf", VALUATOR) == REWARD + len(values) * FEE


def test_lapse_claim__token_paused__burns_in_the_books(case):
    case.claim()
    blocking_token.pause(case.data.world)
    case.data.world.set_time(case.data.world.time + CLAIM)
    case.do(BOB, "lapseClaim", 1)
    assert case.do(BOB, "rewardOf", DEAD) == FORFEIT


def test_void_round__token_paused__ends_it(case):
    blocking_token.pause(case.data.world)
    case.data.world.set_time(case.data.world.time + VALUING)
    case.do(BOB, "voidRound", 1)
    assert case.data.stage() == VOID
