"""Members that vote by themselves, on a chain: what they send and when, also after a crash."""

import sqlite3
from contextlib import closing

import pytest

from oracle.agents.committee.member import CommitteeMember
from oracle.agents.committee.vote_worker import VoteOpinion
from oracle.chain.anvil import dev_account
from oracle.chain.arguments import GENERAL
from oracle.chain.bindings.committee import Finding, Stage
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.errors import ConfigInvalid, PermanentError
from oracle.protocol.canonical import keccak
from oracle.services import balances, committee, requests
from oracle.types import Amount
from tests.agents.deadly import deadly
from tests.agents.members import (
    DIGEST,
    ONE,
    Stub,
    answered,
    asked,
    committed,
    play,
    revealed,
    stage,
    to_voting,
)
from tests.services.conftest import DOLLAR
from tests.support.killing import Killed

pytestmark = pytest.mark.real


@pytest.fixture
def delivered(world):
    return answered(world)


@pytest.fixture
def stubs():
    return [Stub(), Stub(), Stub()]


@pytest.fixture
def voters(world, stubs, tmp_path):
    made = [
        CommitteeMember(world.network, dev_account(4 + n), stub, tmp_path / str(n))
        for n, stub in enumerate(stubs)
    ]
    yield made
    for voter in made:
        voter.__exit__(None, None, None)


def votes(folder):
    """Return what a member committed to, as its store has it."""
    with closing(sqlite3.connect(folder / "agent.db")) as database:
        return database.execute("SELECT subject, salt, content FROM commitments").fetchall()


def to_the_end(world, voters, request_id, count=3):
    play(voters, committed(world, request_id, count))
    world.pass_time(60)
    play(voters, revealed(world, request_id))
    world.pass_time(60)
    play(voters, lambda: stage(world, request_id) is Stage.CLOSED)


# ── People ──────────────────────────────────────────────────────────────────────────────────────


def test_show__nobody_called__permanent_error(world, delivered):
    with pytest.raises(PermanentError, match="nobody called"):
        committee.show(world.network, delivered)


def test_challenge__unanswered__permanent_error(world, delivered):
    with pytest.raises(PermanentError, match="no answer"):
        committee.challenge(world.network, world.stranger, asked(world))


def test_advance__nothing_open__permanent_error(world, delivered):
    with pytest.raises(PermanentError, match="no open dispute"):
        committee.advance(world.network, world.stranger, delivered)


def test_advance__missed_draw__ends_the_dispute(world, delivered):
    committee.challenge(world.network, world.stranger, delivered)
    with pytest.raises(ContractError, match="can be drawn after block"):
        committee.advance(world.network, world.stranger, delivered)
    world.pass_time(130)
    sent = committee.advance(world.network, world.stranger, delivered)
    assert "never drawn" in sent.what
    found = committee.show(world.network, delivered)
    assert found.stage is Stage.CLOSED
    assert [move.event for move in found.moves] == ["CommitteeCalled", "RoundCalled", "DrawMissed"]
    assert committee.withdraw(world.network, world.operator)[0].what == "withdraw bonds"


def test_leave__twice__starts_and_finishes(world, delivered):
    member = Wallet(world.network.rpc, dev_account(4))
    committee.leave(world.network, member)
    seat = committee.seat(world.network, member.address)
    assert (seat.stake, seat.release_at > 0) == (30 * DOLLAR, True)
    world.pass_time(world.network.seats.config().leave_delay)
    committee.leave(world.network, member)
    assert committee.seat(world.network, member.address).stake == 0


def test_runtime_class__by_name__is_its_hash():
    assert committee.runtime_class("") == GENERAL
    assert committee.runtime_class("torch.export") == keccak(b"torch.export")


# ── Members at work ─────────────────────────────────────────────────────────────────────────────


def test_voter__folder_in_use__config_invalid(world, voters, tmp_path):
    with pytest.raises(ConfigInvalid):
        CommitteeMember(world.network, dev_account(4), Stub(), tmp_path / "0")


def test_voters__wrong_answer__convict_the_operator(world, delivered, voters, stubs):
    to_voting(world, voters, delivered)
    to_the_end(world, voters, delivered)
    found = committee.show(world.network, delivered)
    assert found.finding is Finding.MISMATCH
    assert requests.show(world.network, delivered).state.name == "CONVICTED"
    job = stubs[0].jobs[0]
    info = requests.show(world.network, delivered)
    assert job["input_root"] == "0x" + info.request.input_root.hex()
    assert job["output_root"] == "0x" + info.delivery.output_root.hex()
    assert job["tolerance"] == 1000
    assert job["units"] == 0
    play(voters, lambda: not committee.unsettled(world.network, delivered))
    for number in (4, 5, 6):
        wallet = Wallet(world.network.rpc, dev_account(number))
        found_seat = committee.seat(world.network, wallet.address)
        assert (found_seat.reward > 0, found_seat.bound) == (True, 0)
        assert [s.what for s in committee.withdraw(world.network, wallet)] == ["withdraw rewards"]
    assert committee.list_disputes(world.network) == ()
    assert len(committee.list_disputes(world.network, every=True)) == 1


def test_voters__right_answer__close_the_dispute(world, delivered, voters, stubs):
    for stub in stubs:
        stub.found = VoteOpinion(Finding.MATCH, DIGEST, ONE)
    to_voting(world, voters, delivered)
    to_the_end(world, voters, delivered)
    assert committee.show(world.network, delivered).finding is Finding.MATCH
    assert requests.show(world.network, delivered).state.name == "DELIVERED"


def test_voter__crash_after_the_vote_was_kept__commits_to_the_same_vote(
    world, delivered, voters, stubs, tmp_path
):
    to_voting(world, voters, delivered)
    voters[0].__exit__(None, None, None)
    dying = deadly(world.network, 1, after=False)
    crashed = CommitteeMember(dying, dev_account(4), stubs[0], tmp_path / "0")
    with crashed, pytest.raises(Killed):
        play([crashed], lambda: False)
    (kept,) = votes(tmp_path / "0")
    stubs[0].found = VoteOpinion(Finding.MATCH, DIGEST, ONE)  # it would find something else now
    voters[0] = CommitteeMember(world.network, dev_account(4), stubs[0], tmp_path / "0")
    to_the_end(world, voters, delivered)
    assert votes(tmp_path / "0") == [kept]
    assert committee.show(world.network, delivered).finding is Finding.MISMATCH
    assert len(stubs[0].jobs) == 1


def test_voter__vote_lost__reveals_nothing(world, delivered, voters, tmp_path):
    to_voting(world, voters, delivered)
    play(voters, committed(world, delivered))
    with sqlite3.connect(tmp_path / "0" / "agent.db") as database:
        assert database.execute("DELETE FROM commitments").rowcount == 1
    world.pass_time(60)
    for _ in range(3):
        voters[0].cycle()
    member = dev_account(4).address
    assert world.network.committee.ballot_of(delivered, 0, member).finding is Finding.NONE


def test_voter__cannot_compute__is_silent_and_reported_by_the_others(
    world, delivered, voters, stubs
):
    stubs[0].away = True
    wallet = Wallet(world.network.rpc, dev_account(7))
    balances.fund(world.network, wallet.address, Amount(100 * DOLLAR))
    to_voting(world, voters, delivered)
    voters[0].cycle()
    to_the_end(world, voters[1:], delivered, 2)
    silent, chain = dev_account(4).address, world.network.committee
    play(voters[1:], lambda: bool(chain.ballot_of(delivered, 0, silent).state))
    assert committee.seat(world.network, silent).stake == 29 * DOLLAR


def test_voter__request_ended_otherwise__frees_the_bond(world, delivered, voters):
    to_voting(world, voters, delivered)
    info = requests.show(world.network, delivered)
    market = world.network.market
    world.stranger.send(market.demand_output(info.request, info.delivery, value=10**16))
    world.pass_time(5_000)  # beside a dispute, once that should have ended
    world.stranger.send(market.convict_withheld(info.request, info.delivery))
    play(voters, lambda: stage(world, delivered) is Stage.CLOSED)
    assert world.network.committee.bond_of(world.stranger.address) > 0


def test_run__stopped__returns(world, delivered, voters):
    seen = iter([False, False, True])
    voters[0].run(lambda: next(seen), lambda _: None, 1.0)


def test_enlist__money_missing__contract_error(world):
    with pytest.raises(ContractError):
        committee.enlist(world.network, world.stranger, Amount(10**12))
