"""appeal: who may doubt a finding until when, how rounds grow, and who pays for it."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    APPEAL,
    BOND,
    CLOSED,
    CONTRADICTED,
    DEAD,
    DRAW,
    DRAWING,
    MATCH,
    MIN_STAKE,
    MISMATCH,
    NO_INPUT,
    NO_OUTPUT,
    NONE,
    PENALTY,
    REVEAL,
    SETTLED,
    VOTE,
    VOTING,
    Vote,
    punished,
)
from tests.contracts.market import FEE, LOCK, WRONG_OUTPUT, refuses

REPORTER = PENALTY // 5


@pytest.fixture
def found(crowd):
    """A dispute whose first round convicts: seven members are expected to be drawn."""
    for lane in range(50):  # the chain's block hashes are as they are: try until one suits
        delivered = crowd.voting(crowd.market.delivered(lane=lane))
        if 5 <= len(crowd.drawn(delivered)) <= 9:
            break
    crowd.cast(delivered, dict.fromkeys(crowd.drawn(delivered), Vote(MISMATCH)))
    return delivered


def next_round(crowd, delivered, vote, sender=None):
    """Appeal, draw, and let everybody who is drawn find the same."""
    crowd.appeal(delivered, sender)
    crowd.draw(delivered)
    drawn = crowd.drawn(delivered)
    crowd.cast(delivered, dict.fromkeys(drawn, vote))
    return drawn


# ── Too early, too late, not this one ───────────────────────────────────────────────────────────


def test_appeal__before_the_draw__reverts(crowd, bob):
    delivered = crowd.market.delivered()
    crowd.challenge(delivered)
    with refuses("StageInvalid", crowd.id_of(delivered), DRAWING):
        crowd.contract.appeal(crowd.id_of(delivered), {"from": bob})


def test_appeal__while_votes_can_be_revealed__reverts(crowd, found, bob):
    until = crowd.dispute(found)["until"] + REVEAL
    at(until - 1)
    with refuses("RoundOpen", crowd.id_of(found), until):
        crowd.contract.appeal(crowd.id_of(found), {"from": bob, "value": 14 * BOND})


def test_appeal__when_the_period_is_over__reverts(crowd, found, bob):
    until = crowd.dispute(found)["until"] + REVEAL + APPEAL
    at(until)
    with refuses("AppealOver", crowd.id_of(found), until):
        crowd.contract.appeal(crowd.id_of(found), {"from": bob, "value": 14 * BOND})


def test_appeal__bond_too_low__reverts(crowd, found):
    with refuses("BondTooLow", 14 * BOND - 1, 14 * BOND):
        crowd.appeal(found, value=14 * BOND - 1)


def test_appeal__nothing_was_found__reverts(crowd):
    delivered = crowd.voting(crowd.market.delivered())
    with refuses("AppealNotPossible", crowd.id_of(delivered), 0, NONE):
        crowd.appeal(delivered)


def test_appeal__whole_pool_voted__reverts(panel, voting):
    panel.cast(voting, dict.fromkeys(panel.members, Vote()))
    with refuses("AppealNotPossible", panel.id_of(voting), 0, MATCH):
        panel.appeal(voting)


def test_appeal__twice__reverts(crowd, found, bob):
    crowd.appeal(found)
    with refuses("StageInvalid", crowd.id_of(found), DRAWING):
        crowd.contract.appeal(crowd.id_of(found), {"from": bob, "value": 14 * BOND})


def test_tally__while_it_can_be_appealed__reverts(crowd, found, bob):
    until = crowd.dispute(found)["until"] + REVEAL + APPEAL
    at(until - 1)
    with refuses("RoundOpen", crowd.id_of(found), until):
        crowd.contract.tally(*found, {"from": bob})


# ── What an appeal does ─────────────────────────────────────────────────────────────────────────


def test_appeal__last_second__calls_twice_as_many(crowd, found, operator):
    at(crowd.dispute(found)["until"] + REVEAL + APPEAL - 1)
    request_id = crowd.id_of(found)
    transaction = crowd.contract.appeal(request_id, {"from": operator, "value": 14 * BOND})
    assert dict(transaction.events["Appealed"]) == {
        "requestId": request_id,
        "appellant": operator,
        "round": 0,
        "finding": MISMATCH,
    }
    event = transaction.events["RoundCalled"]
    assert (event["round"], event["size"], event["caller"]) == (1, 14, operator)
    dispute = crowd.dispute(found)
    assert (dispute["stage"], dispute["round"], dispute["tallied"]) == (DRAWING, 1, 1)
    assert dispute["until"] == transaction.timestamp + DRAW


def test_appeals__each_round__doubles_until_the_whole_pool_is_drawn(crowd, found, operator):
    votes = [Vote(), Vote(MISMATCH), Vote()]
    for size, vote in zip((14, 28, 30), votes, strict=True):
        assert crowd.contract.appealBond(crowd.id_of(found)) == size * BOND
        drawn = next_round(crowd, found, vote)
    assert len(drawn) == 30
    at(crowd.dispute(found)["until"] + REVEAL)  # of the whole pool nobody can appeal
    crowd.contract.tally(*found, {"from": operator})
    assert crowd.dispute(found)["finding"] == MATCH


def test_appeal__honest_operator_convicted_by_a_captured_round__is_acquitted_and_paid(
    crowd, found, operator, operators, bob, rival
):
    """A third of the stake captures seven seats; the operator appeals, and they pay for it."""
    captured = crowd.drawn(found)
    lost = len(captured) * VOTE
    honest = next_round(crowd, found, Vote(), operator)
    crowd.tally(found)
    dispute = crowd.dispute(found)
    assert (dispute["stage"], dispute["finding"]) == (CLOSED, MATCH)
    assert operators.stakeOf(operator)[0] == 100 * 10**6
    # its bond is back, with half the challenger's; a quarter of what the votes bound is its pay
    assert crowd.contract.bondOf(operator) == 14 * BOND + 7 * BOND // 2
    assert crowd.seats.rewardOf(operator) == lost // 4
    assert crowd.contract.bondOf(bob) == 0
    transaction = crowd.settle(found, rival)
    assert set(punished(transaction)) == {(m, CONTRADICTED, VOTE) for m in captured}
    assert [crowd.stake_of(m) for m in captured] == [MIN_STAKE - VOTE] * len(captured)
    assert crowd.seats.rewardOf(rival) == len(captured) * REPORTER
    assert crowd.seats.rewardOf(DEAD) == lost // 2 - len(captured) * REPORTER
    crowd.settle(found, rival, round_=1)
    each = (lost // 2 - lost // 4) * VOTE // (len(honest) * VOTE)
    assert {crowd.seats.rewardOf(m) for m in set(honest) - set(captured)} == {each}


def test_appeal__lying_operator_acquitted_by_a_captured_round__is_convicted(
    crowd, operator, operators, rival, bob
):
    delivered = crowd.voting(crowd.market.delivered())
    crowd.cast(delivered, dict.fromkeys(crowd.drawn(delivered), Vote()))
    next_round(crowd, delivered, Vote(MISMATCH), rival)
    transaction = crowd.tally(delivered)
    assert transaction.events["Convicted"]["verdict"] == WRONG_OUTPUT
    assert operators.stakeOf(operator)[0] == 100 * 10**6 - LOCK
    assert crowd.contract.bondOf(rival) == 14 * BOND
    assert crowd.contract.bondOf(bob) == 7 * BOND
    assert crowd.seats.rewardOf(rival) > 0


def test_appeal__against_what_stands__costs_the_bond(crowd, found, operator):
    voters = next_round(crowd, found, Vote(MISMATCH), operator)
    crowd.tally(found)
    assert crowd.contract.bondOf(operator) == 0
    first = crowd.round(found)["mismatched"] // VOTE
    each = 14 * BOND // (first + len(voters))
    crowd.settle(found, round_=1)
    assert crowd.contract.bondOf(voters[0]) in (each, each - 1)


def test_appeal__against_what_stands_beside_a_right_one__gets_nothing_of_what_is_lost(
    crowd, found, operator, rival
):
    lost = len(crowd.drawn(found)) * VOTE  # of the captured round
    next_round(crowd, found, Vote(), operator)
    next_round(crowd, found, Vote(), rival)
    crowd.tally(found)
    assert crowd.seats.rewardOf(operator) == lost // 4
    assert crowd.seats.rewardOf(rival) == 0
    assert crowd.contract.bondOf(rival) == 0


def test_appeal__nobody_draws__leaves_what_it_appealed_against(crowd, found, operator, rival):
    crowd.appeal(found, operator)
    at(crowd.dispute(found)["until"])
    transaction = crowd.contract.lapse(*found, {"from": rival})
    assert transaction.events["Convicted"]["verdict"] == WRONG_OUTPUT
    assert transaction.events["DrawMissed"]["caller"] == operator
    assert crowd.contract.bondOf(operator) == 0


def test_appeal__and_then_silence__calls_larger_rounds_and_annuls(crowd, found, operator, bob):
    """Silence of everybody: who appealed and who challenged get their bonds back."""
    crowd.appeal(found, operator)
    crowd.draw(found)
    transaction = crowd.wear_out(found)
    assert transaction.events["Annulled"]["refund"] == FEE
    assert crowd.dispute(found)["finding"] == NONE
    assert crowd.contract.bondOf(operator) == 14 * BOND
    assert crowd.contract.bondOf(bob) == 7 * BOND
    assert punished(crowd.settle(found)) == []  # without a finding nobody is contradicted


def test_round_without_finding__nobody_draws_the_next__annuls(crowd, rival, bob):
    delivered = crowd.voting(crowd.market.delivered())
    crowd.tally(delivered)
    at(crowd.dispute(delivered)["until"])
    transaction = crowd.contract.lapse(*delivered, {"from": rival})
    assert transaction.events["Annulled"]["refund"] == FEE
    assert crowd.contract.bondOf(bob) == 7 * BOND


def test_round_without_finding__tallied_in_the_last_second__calls_the_next(crowd, bob):
    delivered = crowd.voting(crowd.market.delivered())
    at(crowd.dispute(delivered)["challengedAt"] + crowd.contract.longestDispute() // 5)
    assert "RoundCalled" in crowd.contract.tally(*delivered, {"from": bob}).events


def test_round_without_finding__tallied_too_late__annuls_instead(crowd, bob):
    """Rounds that would outlast the longest dispute would find members that may have left."""
    delivered = crowd.voting(crowd.market.delivered())
    at(crowd.dispute(delivered)["challengedAt"] + crowd.contract.longestDispute() // 5 + 1)
    assert "Annulled" in crowd.contract.tally(*delivered, {"from": bob}).events


def test_pool__leaves_after_the_challenge__still_votes(crowd, found, operator):
    """Who is drawn follows from the stakes of before: a pool cannot shrink below a round's size."""
    for member in crowd.members:
        crowd.seats.startLeave("0x" + "00" * 32, {"from": member})
    assert next_round(crowd, found, Vote(), operator)
    crowd.tally(found)
    assert crowd.dispute(found)["finding"] == MATCH


# ── Sides ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("votes", "finding"),
    [
        ((MISMATCH, NO_OUTPUT, MATCH), MISMATCH),
        ((NO_OUTPUT, NO_OUTPUT, MISMATCH), NO_OUTPUT),
        ((MATCH, NO_INPUT, MISMATCH), MATCH),
        ((NO_INPUT, NO_INPUT, MATCH), NO_INPUT),
    ],
)
def test_sides__bytes_shown_to_some_only__split_nobody(panel, voting, votes, finding):
    panel.vote(voting, *map(Vote, votes))
    assert panel.dispute(voting)["finding"] == finding
    contradicted = [
        m for m, f in zip(panel.members, votes, strict=True) if (f in (2, 4)) != (finding in (2, 4))
    ]
    assert punished(panel.settle(voting)) == [(m, CONTRADICTED, VOTE) for m in contradicted]


def test_settle__twice__passes_over_what_is_settled(crowd, found, rival):
    crowd.tally(found)
    crowd.settle(found, rival)
    before = [crowd.seats.rewardOf(m) for m in crowd.members]
    assert "VoterPaid" not in crowd.settle(found, rival).events
    assert [crowd.seats.rewardOf(m) for m in crowd.members] == before
    voter = next(m for m in crowd.members if crowd.contract.ballotOf(crowd.id_of(found), 0, m)[0])
    assert crowd.contract.ballotOf(crowd.id_of(found), 0, voter)[0] == SETTLED
    assert crowd.seats.seatOf("0x" + "00" * 32, voter)[2] == 0
    assert now()


def test_settle__while_votes_count__reverts(crowd, found):
    with refuses("StageInvalid", crowd.id_of(found), VOTING):
        crowd.settle(found)
