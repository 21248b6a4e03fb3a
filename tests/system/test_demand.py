"""Somebody demands an output's bytes: the operator posts them by itself, or loses its stake."""

import hashlib

import pytest

from oracle.chain.bindings.inference_market import BountyPaid, Convicted, OutputPosted, Verdict
from oracle.store.job import JobState
from oracle.types import Wei
from tests.support import clock
from tests.support.waiting import wait_until
from tests.system.tcp_proxy import TcpProxy
from tests.system.world import DEMAND, FEE, PLENTY, World, kill

pytestmark = pytest.mark.real

CHALLENGED = 1800  # seconds: nothing is settled before time is moved on
BOND = Wei(10**17)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, window=CHALLENGED)
    yield made
    made.close()


@pytest.fixture
def proxy(world):
    made = TcpProxy(int(world.ipfs.api_url.rpartition(":")[2]))
    yield made
    made.close()


def answered(world):
    """Ask once; return the id when the store knows of the delivery."""
    (request_id,) = world.ask(1)
    wait_until(lambda: world.states()[JobState.DELIVERED] == 1, "a delivery")
    return request_id


def demand(world, request_id):
    """Somebody who is not the requester demands the bytes."""
    job = world.job(request_id)
    world.requesters[1].send(world.market.demand_output(job.request, job.delivery, value=BOND))


def assert_posted(world, request_id):
    """Hold the bytes on chain against the digest on chain; the bond pays its gas, and the rest
    goes back."""
    (posted,) = world.events(OutputPosted)
    assert posted.request_id == request_id
    assert hashlib.sha256(posted.output).digest() == world.job(request_id).delivery.output_root
    gas, rest = (world.market.bond_of(who.address) for who in (world.operator, world.requesters[1]))
    assert 0 < gas < BOND
    assert gas + rest == BOND
    assert world.market.open_disputes_of(request_id) == 0


def test_operator__output_demanded__posts_it_and_is_paid(world):
    world.start_worker()
    world.fork_watcher()
    world.fork_submitter()
    request_id = answered(world)
    demand(world, request_id)
    wait_until(lambda: world.events(OutputPosted), "the bytes on chain")
    assert_posted(world, request_id)

    clock.pass_time(world.rpc, CHALLENGED)
    world.wait_settled(1)
    world.assert_exactly_once([request_id])
    assert world.staked() == PLENTY


def test_operator__submitter_killed_with_the_demand_in_hand__posts_it_in_time(world, proxy):
    """The broker would hand the message out again after minutes; the watcher knows the deadline."""
    world.start_worker()
    world.fork_watcher()
    pid = world.fork_submitter(TALLYSTICK_IPFS_API=f"http://127.0.0.1:{proxy.port}")
    request_id = answered(world)
    proxy.switch("hang")
    reached = proxy.connections
    demand(world, request_id)
    wait_until(lambda: proxy.connections > reached, "the submitter asks for the bytes")
    kill(pid)
    assert world.states()[JobState.DEMANDED] == 1
    world.fork_submitter()
    wait_until(lambda: world.events(OutputPosted), "the bytes on chain")
    assert_posted(world, request_id)


def test_operator__ipfs_down_when_demanded__posts_it_when_it_is_back(world, proxy):
    world.start_worker()
    world.fork_watcher()
    world.fork_submitter(TALLYSTICK_IPFS_API=f"http://127.0.0.1:{proxy.port}")
    request_id = answered(world)
    proxy.switch("refuse")
    reached = proxy.connections
    demand(world, request_id)
    wait_until(lambda: proxy.connections > reached + 1, "the submitter tries again")
    proxy.switch("forward")
    wait_until(lambda: world.events(OutputPosted), "the bytes on chain")
    assert_posted(world, request_id)


def test_operator__down_until_the_deadline__is_slashed_and_learns_of_it(world):
    world.start_worker()
    world.fork_watcher()
    pid = world.fork_submitter()
    request_id = answered(world)
    kill(pid)
    demand(world, request_id)
    wait_until(lambda: world.states()[JobState.DEMANDED] == 1, "a message to nobody")
    challenger, requester, job = world.requesters[1], world.requesters[0], world.job(request_id)
    lock = world.market.lock_of(job.request.terms)
    before = world.market.balance_of(requester.address)
    clock.pass_time(world.rpc, DEMAND)
    challenger.send(world.market.convict_withheld(job.request, job.delivery))

    (convicted,) = world.events(Convicted)
    assert (convicted.request_id, convicted.verdict) == (request_id, Verdict.WITHHELD)
    assert world.staked() == PLENTY - lock.total
    paid_back = world.market.balance_of(requester.address) - before
    assert paid_back == FEE + lock.compensation
    bounties = world.events(BountyPaid)
    assert {event.account for event in bounties} == {challenger.address}
    assert sum(event.amount for event in bounties) == lock.bounty
    assert world.market.bond_of(challenger.address) == BOND

    wait_until(lambda: world.states()[JobState.FAILED] == 1, "the operator knows")
    sent = world.nonce()
    world.fork_submitter()  # finds the message of the demand that is over
    wait_until(lambda: "submit.skipped" in (world.home / "submit.log").read_text(), "a look")
    assert world.nonce() == sent
