"""Rounds and revenue under a token that is paused or blocks accounts: only who moves it waits."""

import pytest

from oracle.merkle import keccak
from tests.contracts import blocking_token
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CHALLENGER,
    DAVE,
    DEAD,
    DEPOSIT,
    DOLLAR,
    FEE,
    ONE,
    OWNER,
    REWARD,
    VALUATOR,
    VOID,
    value_path,
)
from tests.support.evm import Reverted


@pytest.fixture
def held(data):
    """Alice and Bob hold half of the credits each."""
    data.play([ALICE, BOB], [ONE // 2, ONE // 2])
    return data


def test_settle__token_paused__earlier_fees_are_still_those_of_earlier_holders(held):
    """Were they collected later, new credits would share what they did not earn."""
    held.prepare([CAROL])
    held.sell(100 * DOLLAR)
    blocking_token.pause(held.world)
    held.settle([ONE])
    held.give([ONE], 0)
    assert held.see("creditsOf", 1, CAROL) > 0
    assert held.see("claimable", 1, ALICE) == held.see("claimable", 1, BOB) == 50 * DOLLAR
    assert held.see("claimable", 1, CAROL) == 0


def test_collect__token_blocks_the_data_module__everybody_is_credited(held):
    held.sell(100 * DOLLAR)
    blocking_token.block(held.world, held.credits)
    held.collect()
    assert held.in_market(OWNER) > 0
    assert held.in_market(held.credits) == 100 * DOLLAR
    before = held.tokens(ALICE)
    held.do(ALICE, "claim", 1)  # out of the market: the module holds no tokens
    assert held.tokens(ALICE) - before == 50 * DOLLAR


def test_claim__holder_blocked__keeps_its_share_and_nobody_else_waits(held):
    held.earn(100 * DOLLAR)
    blocking_token.block(held.world, ALICE)
    with pytest.raises(Reverted):
        held.do(ALICE, "claim", 1)
    held.do(BOB, "claim", 1)
    assert held.see("claimable", 1, ALICE) == 50 * DOLLAR
    blocking_token.block(held.world, ALICE, blocked=False)
    held.do(ALICE, "claim", 1)


def test_deposits__token_paused__are_credited_and_burned(data):
    """One data set of value, one without, one never revealed."""
    data.open()
    roots = [keccak(b"%d" % k) for k in range(3)]
    for owner, root in zip((ALICE, BOB, CAROL), roots, strict=True):
        data.submit(owner, root)
    data.pass_to("submit")
    for k in (0, 1):
        data.reveal(k, roots[k])
    blocking_token.pause(data.world)
    data.seal()
    data.settle([ONE, 0])
    data.give([ONE, 0], 0)
    data.give([ONE, 0], 1)
    data.do(CHALLENGER, "forfeit", 1, 2)
    owed = [data.see("balanceOf", who) for who in (VALUATOR, ALICE, DEAD)]
    assert owed == [REWARD + 3 * FEE, DEPOSIT, 2 * DEPOSIT]


def test_void_round__token_paused__everybody_is_credited(data):
    data.open()
    data.submit(ALICE, keccak(b"rows"))
    data.submit(BOB, keccak(b"others"))
    data.pass_to("submit")
    data.reveal(0, keccak(b"rows"))
    blocking_token.pause(data.world)
    data.pass_to("test")
    data.do(DAVE, "voidRound", 1)
    data.do(DAVE, "refund", 1, 0)
    assert data.stage() == VOID
    assert data.see("balanceOf", ALICE) == DEPOSIT + FEE + REWARD


def test_endorsements__token_paused__end(held):
    held.open()
    root = keccak(b"rows")
    held.submit(CAROL, root, bps=5_000)
    held.pass_to("submit")
    held.reveal(0, root)
    blocking_token.pause(held.world)
    stake = held.see("creditsOf", 1, ALICE)
    held.do(ALICE, "endorse", 2, 0, stake)
    held.seal()
    held.settle([ONE])
    held.do(DAVE, "settleEndorsement", 2, 0, ALICE, ONE, value_path([ONE], 0))
    assert held.see("creditsOf", 1, ALICE) > stake
