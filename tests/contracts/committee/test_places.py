"""More than twelve: the twelve lowest hashes vote, in whatever order they come."""

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import fund
from tests.contracts.committee.panel import DEAD, GENERAL, MIN_STAKE, PENALTY, SILENCE, Vote
from tests.contracts.market import refuses

SEATS = 18
PLACES = 12


@pytest.fixture(scope="module")
def crowd(empty, accounts):
    """Eighteen members; in the last round twelve are expected to be drawn."""
    for _ in range(SEATS):
        account = accounts.add()
        fund(account, 10**18)
        empty.enlist(account)
        empty.members.append(account)
    empty.season()
    return empty


def rank(panel, delivered, round_, member):
    """Return a member's hash by the formula."""
    seed = bytes.fromhex(str(panel.dispute(delivered)["seed"])[2:])
    words = (seed, bytes.fromhex(panel.id_of(delivered)[2:]), round_, member.address)
    return int.from_bytes(keccak(encode(["bytes32", "bytes32", "uint256", "address"], words)))


@pytest.fixture
def last_round(crowd):
    """Go to the last round of a dispute in which more than twelve are drawn; return the drawn."""
    threshold = (2**256 - 1) // (SEATS * MIN_STAKE) * PLACES * MIN_STAKE
    for lane in range(50):  # the node's block hashes are as they are: try until one suits
        delivered = crowd.voting(crowd.market.delivered(lane=lane))
        ranked = sorted(crowd.members, key=lambda m: rank(crowd, delivered, 2, m))
        drawn = [m for m in ranked if rank(crowd, delivered, 2, m) < threshold]
        if len(drawn) > PLACES:
            break
    crowd.tally(delivered)
    crowd.tally(delivered)
    return delivered, drawn


def test_thirteenth__with_the_highest_hash__finds_no_place(crowd, last_round):
    delivered, drawn = last_round
    for member in drawn[:PLACES]:
        crowd.commit(delivered, member)
    request_id = crowd.id_of(delivered)
    with refuses("RoundFull", request_id, 2):
        crowd.commit(delivered, drawn[PLACES])
    crowd.tally(delivered)
    with refuses("MemberNotSilent", request_id, 2, drawn[PLACES]):
        crowd.contract.reportSilence(request_id, 2, drawn[PLACES], {"from": crowd.challenger})


def test_thirteenth__with_a_lower_hash__takes_the_place_of_the_highest(crowd, last_round):
    delivered, drawn = last_round
    for member in drawn[1 : PLACES + 1]:
        crowd.commit(delivered, member)
    evicted, request_id = drawn[PLACES], crowd.id_of(delivered)
    event = crowd.commit(delivered, drawn[0]).events["VoteEvicted"]
    assert dict(event) == {"requestId": request_id, "member": evicted, "round": 2}
    assert set(crowd.contract.votersOf(request_id, 2)) == set(drawn[:PLACES])
    with refuses("RoundFull", request_id, 2):
        crowd.commit(delivered, evicted)
    crowd.to_reveals(delivered)
    with refuses("CommitmentMissing", request_id, evicted):
        crowd.reveal(delivered, evicted)
    for member in drawn[:PLACES]:
        crowd.reveal(delivered, member)
    transaction = crowd.tally(delivered)
    assert transaction.events["VotersPaid"]["voters"] == PLACES
    assert "VoterPunished" not in transaction.events
    with refuses("MemberNotSilent", request_id, 2, evicted):
        crowd.contract.reportSilence(request_id, 2, evicted, {"from": crowd.challenger})


def test_silent__with_a_lower_hash_than_the_last_of_a_full_round__is_punished(
    crowd, last_round, token, bob
):
    """A full round excuses only those for whom there was no place."""
    delivered, drawn = last_round
    for member in drawn[1 : PLACES + 1]:
        crowd.commit(delivered, member)
    crowd.tally(delivered)
    request_id, burned = crowd.id_of(delivered), token.balanceOf(DEAD)
    transaction = crowd.contract.reportSilence(request_id, 2, drawn[0], {"from": bob})
    assert dict(transaction.events["VoterPunished"]) == {
        "requestId": request_id,
        "member": drawn[0],
        "round": 2,
        "fault": SILENCE,
        "amount": PENALTY,
    }
    assert crowd.stake_of(drawn[0], GENERAL) == MIN_STAKE - PENALTY
    assert token.balanceOf(DEAD) - burned == PENALTY - PENALTY // 5


def test_first_round__draws_few_of_many(crowd):
    delivered = crowd.voting(crowd.market.delivered())
    request_id = crowd.id_of(delivered)
    drawn = [crowd.contract.isDrawn(request_id, 0, member) for member in crowd.members]
    threshold = (2**256 - 1) // (SEATS * MIN_STAKE) * 3 * MIN_STAKE
    assert drawn == [rank(crowd, delivered, 0, member) < threshold for member in crowd.members]
    assert Vote().finding == 1
