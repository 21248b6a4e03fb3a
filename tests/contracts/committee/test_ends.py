"""reportSilence, releaseBond, withdrawBond, withdrawReward."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    BOND,
    CHALLENGED,
    CLOSED,
    DEAD,
    GENERAL,
    LEAVE_DELAY,
    MIN_STAKE,
    MISMATCH,
    PENALTY,
    VOTING,
    Vote,
)
from tests.contracts.market import DEMAND_PERIOD, LOCK, refuses

REWARD = PENALTY // 5


# ── reportSilence ───────────────────────────────────────────────────────────────────────────────


def test_report_silence__round_not_tallied__reverts(panel, voting, bob):
    at(panel.dispute(voting)["revealUntil"])
    with refuses("RoundNotTallied", panel.id_of(voting), 0):
        panel.contract.reportSilence(panel.id_of(voting), 0, panel.members[0], {"from": bob})


def test_report_silence__round_that_was_not_reached__reverts(panel, voting, bob):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("RoundNotTallied", panel.id_of(voting), 1):
        panel.contract.reportSilence(panel.id_of(voting), 1, panel.members[0], {"from": bob})


def test_report_silence__not_drawn__reverts(panel, voting, bob, rival):
    panel.tally(voting)
    with refuses("MemberNotDrawn", panel.id_of(voting), 0, rival):
        panel.contract.reportSilence(panel.id_of(voting), 0, rival, {"from": bob})


def test_report_silence__excluded__reverts(panel, bob, operator):
    panel.enlist(operator)
    panel.season()
    voting = panel.voting(panel.market.delivered())
    panel.tally(voting)
    with refuses("MemberExcluded", panel.id_of(voting), operator):
        panel.contract.reportSilence(panel.id_of(voting), 0, operator, {"from": bob})


def test_report_silence__committed__reverts(panel, voting, bob):
    panel.vote(voting, Vote(), None, None, hidden=tuple(panel.members))
    with refuses("MemberNotSilent", panel.id_of(voting), 0, panel.members[0]):
        panel.contract.reportSilence(panel.id_of(voting), 0, panel.members[0], {"from": bob})


def test_report_silence__twice__reverts(panel, voting, bob):
    panel.tally(voting)
    panel.contract.reportSilence(panel.id_of(voting), 0, panel.members[0], {"from": bob})
    with refuses("MemberNotSilent", panel.id_of(voting), 0, panel.members[0]):
        panel.contract.reportSilence(panel.id_of(voting), 0, panel.members[0], {"from": bob})


def test_report_silence__by_anyone__pays_a_fifth_and_burns_the_rest(panel, voting, token, rival):
    panel.vote(voting, Vote(), Vote(), None)
    burned, member = token.balanceOf(DEAD), panel.members[2]
    panel.contract.reportSilence(panel.id_of(voting), 0, member, {"from": rival})
    assert panel.contract.rewardOf(rival) == REWARD
    assert token.balanceOf(DEAD) == burned + PENALTY - REWARD
    assert panel.stake_of(member) == MIN_STAKE - PENALTY
    assert panel.contract.ballotOf(panel.id_of(voting), 0, member)[3]


def test_report_silence__stake_is_gone__takes_nothing(panel, voting, token, bob):
    member = panel.members[2]
    panel.contract.startLeave(GENERAL, {"from": member})
    panel.vote(voting, Vote(), Vote(), None)
    at(now() + LEAVE_DELAY)
    panel.contract.finishLeave(GENERAL, {"from": member})
    transaction = panel.contract.reportSilence(panel.id_of(voting), 0, member, {"from": bob})
    assert transaction.events["VoterPunished"]["amount"] == 0
    assert panel.contract.rewardOf(bob) == 0


# ── releaseBond ─────────────────────────────────────────────────────────────────────────────────


def convicted_otherwise(panel, delivered, bob):
    """Let the market convict the operator because it withholds the output."""
    market = panel.market.contract
    time = market.demandOutput(*delivered, {"from": bob}).timestamp
    at(time + DEMAND_PERIOD)
    market.convictWithheld(*delivered, {"from": bob})


def test_release_bond__never_challenged__reverts(panel, delivered, bob):
    with refuses("StageInvalid", panel.id_of(delivered), 0):
        panel.contract.releaseBond(panel.id_of(delivered), {"from": bob})


def test_release_bond__decided__reverts(panel, voting, bob):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("StageInvalid", panel.id_of(voting), CLOSED):
        panel.contract.releaseBond(panel.id_of(voting), {"from": bob})


def test_release_bond__request_live__reverts(panel, voting, bob):
    with refuses("RequestLive", panel.id_of(voting)):
        panel.contract.releaseBond(panel.id_of(voting), {"from": bob})


@pytest.mark.parametrize("stage", [CHALLENGED, VOTING])
def test_release_bond__request_ended_otherwise__gives_it_back(panel, delivered, bob, rival, stage):
    panel.challenge(delivered)
    if stage == VOTING:
        panel.draw(delivered)
        panel.commit(delivered, panel.members[0])
    convicted_otherwise(panel, delivered, bob)
    with refuses("RequestStateMismatch", panel.id_of(delivered)):
        panel.contract.tally(*delivered, {"from": rival})
    panel.contract.releaseBond(panel.id_of(delivered), {"from": rival})
    assert panel.contract.bondOf(bob) == BOND
    assert panel.dispute(delivered)["stage"] == CLOSED
    member = panel.members[1]  # was not asked long enough: its round was never tallied
    with refuses("RoundNotTallied", panel.id_of(delivered), 0):
        panel.contract.reportSilence(panel.id_of(delivered), 0, member, {"from": rival})


# ── Payouts ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["withdrawBond", "withdrawReward"])
def test_withdraw__nothing__reverts(panel, rival, name):
    with refuses("AmountZero"):
        getattr(panel.contract, name)({"from": rival})


def test_withdraw_bond__wallet_that_takes_none__keeps_its_credit(TestWallet, panel, delivered, bob):
    wallet = TestWallet.deploy({"from": bob})
    call = panel.contract.challenge.encode_input(*delivered)
    wallet.execute(panel.contract, call, {"from": bob, "value": BOND})
    convicted_otherwise(panel, delivered, bob)
    panel.contract.releaseBond(panel.id_of(delivered), {"from": bob})
    withdraw = panel.contract.withdrawBond.encode_input()
    with refuses("TransferFailed", wallet, BOND):
        wallet.execute(panel.contract, withdraw, {"from": bob})
    assert panel.contract.bondOf(wallet) == BOND
    wallet.callBack(panel.contract, withdraw, {"from": bob})  # takes it, and asks for more
    wallet.execute(panel.contract, withdraw, {"from": bob})
    assert wallet.balance() == BOND
    assert (panel.contract.balance(), panel.contract.bondOf(wallet)) == (0, 0)


def test_withdraw__everything__leaves_only_the_stakes(panel, voting, token, bob):
    wrong = Vote(MISMATCH)
    panel.vote(voting, wrong, wrong, wrong)
    event = panel.contract.withdrawBond({"from": bob}).events["BondWithdrawn"]
    assert dict(event) == {"account": bob, "amount": BOND}
    for member in panel.members:
        owed, before = panel.contract.rewardOf(member), token.balanceOf(member)
        event = panel.contract.withdrawReward({"from": member}).events["RewardWithdrawn"]
        assert dict(event) == {"account": member, "amount": owed}
        assert token.balanceOf(member) == before + owed
    assert token.balanceOf(panel.contract) == 3 * MIN_STAKE
    assert panel.contract.balance() == 0
    assert LOCK > 0
