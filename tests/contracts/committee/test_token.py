"""A committee under a token that is paused or blocks members: no verdict waits for it."""

import pytest

from tests.contracts.chain import VirtualMachineError, at
from tests.contracts.committee.panel import (
    BOND,
    CLOSED,
    DEAD,
    GENERAL,
    LEAVE_DELAY,
    MATCH,
    MIN_STAKE,
    MISMATCH,
    NO_INPUT,
    NO_OUTPUT,
    PENALTY,
    Vote,
)
from tests.contracts.market import FEE, LOCK, MULTIPLE

SHARE = LOCK * 30 // 100 - LOCK * 30 // 100 // 2  # of the bounty, for the voters


@pytest.fixture(scope="module")
def token(TestBlockingDollar, deployer):
    return TestBlockingDollar.deploy({"from": deployer})


@pytest.fixture
def paused(token, voting, bob):
    token.setPaused(True, {"from": bob})
    return voting


@pytest.mark.parametrize("finding", [MISMATCH, NO_OUTPUT])
def test_tally__token_paused__convicts_and_credits(panel, paused, alice, bob, finding):
    market = panel.market.contract
    before = market.balanceOf(alice)
    panel.vote(paused, *[Vote(finding)] * 3)
    panel.settle(paused)
    assert market.balanceOf(alice) == before + FEE + MULTIPLE * FEE
    assert market.balanceOf(bob) == LOCK * 30 // 100 - SHARE
    assert [panel.seats.rewardOf(member) for member in panel.members] == [SHARE // 3] * 3


@pytest.mark.parametrize("finding", [MATCH, NO_INPUT])
def test_tally__token_paused__frees_the_operator(panel, paused, operators, operator, finding):
    panel.vote(paused, *[Vote(finding)] * 3)
    panel.settle(paused)
    assert panel.contract.bondOf(operator) == 3 * BOND // 2
    if finding == MATCH:
        panel.market.finalize(*paused)
    assert operators.stakeOf(operator)[1] == 0


def test_settle__token_paused__punishes_and_burns(panel, paused, rival):
    """What votes lose is taken in the books: tokens of burned stake stay where they are."""
    panel.vote(paused, Vote(), Vote(MISMATCH), None)
    panel.contract.reportSilence(panel.id_of(paused), 0, panel.members[2], {"from": rival})
    panel.draw(paused)
    panel.wear_out(paused)
    panel.settle(paused)
    assert panel.stake_of(panel.members[2]) == MIN_STAKE - PENALTY
    assert panel.seats.rewardOf(rival) == PENALTY // 5
    assert panel.seats.rewardOf(DEAD) == PENALTY - PENALTY // 5


def test_lapse__token_paused__frees_the_answer(panel, delivered, token, operator, bob):
    panel.challenge(delivered)
    token.setPaused(True, {"from": bob})
    at(panel.dispute(delivered)["until"])
    panel.contract.lapse(*delivered, {"from": bob})
    assert panel.dispute(delivered)["stage"] == CLOSED
    assert panel.contract.bondOf(operator) == 3 * BOND // 2


def test_leave__token_paused__starts_and_is_paid_later(panel, token, bob):
    member = panel.members[0]
    token.setPaused(True, {"from": bob})
    started = panel.seats.startLeave(GENERAL, {"from": member})
    at(started.timestamp + LEAVE_DELAY)
    with pytest.raises(VirtualMachineError):
        panel.seats.finishLeave(GENERAL, {"from": member})
    token.setPaused(False, {"from": bob})
    panel.seats.finishLeave(GENERAL, {"from": member})
    assert token.balanceOf(member) == MIN_STAKE


def test_withdraw_reward__one_member_blocked__the_others_are_paid(panel, voting, token, bob):
    panel.vote(voting, *[Vote(MISMATCH)] * 3)
    panel.settle(voting)
    blocked, *others = panel.members
    token.setBlocked(blocked, True, {"from": bob})
    with pytest.raises(VirtualMachineError):
        panel.seats.withdrawReward({"from": blocked})
    for member in others:
        panel.seats.withdrawReward({"from": member})
        assert token.balanceOf(member) == SHARE // 3
    assert panel.seats.rewardOf(blocked) == SHARE // 3
    assert panel.stake_of(blocked) == MIN_STAKE
