"""A member that appeals what its own run contradicts: when, with what, and what it gets."""

import pytest

from oracle.agents.committee.member import AppealPolicy, CommitteeMember
from oracle.agents.committee.vote_worker import VoteOpinion
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.committee import Finding, Stage
from oracle.chain.wallet import Wallet
from oracle.services import balances, committee, requests
from oracle.types import Amount, Wei
from tests.agents.members import (
    DIGEST,
    MEMBERS,
    ONE,
    Stub,
    answered,
    committed,
    play,
    revealed,
    stage,
    to_voting,
)
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real
RIGHT = VoteOpinion(Finding.MATCH, DIGEST, ONE)
ETHER = 10**18


@pytest.fixture
def delivered(world):
    """An answer in a pool of four seats of $200: all are drawn, rounds expect 26 and all 40."""
    for account in (*MEMBERS, dev_account(7)):  # the fourth is run by nobody
        wallet = Wallet(world.network.rpc, account)
        amount = Amount((200 if account == dev_account(7) else 170) * DOLLAR)
        balances.fund(world.network, wallet.address, Amount(200 * DOLLAR))
        committee.enlist(world.network, wallet, amount)
    return answered(world)


@pytest.fixture
def voters(world, tmp_path, request):
    """Two who say that the answer is wrong, and one who finds it right and may appeal."""
    policy = getattr(request, "param", AppealPolicy(Wei(ETHER)))
    policies = (None, None, policy)
    made = [
        CommitteeMember(world.network, account, Stub(), tmp_path / str(n), appeals=appeals)
        for n, (account, appeals) in enumerate(zip(MEMBERS, policies, strict=True))
    ]
    made[2]._worker.found = RIGHT
    yield made
    for voter in made:
        voter.__exit__(None, None, None)


def voted(world, voters, request_id):
    """Let them vote in the present round, and go to the end of its reveals."""
    play(voters, committed(world, request_id))
    world.pass_time(60)
    play(voters, revealed(world, request_id))
    world.pass_time(60)


def test_member__finding_that_its_own_run_contradicts__appeals_and_is_paid(
    world, delivered, voters
):
    chain = world.network.committee
    to_voting(world, voters, delivered)
    voted(world, voters, delivered)
    play(voters, lambda: chain.dispute_of(delivered).round == 1)
    for voter in voters:
        voter._worker.found = RIGHT
    for _ in range(3):
        world.network.rpc.call("evm_mine")
    play(voters, lambda: stage(world, delivered) is Stage.VOTING)
    voted(world, voters, delivered)
    play(voters, lambda: stage(world, delivered) is Stage.CLOSED)
    found = committee.show(world.network, delivered)
    assert found.finding is Finding.MATCH
    assert [(one.size, one.finding) for one in found.rounds] == [
        (26, Finding.MISMATCH),
        (40, Finding.MATCH),
    ]
    assert found.rounds[1].caller == voters[2].address
    assert [move.event for move in found.moves].count("Appealed") == 1
    assert requests.show(world.network, delivered).state.name == "DELIVERED"
    owed = committee.seat(world.network, voters[2].address)
    assert owed.bonds >= found.rounds[1].bond  # back
    assert owed.reward > 0  # a quarter of what the two others lost
    play(voters, lambda: not committee.unsettled(world.network, delivered))
    assert committee.seat(world.network, voters[0].address).stake < 200 * DOLLAR


@pytest.mark.parametrize(
    "voters",
    [AppealPolicy(), AppealPolicy(Wei(1)), AppealPolicy(Wei(ETHER), Amount(50 * DOLLAR))],
    indirect=True,
)
def test_member__no_budget_or_too_little_to_gain__does_not_appeal(world, delivered, voters):
    to_voting(world, voters, delivered)
    voted(world, voters, delivered)
    for _ in range(3):
        for voter in voters:
            voter.cycle()
    dispute = world.network.committee.dispute_of(delivered)
    assert (dispute.round, dispute.stage) == (0, Stage.VOTING)


def test_appeal__by_hand__calls_twice_as_many(world, delivered, voters):
    to_voting(world, voters[:2], delivered)
    play(voters[:2], committed(world, delivered, 2))
    world.pass_time(60)
    play(voters[:2], revealed(world, delivered))
    world.pass_time(60)
    committee.appeal(world.network, world.operator, delivered)
    found = committee.show(world.network, delivered)
    assert (found.round, found.stage, found.rounds[1].size) == (1, Stage.DRAWING, 40)
    assert found.rounds[1].caller == world.operator.address
