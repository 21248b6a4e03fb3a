"""A float answer that the committee is called about, and members that vote on it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oracle.agents.agent import Agent
from oracle.agents.committee.vote_worker import VoteOpinion
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.committee import BallotState, Finding, Stage
from oracle.chain.wallet import Wallet
from oracle.errors import Unavailable
from oracle.services import balances, committee, inference, quoting, requests
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.types import Activation, Amount, Bytes32, RequestId
from tests.services.conftest import DOLLAR, World

MEMBERS = tuple(dev_account(number) for number in (4, 5, 6))
ONE = Activation(10**9)
DIGEST = Bytes32(b"\x07" * 32)


class Stub:
    """A worker that finds what it is told."""

    def __init__(self, finding: Finding = Finding.MISMATCH, activation: Activation = ONE) -> None:
        self.found = VoteOpinion(finding, DIGEST, activation)
        self.jobs: list[Mapping[str, Any]] = []
        self.away = False

    def opinion(self, job: Mapping[str, Any]) -> VoteOpinion:
        self.jobs.append(job)
        if self.away:
            raise Unavailable("the device is away")
        return self.found

    def close(self) -> None:
        pass


def asked(world: World) -> RequestId:
    """Make a request and return its id."""
    wanted = Ask(Selected(1, None), "[[[[0.0, 0.5], [1.0, 0.25]]]]")
    prepayment = quoting.quote(world.network, world.requester.address, wanted, stdin=lambda: b"")
    return inference.ask(world.network, world.requester, prepayment).request_id


def answered(world: World) -> RequestId:
    """Return an answer of a float model, with three members who were there before."""
    for account in MEMBERS:
        wallet = Wallet(world.network.rpc, account)
        balances.fund(world.network, wallet.address, Amount(100 * DOLLAR))
        committee.enlist(world.network, wallet, Amount(30 * DOLLAR))
    world.pass_time(10)
    model_id = world.publish(challenge_window=600).model_id
    world.serve(model_id)
    world.prepay(10 * DOLLAR)
    request_id = asked(world)
    world.deliver(requests.show(world.network, request_id), [1.0, 2.0, 3.0])
    return request_id


def play(voters: Sequence[Agent], done: Callable[[], bool], rounds: int = 200) -> None:
    """Let the voters look until something is so."""
    for _ in range(rounds):
        for voter in voters:
            voter.cycle()
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def stage(world: World, request_id: RequestId) -> Stage:
    return world.network.committee.dispute_of(request_id).stage


def to_voting(world: World, voters: Sequence[Agent], request_id: RequestId) -> None:
    committee.challenge(world.network, world.stranger, request_id)
    for _ in range(3):
        world.network.rpc.call("evm_mine")
    play(voters, lambda: stage(world, request_id) is Stage.VOTING)


def _states(world: World, request_id: RequestId) -> list[BallotState]:
    """Return where the members' votes of the present round stand."""
    chain = world.network.committee
    round_ = chain.dispute_of(request_id).round
    return [chain.ballot_of(request_id, round_, one.address).state for one in MEMBERS]


def committed(world: World, request_id: RequestId, count: int = 3) -> Callable[[], bool]:
    def done() -> bool:
        return len(_states(world, request_id)) - _states(world, request_id).count(0) == count

    return done


def revealed(world: World, request_id: RequestId) -> Callable[[], bool]:
    def done() -> bool:
        return BallotState.COMMITTED not in _states(world, request_id)

    return done
