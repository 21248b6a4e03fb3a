"""DataCredits.creditRevenue and claim: fees are shared by credits, and pulled."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    DOLLAR,
    ONE,
    OWNER,
    refuses,
)


@pytest.fixture
def held(data):
    """Alice holds ¾ of all credits, Bob ¼."""
    data.play([ALICE, BOB], [3 * ONE // 4, ONE // 4])
    return data


def test_credit_revenue__not_the_market__reverts(held):
    with refuses("CallerNotMarket"):
        held.do(OWNER, "creditRevenue", 1, 1)


def test_credit_revenue__nobody_holds_credits__reverts(data):
    data.take_code(data.market)
    with refuses("CreditsMissing"):
        data.do(data.market, "creditRevenue", 1, 1)


def test_collect__nobody_holds_credits__pays_the_holder_of_the_model(data):
    data.earn(100 * DOLLAR)
    assert data.in_market(OWNER) > 100 * DOLLAR


def test_claim__nothing_earned__reverts(held):
    with refuses("AmountZero"):
        held.do(ALICE, "claim", 1)


def test_claim__no_credits__reverts(held):
    held.earn(100 * DOLLAR)
    with refuses("AmountZero"):
        held.do(CAROL, "claim", 1)


def test_claim__twice__pays_once(held):
    held.earn(100 * DOLLAR)
    held.do(ALICE, "claim", 1)
    with refuses("AmountZero"):
        held.do(ALICE, "claim", 1)


def test_claim__earned__is_paid_in_proportion(held):
    before = (held.tokens(ALICE), held.tokens(BOB))
    held.earn(100 * DOLLAR)
    for account in (ALICE, BOB):
        held.do(account, "claim", 1)
    assert held.tokens(ALICE) - before[0] == 75 * DOLLAR
    assert held.tokens(BOB) - before[1] == 25 * DOLLAR


@pytest.mark.parametrize("amount", [1, 2, 3, 7])
def test_claim__less_than_divides__rounds_in_the_pools_favour(held, amount):
    held.earn(amount)
    assert held.see("claimable", 1, ALICE) <= 3 * amount // 4
    assert held.see("claimable", 1, BOB) <= amount // 4


def test_claim__many_rounds_and_fees_later__costs_the_same(held):
    held.earn(100 * DOLLAR)
    held.do(ALICE, "claim", 1)
    held.earn(100 * DOLLAR)
    held.do(ALICE, "claim", 1)
    few = held.gas
    for _ in range(5):
        held.play([BOB, CAROL], [ONE // 3, ONE // 5])
        held.earn(17 * DOLLAR)
    held.do(ALICE, "claim", 1)
    assert abs(held.gas - few) < 100
    assert held.gas < 70_000


def test_finalize__with_a_data_share__costs_little_more(data):
    for bps in (5_000, 0):  # every slot is warm and not zero afterwards
        data.sell(DOLLAR, bps)
    data.sell(DOLLAR, 0)
    without = data.gas
    data.sell(DOLLAR)
    assert data.gas - without <= 6_000
