"""commit and reveal: who may, when, and that nothing but what was committed to can be revealed."""

import pytest

from tests.contracts.chain import at, chain
from tests.contracts.committee.panel import (
    ACTIVATION,
    CLOSED,
    COMMITTED,
    DRAWING,
    MATCH,
    MISMATCH,
    NONE,
    REVEAL,
    REVEALED,
    SALT,
    VOTE,
    VOTING,
    Vote,
)
from tests.contracts.market import ZERO32, digest, refuses

WORD = digest("a commitment")


@pytest.fixture
def member(panel):
    return panel.members[0]


@pytest.fixture
def committed(panel, voting, member):
    panel.commit(voting, member)
    return voting


# ── commit ──────────────────────────────────────────────────────────────────────────────────────


def test_commit__before_the_draw__reverts(panel, delivered, member):
    panel.challenge(delivered)
    with refuses("StageInvalid", panel.id_of(delivered), DRAWING):
        panel.contract.commit(panel.id_of(delivered), WORD, {"from": member})


def test_commit__when_the_period_is_over__reverts(panel, voting, member):
    until = panel.dispute(voting)["until"]
    at(until)
    with refuses("CommitOver", panel.id_of(voting), until):
        panel.contract.commit(panel.id_of(voting), WORD, {"from": member})


def test_commit__zero__reverts(panel, voting, member):
    with refuses("CommitmentZero"):
        panel.contract.commit(panel.id_of(voting), ZERO32, {"from": member})


def test_commit__not_a_member__reverts(panel, voting, rival):
    with refuses("MemberNotDrawn", panel.id_of(voting), 0, rival):
        panel.contract.commit(panel.id_of(voting), WORD, {"from": rival})


def test_commit__enlisted_after_the_challenge__reverts(panel, delivered, rival):
    panel.challenge(delivered)
    panel.enlist(rival, panel.stake_of(panel.members[0]) * 100)
    panel.draw(delivered)
    with refuses("MemberNotDrawn", panel.id_of(delivered), 0, rival):
        panel.contract.commit(panel.id_of(delivered), WORD, {"from": rival})


def test_commit__twice__reverts(panel, committed, member):
    with refuses("CommitmentExists", panel.id_of(committed), member):
        panel.contract.commit(panel.id_of(committed), WORD, {"from": member})


def test_commit__last_second__is_kept(panel, voting, member):
    at(panel.dispute(voting)["until"] - 1)
    transaction = panel.contract.commit(panel.id_of(voting), WORD, {"from": member})
    request_id = panel.id_of(voting)
    assert dict(transaction.events["VoteCommitted"]) == {
        "requestId": request_id,
        "member": member,
        "round": 0,
        "commitment": WORD,
        "bound": VOTE,
    }
    kept = WORD[:46] + "00" * 10
    assert panel.contract.ballotOf(request_id, 0, member) == (COMMITTED, NONE, VOTE, 0, kept)
    assert panel.seats.seatOf(ZERO32, member)[2] == VOTE
    assert panel.round(voting)["committed"] == VOTE


def test_commit__while_leaving__is_still_a_duty(panel, voting, member):
    panel.seats.startLeave(ZERO32, {"from": member})
    assert "VoteCommitted" in panel.commit(voting, member).events


def test_commitment_of__a_vote__is_what_the_documentation_says(panel, voting, member):
    words = (MISMATCH, digest("my output"), -ACTIVATION, SALT)
    found = panel.contract.commitmentOf(panel.id_of(voting), 2, member, *words)
    assert found == panel.commitment(voting, member, Vote(MISMATCH, -ACTIVATION), 2)


# ── reveal ──────────────────────────────────────────────────────────────────────────────────────


def test_reveal__before_the_commit_period_is_over__reverts(panel, committed, member):
    opens_at = panel.dispute(committed)["until"]
    at(opens_at - 1)
    with refuses("RevealNotOpen", panel.id_of(committed), opens_at):
        panel.reveal(committed, member)


def test_reveal__late__reverts(panel, committed, member):
    until = panel.dispute(committed)["until"] + REVEAL
    at(until)
    with refuses("RevealOver", panel.id_of(committed), until):
        panel.reveal(committed, member)


def test_reveal__no_finding__reverts(panel, committed, member):
    panel.to_reveals(committed)
    with refuses("FindingInvalid", NONE):
        panel.reveal(committed, member, Vote(NONE))


def test_reveal__never_committed__reverts(panel, committed):
    panel.to_reveals(committed)
    with refuses("CommitmentMissing", panel.id_of(committed), panel.members[1]):
        panel.reveal(committed, panel.members[1])


@pytest.mark.parametrize(
    "vote",
    [
        Vote(finding=MISMATCH),
        Vote(activation=ACTIVATION + 1),
        Vote(output_digest=digest("other")),
        Vote(salt=digest("other")),
    ],
)
def test_reveal__something_else__reverts(panel, committed, member, vote):
    panel.to_reveals(committed)
    with refuses("CommitmentMismatch", panel.id_of(committed), member):
        panel.reveal(committed, member, vote)


def test_reveal__copied_commitment__is_worth_nothing(panel, committed, member):
    """Who commits to what another committed to cannot reveal it, even once it is known."""
    copier, request_id = panel.members[1], panel.id_of(committed)
    word = panel.commitment(committed, member, Vote(), 0)
    panel.contract.commit(request_id, word, {"from": copier})
    panel.to_reveals(committed)
    panel.reveal(committed, member)
    with refuses("CommitmentMismatch", request_id, copier):
        panel.reveal(committed, copier)


def test_reveal__a_vote__shows_what_it_found_instead_of_the_commitment(panel, committed, member):
    panel.to_reveals(committed)
    panel.reveal(committed, member, Vote())
    ballot = panel.contract.ballotOf(panel.id_of(committed), 0, member)
    assert ballot == (REVEALED, MATCH, VOTE, ACTIVATION, ZERO32)


def test_reveal__twice__reverts(panel, committed, member):
    panel.to_reveals(committed)
    panel.reveal(committed, member)
    with refuses("VoteRevealedAlready", panel.id_of(committed), member):
        panel.reveal(committed, member)


def test_reveal__dispute_decided__reverts(panel, voting, member):
    panel.vote(voting, Vote(), Vote(), Vote())
    with refuses("StageInvalid", panel.id_of(voting), CLOSED):
        panel.reveal(voting, member)


def test_reveal__first_second__counts(panel, voting, member):
    vote = Vote(MISMATCH, -(2**127))
    panel.commit(voting, member, vote)
    at(panel.dispute(voting)["until"])
    event = panel.reveal(voting, member, vote).events["VoteRevealed"]
    assert dict(event) == {
        "requestId": panel.id_of(voting),
        "member": member,
        "round": 0,
        "finding": MISMATCH,
        "outputDigest": vote.output_digest,
        "activation": -(2**127),
    }
    assert panel.dispute(voting)["stage"] == VOTING
    assert chain[-1].timestamp == panel.dispute(voting)["until"]


def test_reveal__each_vote__counts_at_once(panel, voting):
    first, second, third = panel.members
    votes = {first: Vote(), second: Vote(MISMATCH), third: Vote()}
    for member, vote in votes.items():
        panel.commit(voting, member, vote)
    panel.to_reveals(voting)
    request_id = panel.id_of(voting)
    panel.reveal(voting, first, votes[first])
    assert panel.contract.findingOf(request_id, 0) == NONE  # one vote is no quorum
    panel.reveal(voting, second, votes[second])
    assert panel.contract.findingOf(request_id, 0) == NONE  # a tie
    panel.reveal(voting, third, votes[third])
    assert panel.contract.findingOf(request_id, 0) == MATCH
    found = panel.round(voting)
    assert (found["matched"], found["mismatched"], found["committed"]) == (2 * VOTE, VOTE, 3 * VOTE)
    assert (found["activation"], found["margin"]) == (ACTIVATION, 3 * VOTE)


def test_commit__seat_whose_stake_is_bound__binds_what_is_free(panel):
    """A seat of $20 has four votes of $5 at once."""
    member = panel.members[0]
    for lane in range(4):
        panel.commit(panel.voting(panel.market.delivered(lane=lane)), member)
    voting = panel.voting(panel.market.delivered(lane=4))
    panel.enlist(member, 1 * VOTE // 2)
    event = panel.commit(voting, member).events["VoteCommitted"]
    assert event["bound"] == VOTE // 2


def test_commit__other_votes_bind_the_whole_seat__votes_without_weight_and_is_not_silent(panel):
    """Five challenges at once left a member unable to vote, and it paid for its silence."""
    member = panel.members[0]
    for lane in range(4):
        panel.commit(panel.voting(panel.market.delivered(lane=lane)), member)
    voting = panel.voting(panel.market.delivered(lane=4))
    others = {m: Vote() for m in panel.drawn(voting) if m != member}
    panel.cast(voting, {member: Vote(), **others})
    assert panel.round(voting)["matched"] == len(others) * VOTE
    panel.tally(voting)
    with refuses("MemberNotSilent", panel.id_of(voting), 0, member):
        panel.contract.reportSilence(panel.id_of(voting), 0, member, {"from": panel.challenger})
    panel.settle(voting)
    assert panel.stake_of(member) == 4 * VOTE
