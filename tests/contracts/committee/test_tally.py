"""tally and settle: whole disputes of one round, from the challenge to what everybody gets."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    ACTIVATION,
    ACTIVATION_OFF,
    BOND,
    CLOSED,
    CONTRADICTED,
    DEAD,
    DRAWING,
    GENERAL,
    LEAVE_DELAY,
    MATCH,
    MIN_STAKE,
    MISMATCH,
    NO_INPUT,
    NO_OUTPUT,
    NONE,
    PENALTY,
    REVEAL,
    SILENCE,
    TOLERANCE,
    VOTE,
    Vote,
    blind,
    punished,
)
from tests.contracts.market import (
    FEE,
    LOCK,
    MULTIPLE,
    WITHHELD,
    WRONG_OUTPUT,
    publication,
    refuses,
)

BONDS = 3 * BOND
REACH = 2 * TOLERANCE + 2 * TOLERANCE * ACTIVATION // 10**9
SHARE = LOCK * 30 // 100 - LOCK * 30 // 100 // 2  # of the bounty, for the voters
REPORTER = PENALTY // 5


def rewards(panel):
    return [panel.seats.rewardOf(member) for member in panel.members]


# ── Too early, too late, not this one ───────────────────────────────────────────────────────────


def test_tally__before_the_draw__reverts(panel, delivered):
    panel.challenge(delivered)
    with refuses("StageInvalid", panel.id_of(delivered), DRAWING):
        panel.contract.tally(*delivered, {"from": panel.challenger})


def test_tally__while_votes_can_be_revealed__reverts(panel, voting):
    until = panel.dispute(voting)["until"] + REVEAL
    at(until - 1)
    with refuses("RoundOpen", panel.id_of(voting), until):
        panel.contract.tally(*voting, {"from": panel.challenger})


def test_tally__other_delivery__reverts(panel, voting, bob):
    request, delivery = voting
    at(panel.dispute(voting)["until"] + REVEAL)
    with refuses("RequestStateMismatch", panel.id_of(voting)):
        panel.contract.tally(request, (bob, *delivery[1:]), {"from": bob})


def test_tally__decided__reverts(panel, voting):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("StageInvalid", panel.id_of(voting), CLOSED):
        panel.contract.tally(*voting, {"from": panel.challenger})


# ── Findings ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.life
def test_match__pays_operator_and_voters_of_the_bond(panel, voting, operator, bob):
    transaction = panel.vote(voting, Vote(), Vote(), Vote())
    request_id = panel.id_of(voting)
    assert dict(transaction.events["RoundTallied"]) == {
        "requestId": request_id,
        "round": 0,
        "finding": MATCH,
    }
    assert dict(transaction.events["Decided"]) == {
        "requestId": request_id,
        "finding": MATCH,
        "winners": 3 * VOTE,
        "lost": 0,
    }
    settled = panel.settle(voting)
    half = BONDS - BONDS // 2
    paid = [dict(e) for e in settled.events["VoterPaid"]]
    assert paid == [
        {
            "requestId": request_id,
            "member": member,
            "round": 0,
            "tokenAmount": 0,
            "weiAmount": half // 3,
        }
        for member in panel.members
    ]
    assert [panel.contract.bondOf(member) for member in panel.members] == [half // 3] * 3
    assert panel.contract.bondOf(operator) == BONDS // 2
    assert panel.contract.bondOf(bob) == 0
    dispute = panel.dispute(voting)
    assert (dispute["stage"], dispute["finding"], dispute["tallied"]) == (CLOSED, MATCH, 1)
    assert "Finalized" in panel.market.finalize(*voting).events


def test_match__answer_settled__cannot_be_challenged_again(panel, voting, rival):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("DisputeExists", panel.id_of(voting)):
        panel.challenge(voting, rival)


@pytest.mark.life
@pytest.mark.parametrize(("finding", "verdict"), [(MISMATCH, WRONG_OUTPUT), (NO_OUTPUT, WITHHELD)])
def test_against_the_operator__convicts_and_shares_the_bounty(
    panel, voting, token, operators, operator, alice, bob, finding, verdict
):
    """An output that nobody can get is not annulled: whoever withholds would keep its stake."""
    market = panel.market.contract
    before = market.balanceOf(alice)
    transaction = panel.vote(voting, *[Vote(finding)] * 3)
    assert transaction.events["Convicted"]["verdict"] == verdict
    assert market.balanceOf(alice) == before + FEE + MULTIPLE * FEE
    assert operators.stakeOf(operator) == (100 * 10**6 - LOCK, 0, True)
    assert panel.contract.bondOf(bob) == BONDS
    assert dict(transaction.events["BondReleased"]) == {
        "requestId": panel.id_of(voting),
        "challenger": bob,
        "amount": BONDS,
    }
    # the voters' bounty waits in the market: no verdict depends on a transfer
    assert market.balanceOf(panel.seats) == SHARE
    panel.settle(voting)
    assert rewards(panel) == [SHARE // 3] * 3
    for member in panel.members:
        panel.seats.withdrawReward({"from": member})
    assert market.balanceOf(panel.seats) == 0
    assert token.balanceOf(panel.seats) == 3 * MIN_STAKE + SHARE % 3
    assert panel.dispute(voting)["finding"] == finding


def test_missing_input__annuls_and_pays_the_voters(panel, voting, operators, operator, alice):
    before = panel.market.contract.balanceOf(alice)
    transaction = panel.vote(voting, *[Vote(NO_INPUT)] * 3)
    assert transaction.events["Annulled"]["refund"] == FEE
    assert panel.market.contract.balanceOf(alice) == before + FEE
    assert operators.stakeOf(operator) == (100 * 10**6, 0, True)
    assert panel.contract.bondOf(operator) == BONDS // 2
    panel.settle(voting)
    assert panel.contract.bondOf(panel.members[0]) == (BONDS - BONDS // 2) // 3


def test_contradicted__loses_what_its_vote_binds(panel, voting, rival):
    panel.vote(voting, Vote(MISMATCH), Vote(), Vote(MISMATCH))
    member = panel.members[1]
    assert punished(panel.settle(voting, rival)) == [(member, CONTRADICTED, VOTE)]
    assert panel.stake_of(member) == MIN_STAKE - VOTE
    # half is the other voters', who share the bounty as well; half is burned, less the reporter's
    each = (VOTE // 2 + SHARE) // 2
    assert rewards(panel) == [each, 0, each]
    assert panel.seats.rewardOf(rival) == REPORTER
    assert panel.seats.rewardOf(DEAD) == VOTE // 2 - REPORTER


def test_missing_input__found_by_a_minority__is_neither_paid_nor_punished(panel, voting):
    """It is of the same side as Match, but whoever says so need not have run the model."""
    panel.vote(voting, Vote(), blind(7, NO_INPUT), Vote())
    assert punished(panel.settle(voting)) == []
    assert panel.contract.bondOf(panel.members[1]) == 0
    assert panel.dispute(voting)["finding"] == MATCH


# ── Activations ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off", [REACH, -REACH])
def test_activation__twice_the_tolerance_off__is_paid(panel, voting, off):
    panel.vote(voting, Vote(), Vote(), Vote(activation=ACTIVATION + off))
    assert punished(panel.settle(voting)) == []


@pytest.mark.parametrize("off", [REACH + 1, -REACH - 1, -(2**127) - ACTIVATION])
def test_activation__farther__costs_penalty_and_pay(crowd, off):
    """Three of four agree; a vote still counts with what it found."""
    for lane in range(50):
        delivered = crowd.voting(crowd.market.delivered(lane=lane))
        if len(drawn := crowd.drawn(delivered)) >= 4:
            break
    votes = dict.fromkeys(drawn, Vote()) | {drawn[0]: Vote(activation=ACTIVATION + off)}
    crowd.cast(delivered, votes)
    crowd.tally(delivered)
    settled = crowd.settle(delivered)
    assert punished(settled) == [(drawn[0], ACTIVATION_OFF, PENALTY)]
    assert crowd.stake_of(drawn[0]) == MIN_STAKE - PENALTY
    assert crowd.contract.bondOf(drawn[0]) == 0
    pay = (7 * BOND - 7 * BOND // 2) // len(drawn)
    assert crowd.contract.bondOf(drawn[1]) in (pay, pay + 1)
    assert crowd.contract.bondOf(DEAD) in (pay, pay + 1)
    assert crowd.seats.rewardOf(DEAD) == PENALTY - PENALTY // 5


def test_activation__no_two_thirds_agree__punishes_nobody(panel, voting):
    panel.vote(voting, Vote(), blind(5), Vote())
    assert punished(panel.settle(voting)) == []
    assert panel.dispute(voting)["finding"] == MATCH


# ── Silence, ties, nobody ───────────────────────────────────────────────────────────────────────


def test_silence__committed_and_not_revealed__costs_as_much_as_the_wrong_finding(panel, voting):
    """Else whoever sees that it loses would rather hide."""
    hidden = (panel.members[2],)
    panel.vote(voting, Vote(), Vote(), Vote(), hidden=hidden)
    assert punished(panel.settle(voting)) == [(panel.members[2], SILENCE, VOTE)]
    assert rewards(panel)[:2] == [VOTE // 4, VOTE // 4]
    # its seat is below the minimum now: it has no weight from the next challenge on
    assert panel.seats.weightAt(GENERAL, panel.members[2], now()) == 0
    assert panel.seats.poolAt(GENERAL, now()) == 2 * MIN_STAKE


def test_silence__of_who_leaves__is_slashed_too(panel, voting):
    member = panel.members[2]
    panel.seats.startLeave(GENERAL, {"from": member})
    panel.vote(voting, Vote(), Vote(), Vote(), hidden=(member,))
    panel.settle(voting)
    assert panel.stake_of(member) == MIN_STAKE - VOTE


def test_silence__in_as_many_disputes_as_a_seat_can_bind__leaves_nothing_to_pay_out(panel, token):
    member = panel.members[2]
    disputes = [panel.voting(panel.market.delivered(lane=lane)) for lane in range(4)]
    panel.seats.startLeave(GENERAL, {"from": member})
    for voting in disputes:
        for voter in panel.members:
            panel.commit(voting, voter)
    panel.to_reveals(disputes[-1])
    for voting in disputes:
        for voter in panel.members[:2]:
            panel.reveal(voting, voter)
    for voting in disputes:
        panel.tally(voting)
        panel.settle(voting)
    assert panel.stake_of(member) == 0
    before = token.balanceOf(member)
    at(now() + LEAVE_DELAY)
    left = panel.seats.finishLeave(GENERAL, {"from": member})
    assert left.events["LeaveFinished"]["amount"] == 0
    assert token.balanceOf(member) == before


def test_finding__of_two_votes__is_none_where_seven_were_expected(crowd):
    """A third of the expected stake has to speak."""
    voting = crowd.voting(crowd.market.delivered())
    drawn = crowd.drawn(voting)
    assert len(drawn) > 2
    crowd.cast(voting, dict.fromkeys(drawn[:2], Vote()))
    assert crowd.tally(voting).events["RoundCalled"]["size"] == 14


@pytest.mark.parametrize("votes", [(), (Vote(),), (Vote(), Vote(MISMATCH))])
def test_whole_pool__too_few_or_a_tie_in_every_round__annuls(
    panel, voting, operators, operator, bob, votes
):
    transaction = panel.vote(voting, *votes)
    assert transaction.events["RoundCalled"]["size"] == 3  # all of them, once more
    panel.draw(voting)
    transaction = panel.wear_out(voting)
    assert transaction.events["Annulled"]["refund"] == FEE
    assert panel.dispute(voting)["finding"] == NONE
    assert panel.contract.bondOf(bob) == BONDS
    assert operators.stakeOf(operator) == (100 * 10**6, 0, True)
    assert punished(panel.settle(voting)) == []
    assert [panel.stake_of(member) for member in panel.members] == [MIN_STAKE] * 3


def test_whole_pool__no_finding_and_a_hidden_vote__burns_all_it_bound(panel, voting, rival):
    panel.vote(voting, Vote(), Vote(), hidden=(panel.members[1],))
    panel.draw(voting)
    panel.wear_out(voting)
    assert punished(panel.settle(voting, rival)) == [(panel.members[1], SILENCE, VOTE)]
    assert panel.seats.rewardOf(DEAD) == VOTE - REPORTER
    assert panel.seats.rewardOf(rival) == REPORTER


def test_conviction__of_free_answers__pays_the_bounty_of_the_least_lock(panel, registry, owner):
    """With a fee of zero the lock is the market's minimum, and so is the bounty."""
    version = publication(fee=0)
    registry.publishVersion(1, registry.headOf(1), version, {"from": owner})
    delivered = panel.voting(panel.market.delivered(version=2))
    panel.vote(delivered, *[Vote(MISMATCH)] * 3)
    panel.settle(delivered)
    bounty = 10**6 * 30 // 100
    assert rewards(panel) == [(bounty - bounty // 2) // 3] * 3
