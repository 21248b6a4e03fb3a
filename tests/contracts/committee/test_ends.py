"""reportSilence, releaseBond, withdrawBond, withdrawReward."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    BOND,
    CLOSED,
    DEAD,
    DRAWING,
    GENERAL,
    LEAVE_DELAY,
    MIN_STAKE,
    MISMATCH,
    NO_INPUT,
    PENALTY,
    REVEAL,
    SETTLED,
    VOTE,
    VOTING,
    Vote,
)
from tests.contracts.market import (
    DEMAND_PERIOD,
    FEE,
    LOCK,
    MAX_DISPUTE_AGE,
    OUTPUT,
    WINDOW,
    WITHHELD,
    refuses,
)

REWARD = PENALTY // 5
BONDS = 3 * BOND


# ── reportSilence ───────────────────────────────────────────────────────────────────────────────


def test_report_silence__round_not_tallied__reverts(panel, voting, bob):
    at(panel.dispute(voting)["until"] + REVEAL)
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
    member = panel.members[2]
    panel.contract.reportSilence(panel.id_of(voting), 0, member, {"from": rival})
    assert panel.seats.rewardOf(rival) == REWARD
    assert panel.seats.rewardOf(DEAD) == PENALTY - REWARD
    assert panel.stake_of(member) == MIN_STAKE - PENALTY
    assert panel.contract.ballotOf(panel.id_of(voting), 0, member)[0] == SETTLED


def test_report_silence__stake_is_gone__takes_nothing(panel, voting, token, bob):
    member = panel.members[2]
    panel.seats.startLeave(GENERAL, {"from": member})
    panel.vote(voting, Vote(), Vote(), None)
    at(now() + LEAVE_DELAY)
    panel.seats.finishLeave(GENERAL, {"from": member})
    transaction = panel.contract.reportSilence(panel.id_of(voting), 0, member, {"from": bob})
    assert transaction.events["VoterPunished"]["amount"] == 0
    assert panel.seats.rewardOf(bob) == 0


# ── releaseBond ─────────────────────────────────────────────────────────────────────────────────


def convicted_otherwise(panel, delivered, bob):
    """Let the market convict the operator because it withholds the output.

    It waits for the committee's verdict first, until that is so late that anybody may annul.
    """
    market = panel.market.contract
    time = market.demandOutput(*delivered, {"from": bob}).timestamp
    at(max(time + DEMAND_PERIOD, delivered[1][1] + WINDOW + MAX_DISPUTE_AGE))
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


@pytest.mark.parametrize("stage", [DRAWING, VOTING])
def test_release_bond__request_ended_otherwise__gives_it_back(panel, delivered, bob, rival, stage):
    panel.challenge(delivered)
    if stage == VOTING:
        panel.draw(delivered)
        panel.commit(delivered, panel.members[0])
    convicted_otherwise(panel, delivered, bob)
    with refuses("RequestStateMismatch", panel.id_of(delivered)):
        panel.contract.tally(*delivered, {"from": rival})
    panel.contract.releaseBond(panel.id_of(delivered), {"from": rival})
    assert panel.contract.bondOf(bob) == BONDS
    assert panel.dispute(delivered)["stage"] == CLOSED
    member = panel.members[1]  # was not asked long enough: its round was never tallied
    with refuses("RoundNotTallied", panel.id_of(delivered), 0):
        panel.contract.reportSilence(panel.id_of(delivered), 0, member, {"from": rival})


# ── Payouts ─────────────────────────────────────────────────────────────────────────────────────


def test_withdraw__nothing__reverts(panel, rival):
    with refuses("AmountZero"):
        panel.contract.withdrawBond({"from": rival})
    with refuses("AmountZero"):
        panel.seats.withdrawReward({"from": rival})


def test_withdraw_bond__wallet_that_takes_none__keeps_its_credit(TestWallet, panel, delivered, bob):
    wallet = TestWallet.deploy({"from": bob})
    call = panel.contract.challenge.encode_input(*delivered)
    wallet.execute(panel.contract, call, {"from": bob, "value": BONDS})
    convicted_otherwise(panel, delivered, bob)
    panel.contract.releaseBond(panel.id_of(delivered), {"from": bob})
    withdraw = panel.contract.withdrawBond.encode_input()
    with refuses("TransferFailed", wallet, BONDS):
        wallet.execute(panel.contract, withdraw, {"from": bob})
    assert panel.contract.bondOf(wallet) == BONDS
    wallet.callBack(panel.contract, withdraw, {"from": bob})  # takes it, and asks for more
    wallet.execute(panel.contract, withdraw, {"from": bob})
    assert wallet.balance() == BONDS
    assert (panel.contract.balance(), panel.contract.bondOf(wallet)) == (0, 0)


def test_withdraw__everything__leaves_only_the_stakes(panel, voting, token, bob):
    wrong = Vote(MISMATCH)
    panel.vote(voting, wrong, wrong, wrong)
    panel.settle(voting)
    event = panel.contract.withdrawBond({"from": bob}).events["BondWithdrawn"]
    assert dict(event) == {"account": bob, "amount": BONDS}
    for member in panel.members:
        owed, before = panel.seats.rewardOf(member), token.balanceOf(member)
        event = panel.seats.withdrawReward({"from": member}).events["RewardWithdrawn"]
        assert dict(event) == {"account": member, "amount": owed}
        assert token.balanceOf(member) == before + owed
    share = LOCK * 30 // 100 - LOCK * 30 // 100 // 2
    assert token.balanceOf(panel.seats) == 3 * MIN_STAKE + share % 3
    assert panel.contract.balance() == 0


def test_release_bond__votes_of_a_round_that_never_ended__are_freed_unpunished(
    panel, voting, bob, rival
):
    """Withheld is proven before anybody could reveal: nobody is silent."""
    member = panel.members[0]
    panel.commit(voting, member)
    convicted_otherwise(panel, voting, bob)
    panel.contract.releaseBond(panel.id_of(voting), {"from": rival})
    assert panel.seats.seatOf(GENERAL, member)[2] == VOTE
    panel.settle(voting, rival)
    assert panel.seats.seatOf(GENERAL, member) == (MIN_STAKE, 0, 0)


def test_finish_leave__vote_not_settled__reverts_until_anyone_settles_it(panel, voting, rival):
    member = panel.members[0]
    panel.seats.startLeave(GENERAL, {"from": member})
    panel.vote(voting, Vote(), Vote(), Vote())
    at(now() + LEAVE_DELAY)
    with refuses("VotesOpen", member, GENERAL, VOTE):
        panel.seats.finishLeave(GENERAL, {"from": member})
    panel.settle(voting, rival)
    assert panel.seats.finishLeave(GENERAL, {"from": member}).events["LeaveFinished"]


# ── A demand beside a dispute ───────────────────────────────────────────────────────────────────


def demanded(panel, voting, rival):
    """Demand the output while members vote."""
    panel.market.contract.demandOutput(*voting, {"from": rival, "value": 10**15})


def test_demand__unanswered_when_the_committee_annuls__still_convicts(panel, voting, rival):
    """A liar that owes the bytes must not get away because nobody has the input."""
    market = panel.market.contract
    for member in panel.members:
        panel.commit(voting, member, Vote(NO_INPUT))
    panel.to_reveals(voting)
    for member in panel.members:
        panel.reveal(voting, member, Vote(NO_INPUT))
    demanded(panel, voting, rival)
    transaction = panel.tally(voting)
    if "Annulled" in transaction.events:  # the demand was over before the tally
        raise AssertionError("the demand was wiped")
    at(max(market.demandOf(panel.id_of(voting))[1], now() + 1))
    event = market.convictWithheld(*voting, {"from": rival}).events["Convicted"]
    assert event["verdict"] == WITHHELD


def test_demand__answered_while_members_vote__leaves_the_verdict_to_them(
    panel, voting, operator, rival
):
    demanded(panel, voting, rival)
    posted = panel.market.contract.postOutput(*voting, OUTPUT, {"from": operator})
    assert posted.events["OutputPosted"]
    transaction = panel.vote(voting, *[Vote(MISMATCH)] * 3)
    assert transaction.events["Convicted"]["refund"] == FEE


def test_demand__friend_of_a_liar_that_waits_for_its_deadline__takes_no_bounty(
    panel, voting, rival
):
    """`convictWithheld` in front of the tally would pay a liar's friend: the committee is first."""
    market = panel.market.contract
    demanded(panel, voting, rival)
    for member in panel.members:
        panel.commit(voting, member, Vote(MISMATCH))
    panel.to_reveals(voting)
    for member in panel.members:
        panel.reveal(voting, member, Vote(MISMATCH))
    at(max(market.demandOf(panel.id_of(voting))[1], now() + 1))
    with refuses("DisputesOpen", panel.id_of(voting), 1):
        market.convictWithheld(*voting, {"from": rival})
    before = market.balanceOf(rival)
    panel.tally(voting)
    assert market.balanceOf(rival) == before
    assert market.balanceOf(panel.seats) > 0
