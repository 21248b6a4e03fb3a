"""challenge: who may call the committee, whose members are drawn, and who is not."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.committee.panel import (
    BOND,
    DRAW,
    DRAWING,
    GENERAL,
    MIN_STAKE,
    SEED_DELAY,
)
from tests.contracts.market import DOLLAR, EXACT, WINDOW, digest, publication, refuses

CLASS = digest("torch.export")


def test_challenge__bond_too_low__reverts(panel, delivered):
    with refuses("BondTooLow", 3 * BOND - 1, 3 * BOND):
        panel.challenge(delivered, value=3 * BOND - 1)


def test_challenge__twice__reverts(panel, delivered, rival):
    panel.challenge(delivered)
    with refuses("DisputeExists", panel.id_of(delivered)):
        panel.challenge(delivered, rival)


def test_challenge__after_the_window__reverts(panel, delivered):
    until = delivered[1][1] + WINDOW
    at(until)
    with refuses("ChallengeWindowPassed", panel.id_of(delivered), until):
        panel.challenge(delivered)


def test_challenge__other_delivery__reverts(panel, delivered):
    request, delivery = delivered
    with refuses("RequestStateMismatch", panel.id_of(delivered)):
        panel.challenge((request, (delivery[0], delivery[1] + 1, delivery[2])))


def test_challenge__exact_version__reverts(panel, registry, programs, owner, bob):
    programs.add(digest("program"), {"from": bob})
    version = publication(assurance=EXACT, modelRoot=digest("program"))
    registry.publishVersion(1, registry.headOf(1), version, {"from": owner})
    delivered = panel.market.delivered(version=2)
    with refuses("CallerNotModule", panel.contract):
        panel.challenge(delivered)


@pytest.mark.parametrize("party", ["owner", "operator", "alice", "bob"])
def test_challenge__party_with_a_seat__is_excluded(panel, party, request):
    account = request.getfixturevalue(party)
    panel.enlist(account, 5 * MIN_STAKE)
    panel.season()
    delivered = panel.market.delivered()
    assert panel.challenge(delivered).events["CommitteeCalled"]["eligible"] == 3 * MIN_STAKE
    panel.draw(delivered)
    request_id = panel.id_of(delivered)
    assert panel.contract.isExcluded(request_id, account)
    assert panel.contract.depositOf(request_id, 0, account) == 0
    with refuses("MemberExcluded", request_id, account):
        panel.commit(delivered, account)


def test_challenge__party_in_two_roles__is_counted_once(panel, alice):
    panel.enlist(alice, 5 * MIN_STAKE)
    panel.season()
    delivered = panel.market.delivered()
    event = panel.challenge(delivered, alice).events["CommitteeCalled"]
    assert event["eligible"] == 3 * MIN_STAKE


def test_challenge__in_time__opens_the_dispute(panel, delivered, bob):
    transaction = panel.challenge(delivered, value=3 * BOND + 1)
    request_id = panel.id_of(delivered)
    assert dict(transaction.events["CommitteeCalled"]) == {
        "requestId": request_id,
        "challenger": bob,
        "runtimeClass": GENERAL,
        "eligible": 3 * MIN_STAKE,
    }
    assert dict(transaction.events["RoundCalled"]) == {
        "requestId": request_id,
        "round": 0,
        "caller": bob,
        "size": 3,
        "seedBlock": transaction.block_number + SEED_DELAY,
        "drawUntil": transaction.timestamp + DRAW,
        "bond": 3 * BOND + 1,
    }
    assert panel.market.contract.openDisputesOf(request_id) == 1
    assert panel.dispute(delivered)["stage"] == DRAWING
    assert panel.dispute(delivered)["until"] == transaction.timestamp + DRAW
    assert panel.contract.balance() == 3 * BOND + 1
    assert panel.contract.depositOf(request_id, 0, panel.members[0]) == 0
    with refuses("DisputesOpen", request_id, 1):
        panel.market.finalize(*delivered)


# ── Runtime classes ─────────────────────────────────────────────────────────────────────────────


def classed(panel, owner, stake, declared_first=True):
    """Deliver an answer of a version with a class of its own, and call the committee."""
    for member in panel.members:
        panel.enlist(member, stake, CLASS)
    panel.season()
    if declared_first:
        panel.seats.declareRuntimeClass(1, 1, CLASS, {"from": owner})
        at(now() + 1)
    delivered = panel.market.delivered()
    if not declared_first:
        panel.seats.declareRuntimeClass(1, 1, CLASS, {"from": owner})
    return panel.challenge(delivered).events["CommitteeCalled"]["runtimeClass"]


def test_class__staked_as_high_as_the_general_one__is_drawn_from(panel, owner):
    assert classed(panel, owner, MIN_STAKE) == CLASS


def test_class__declared_after_the_delivery__does_not_count(panel, owner):
    assert classed(panel, owner, MIN_STAKE, declared_first=False) == GENERAL


def test_class__staked_lower_than_the_general_one__does_not_count(panel, owner, rival):
    panel.enlist(rival, MIN_STAKE)
    assert classed(panel, owner, MIN_STAKE) == GENERAL


# ── Sizes ───────────────────────────────────────────────────────────────────────────────────────


def test_first_size__little_at_stake__is_seven(crowd):
    delivered = crowd.market.delivered()
    crowd.challenge(delivered)
    request_id = crowd.id_of(delivered)
    assert crowd.dispute(delivered)["firstSize"] == 7
    assert [crowd.contract.sizeOf(request_id, n) for n in range(6)] == [7, 14, 28, 30, 30, 30]


@pytest.mark.parametrize(("fee", "size"), [(2 * DOLLAR, 27), (10 * DOLLAR, 30)])
def test_first_size__more_at_stake__grows_up_to_the_pool(crowd, registry, owner, fee, size):
    """A majority of 27 binds $70, three times the fee and lock of $22; 133 are not there."""
    version = publication(fee=fee)
    registry.publishVersion(1, registry.headOf(1), version, {"from": owner})
    delivered = crowd.market.delivered(version=2, maxFee=fee)
    needed = crowd.contract.challengeBond(delivered[0], delivered[1][1])
    assert needed == size * BOND
    event = crowd.challenge(delivered).events["RoundCalled"]
    assert (event["size"], event["bond"]) == (size, needed)
