"""tally: whole disputes, from the challenge to what everybody gets."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    ACTIVATION,
    ACTIVATION_OFF,
    BOND,
    CHALLENGED,
    CLOSED,
    DEAD,
    GENERAL,
    LONGEST,
    MATCH,
    MIN_STAKE,
    MINORITY,
    MISMATCH,
    NO_INPUT,
    NO_OUTPUT,
    NONE,
    PENALTY,
    SILENCE,
    TOLERANCE,
    VOTING,
    Vote,
    blind,
)
from tests.contracts.market import DOLLAR, FEE, LOCK, MULTIPLE, WRONG_OUTPUT, publication, refuses

REACH = TOLERANCE + TOLERANCE * ACTIVATION // 10**9
SHARE = LOCK * 30 // 100 - LOCK * 30 // 100 // 2  # of the bounty, for the prover


def punished(transaction):
    """Return (member, fault, amount) of everybody that a transaction punished."""
    if "VoterPunished" not in transaction.events:
        return []
    return [(e["member"], e["fault"], e["amount"]) for e in transaction.events["VoterPunished"]]


# ── Too early, too late, not this one ───────────────────────────────────────────────────────────


def test_tally__before_the_draw__reverts(panel, delivered):
    panel.challenge(delivered)
    with refuses("StageInvalid", panel.id_of(delivered), CHALLENGED):
        panel.contract.tally(*delivered, {"from": panel.challenger})


def test_tally__while_votes_can_be_revealed__reverts(panel, voting):
    until = panel.dispute(voting)["revealUntil"]
    at(until - 1)
    with refuses("RoundOpen", panel.id_of(voting), until):
        panel.contract.tally(*voting, {"from": panel.challenger})


def test_tally__other_delivery__reverts(panel, voting, bob):
    request, delivery = voting
    at(panel.dispute(voting)["revealUntil"])
    with refuses("RequestStateMismatch", panel.id_of(voting)):
        panel.contract.tally(request, (bob, *delivery[1:]), {"from": bob})


def test_tally__decided__reverts(panel, voting):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("StageInvalid", panel.id_of(voting), CLOSED):
        panel.contract.tally(*voting, {"from": panel.challenger})


# ── Majorities ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.life
def test_match__pays_operator_and_voters_of_the_bond(panel, voting, operator, rival, bob):
    transaction = panel.vote(voting, Vote(), Vote(), Vote())
    request_id = panel.id_of(voting)
    assert dict(transaction.events["RoundTallied"]) == {
        "requestId": request_id,
        "round": 0,
        "finding": MATCH,
        "valid": 3,
        "median": ACTIVATION,
    }
    half = BOND - BOND // 2
    assert dict(transaction.events["VotersPaid"]) == {
        "requestId": request_id,
        "voters": 3,
        "tokensEach": 0,
        "weiEach": half // 3,
    }
    shares = [panel.contract.bondOf(member) for member in panel.members]
    assert shares == [half // 3 + half % 3, half // 3, half // 3]
    assert panel.contract.bondOf(operator) == BOND // 2
    assert panel.contract.bondOf(bob) == 0
    assert punished(transaction) == []
    dispute = panel.dispute(voting)
    assert (dispute["stage"], dispute["finding"], dispute["tallied"]) == (CLOSED, MATCH, 1)
    assert "Finalized" in panel.market.finalize(*voting).events


def test_match__answer_settled__cannot_be_challenged_again(panel, voting, rival):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("DisputeExists", panel.id_of(voting)):
        panel.challenge(voting, rival)


@pytest.mark.life
def test_mismatch__convicts_and_shares_the_bounty(
    panel, voting, token, operators, operator, alice, bob
):
    market = panel.market.contract
    before = market.balanceOf(alice)
    wrong = Vote(MISMATCH)
    transaction = panel.vote(voting, wrong, wrong, wrong)
    request_id = panel.id_of(voting)
    assert transaction.events["Convicted"]["verdict"] == WRONG_OUTPUT
    paid = [(e["account"], e["amount"]) for e in transaction.events["BountyPaid"]]
    assert paid == [(bob, LOCK * 30 // 100 // 2), (panel.contract, SHARE)]
    assert market.balanceOf(alice) == before + FEE + MULTIPLE * FEE
    assert operators.stakeOf(operator) == (100 * DOLLAR - LOCK, 0, True)
    assert panel.contract.bondOf(bob) == BOND
    rewards = [panel.contract.rewardOf(member) for member in panel.members]
    assert sum(rewards) == SHARE
    assert rewards[1:] == [SHARE // 3, SHARE // 3]
    assert market.balanceOf(panel.contract) == 0
    assert token.balanceOf(panel.contract) == 3 * MIN_STAKE + SHARE
    assert dict(transaction.events["BondReleased"]) == {
        "requestId": request_id,
        "challenger": bob,
        "amount": BOND,
    }
    assert panel.dispute(voting)["finding"] == MISMATCH


@pytest.mark.parametrize(("finding", "loser"), [(NO_INPUT, "operator"), (NO_OUTPUT, "bob")])
def test_unavailable__annuls_and_pays_the_voters(
    panel, voting, operators, operator, alice, bob, finding, loser, request
):
    before = panel.market.contract.balanceOf(alice)
    transaction = panel.vote(voting, Vote(finding), Vote(finding), Vote(finding))
    assert transaction.events["Annulled"]["refund"] == FEE
    assert panel.market.contract.balanceOf(alice) == before + FEE
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    other = request.getfixturevalue(loser)  # who gets the half that is not the voters'
    assert panel.contract.bondOf(other) == BOND // 2
    voters = sum(panel.contract.bondOf(member) for member in panel.members)
    assert voters == BOND - BOND // 2
    assert panel.dispute(voting)["finding"] == finding


def test_minority__loses_a_quarter_of_the_penalty(panel, voting, token):
    burned = token.balanceOf(DEAD)
    transaction = panel.vote(voting, Vote(MISMATCH), Vote(), Vote(MISMATCH))
    member = panel.members[1]
    assert punished(transaction) == [(member, MINORITY, PENALTY // 4)]
    assert panel.stake_of(member) == MIN_STAKE - PENALTY // 4
    assert panel.contract.rewardOf(member) == 0
    assert token.balanceOf(DEAD) - burned == PENALTY // 4 + LOCK * 20 // 100
    assert panel.dispute(voting)["finding"] == MISMATCH


def test_missing_input__found_by_a_minority__needs_no_activation(panel, voting):
    transaction = panel.vote(voting, Vote(), blind(7, NO_INPUT), Vote())
    assert punished(transaction) == [(panel.members[1], MINORITY, PENALTY // 4)]
    assert panel.dispute(voting)["finding"] == MATCH


# ── Activations ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off", [REACH, -REACH])
def test_activation__at_the_edge_of_the_tolerance__counts(panel, voting, off):
    transaction = panel.vote(voting, Vote(), Vote(activation=ACTIVATION + off), Vote())
    assert transaction.events["RoundTallied"]["valid"] == 3
    assert punished(transaction) == []


@pytest.mark.parametrize("off", [REACH + 1, -REACH - 1, -(2**127) - ACTIVATION])
def test_activation__beyond_the_tolerance__is_void_and_slashed(panel, voting, off):
    transaction = panel.vote(voting, Vote(), Vote(activation=ACTIVATION + off), Vote())
    assert punished(transaction) == [(panel.members[1], ACTIVATION_OFF, PENALTY)]
    assert transaction.events["RoundTallied"]["valid"] == 2
    assert panel.dispute(voting)["round"] == 1  # two are no quorum


def test_blind_agreement__is_caught(panel, accounts):
    """Two agree on a finding that they did not compute: the three who ran the model decide."""
    for account in (accounts[2], accounts[6]):
        panel.enlist(account)
        panel.members.append(account)
    panel.season()
    # with fifteen tries at k = 3 of 5 seats, some round has all five drawn; round 1 has k = 6
    delivered = panel.voting(panel.market.delivered())
    panel.vote(delivered)
    assert panel.dispute(delivered)["round"] == 1
    lies = [blind(7, MISMATCH), blind(-12, MISMATCH)]
    transaction = panel.vote(delivered, Vote(), Vote(), Vote(), *lies)
    blind_ones = panel.members[3:]
    assert punished(transaction) == [(m, ACTIVATION_OFF, PENALTY) for m in blind_ones]
    assert panel.dispute(delivered)["finding"] == MATCH
    del panel.members[3:]


def test_activations__none_agrees_with_most__nobody_is_punished_and_more_are_drawn(panel, voting):
    transaction = panel.vote(voting, blind(1), blind(10**6), blind(10**12))
    assert transaction.events["RoundTallied"]["valid"] == 0
    assert punished(transaction) == []
    assert panel.dispute(voting)["round"] == 1


# ── Rounds ──────────────────────────────────────────────────────────────────────────────────────


def test_tie__doubles_until_there_is_no_verdict(
    panel, voting, operators, operator, alice, bob, token
):
    """Three voters, three findings: no majority in any round. Nobody is slashed for that."""
    before, split = panel.market.contract.balanceOf(alice), (MATCH, MISMATCH, NO_OUTPUT)
    for round_ in range(3):
        dispute = panel.dispute(voting)
        assert (dispute["stage"], dispute["round"], dispute["tallied"]) == (VOTING, round_, round_)
        transaction = panel.vote(voting, *map(Vote, split))
        assert punished(transaction) == []
        if round_ < 2:
            assert transaction.events["RoundStarted"]["round"] == round_ + 1
    assert panel.dispute(voting)["stage"] == CLOSED
    assert panel.dispute(voting)["finding"] == NONE
    assert transaction.events["Annulled"]["refund"] == FEE
    assert panel.market.contract.balanceOf(alice) == before + FEE
    assert panel.contract.bondOf(bob) == BOND
    assert operators.stakeOf(operator) == (100 * DOLLAR, 0, True)
    assert [panel.stake_of(member) for member in panel.members] == [MIN_STAKE] * 3
    assert token.balanceOf(panel.contract) == 3 * MIN_STAKE


def test_second_round__decides_what_the_first_did_not(panel, voting):
    panel.vote(voting, Vote(), Vote(MISMATCH), Vote(NO_OUTPUT))
    panel.vote(voting, Vote(), Vote(MISMATCH), Vote())
    dispute = panel.dispute(voting)
    assert (dispute["stage"], dispute["finding"], dispute["tallied"]) == (CLOSED, MATCH, 2)


def test_later_round__tallied_too_late__annuls_instead(panel, voting, bob):
    """Rounds that would outlast the longest dispute would draw members that may have left."""
    at(panel.dispute(voting)["challengedAt"] + LONGEST)
    transaction = panel.contract.tally(*voting, {"from": bob})
    assert "Annulled" in transaction.events
    assert panel.contract.bondOf(bob) == BOND


def test_silence__committed_and_not_revealed__is_slashed_at_the_tally(panel, voting, token):
    burned = token.balanceOf(DEAD)
    hidden = (panel.members[2],)
    transaction = panel.vote(voting, Vote(), Vote(), Vote(), hidden=hidden)
    assert punished(transaction) == [(panel.members[2], SILENCE, PENALTY)]
    assert token.balanceOf(DEAD) == burned + PENALTY
    assert panel.dispute(voting)["round"] == 1
    # its seat is below the minimum now: it has no weight from the next challenge on
    assert panel.contract.weightAt(GENERAL, panel.members[2], now()) == 0
    assert panel.contract.poolAt(GENERAL, now()) == 2 * MIN_STAKE


def test_silence__of_who_leaves__is_slashed_too(panel, voting):
    member = panel.members[2]
    panel.contract.startLeave(GENERAL, {"from": member})
    panel.vote(voting, Vote(), Vote(), Vote(), hidden=(member,))
    assert panel.stake_of(member) == MIN_STAKE - PENALTY
    assert panel.contract.weightAt(GENERAL, member, now()) == 0


def test_nobody_votes__three_rounds__annulled(panel, voting, bob):
    for _ in range(3):
        transaction = panel.tally(voting)
    assert "Annulled" in transaction.events
    assert panel.contract.bondOf(bob) == BOND


def test_conviction__of_free_answers__pays_no_bounty_when_nothing_is_locked(
    panel, registry, owner, contract
):
    """With a fee of zero the lock is the market's minimum, and so is the bounty."""
    version = publication(fee=0)
    registry.publishVersion(1, registry.headOf(1), version, {"from": owner})
    delivered = panel.voting(panel.market.delivered(version=2))
    wrong = Vote(MISMATCH)
    panel.vote(delivered, wrong, wrong, wrong)
    rewards = sum(panel.contract.rewardOf(member) for member in panel.members)
    assert rewards == DOLLAR * 30 // 100 - DOLLAR * 30 // 100 // 2
