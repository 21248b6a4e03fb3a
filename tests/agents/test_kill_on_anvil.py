"""Four agents, killed at a transaction: the next process goes on, and nothing is sent twice."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from oracle.agents.agent import Agent
from oracle.agents.committee.member import CommitteeMember
from oracle.agents.valuation import checking
from oracle.agents.valuation.challenger import ValuationChallenger
from oracle.agents.valuation.valuator import Valuator
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.committee import Finding, Stage
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.chain.wallet import Wallet
from oracle.services import requests
from oracle.services.network import Network
from oracle.services.request_timeline import RequestState
from oracle.types import Address
from tests.agents import members
from tests.agents.challenger.conftest import CHALLENGER, arena_of
from tests.agents.deadly import deadly
from tests.agents.valuation.conftest import HELD
from tests.agents.valuation.play import Round
from tests.services.conftest import World
from tests.support.killing import Killed
from worker import faults

pytestmark = pytest.mark.real
WINDOW = 60  # seconds


@dataclass(frozen=True)
class Life:
    """What one agent has to do, from its first look to its last transaction."""

    account: LocalAccount
    open: Callable[[Network], Agent]
    others: Callable[[], None]  # what the others do while it waits
    done: Callable[[], bool]
    sends: int  # transactions


def challenger(world: World, folder: Path) -> Life:
    """An operator serves the trace of a wrong answer."""
    arena = arena_of(world, folder)
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    return Life(
        CHALLENGER,
        open=lambda network: arena.challenger(network=network),
        others=lambda: None,
        done=lambda: requests.show(world.network, request_id).state is RequestState.CONVICTED,
        sends=2,  # challenge, prove
    )


def committee_member(world: World, folder: Path) -> Life:
    """One of three members; the answer that was delivered is wrong."""
    request_id = members.answered(world)
    first, *accounts = members.MEMBERS
    stubs = [members.Stub() for _ in members.MEMBERS]
    voters = [
        CommitteeMember(world.network, account, stub, folder / account.address)
        for account, stub in zip(accounts, stubs[1:], strict=True)
    ]
    members.to_voting(world, voters, request_id)

    def opened(network: Network) -> Agent:
        member = CommitteeMember(network, first, stubs[0], folder / "me")
        stubs[0].found = members.VoteOpinion(Finding.MATCH, members.DIGEST, members.ONE)
        return member  # which would find something else if it were asked again

    def others() -> None:
        committed, revealed = (
            step(world, request_id)() for step in (members.committed, members.revealed)
        )
        now = world.network.history.now()
        dispute = world.network.committee.dispute_of(request_id)
        reveal_until = dispute.until + world.network.committee.config().reveal_period
        if committed and now < dispute.until:
            world.pass_time(dispute.until - now)
        elif committed and revealed and now < reveal_until:
            world.pass_time(reveal_until - now)
        for voter in voters:
            voter.cycle()

    def done() -> bool:
        over = members.stage(world, request_id) is Stage.CLOSED
        if over:
            for voter in voters:
                voter.__exit__(None, None, None)
            found = world.network.committee.dispute_of(request_id).finding
            assert found is Finding.MISMATCH
            assert world.network.committee.ballot_of(request_id, 0, first.address).finding
            assert len(stubs[0].jobs) == 1
        return over

    return Life(first, opened, others, done, sends=2)  # commit, reveal


def valuator(world: World, folder: Path) -> Life:
    """A sealed round, and nobody who doubts its values."""
    round_ = Round(world, HELD, folder).seal()
    wallet = Wallet(world.network.rpc, dev_account(11))
    round_.stake(wallet)
    chain = world.network.valuations

    def opened(network: Network) -> Agent:
        jobs, _ = round_.jobs("jobs")
        return Valuator(network, dev_account(11), jobs, folder / "agent")

    def others() -> None:
        if chain.case_of(round_.id).published:
            world.pass_time(WINDOW)

    def done() -> bool:
        settled = world.network.data_rounds.round_of(round_.id).stage is RoundStage.SETTLED
        return settled and not world.network.data_rounds.balance_of(wallet.address)

    return Life(dev_account(11), opened, others, done, 4)  # claim, publish, settle, withdraw


def valuation_challenger(world: World, folder: Path) -> Life:
    """A valuation with a wrong number."""
    round_ = Round(world, HELD, folder).seal()
    liar, me = (Wallet(world.network.rpc, dev_account(number)) for number in (11, 13))
    round_.stake(liar)
    round_.stake(me, 1)
    jobs, _ = round_.jobs("jobs", wanted=frozenset({faults.FALSE_VALUE}))
    with Valuator(world.network, dev_account(11), jobs, folder / "liar") as running:
        while running.cycle():
            pass
    before = world.network.token.balance_of(me.address)
    recompute = checking.Recomputer(world.network.settings)
    return Life(
        dev_account(13),
        open=lambda network: ValuationChallenger(
            network, dev_account(13), recompute, folder / "agent"
        ),
        others=lambda: None,
        done=lambda: world.network.token.balance_of(me.address) > before,
        sends=3,  # announce, prove, withdraw the reward
    )


KILLS = [  # agent, at which transaction, whether the node has taken it
    (challenger, 1, False),
    (challenger, 1, True),
    (challenger, 2, False),
    (challenger, 2, True),
    (committee_member, 1, False),
    (committee_member, 2, True),
    (valuator, 1, False),
    (valuator, 2, True),
    (valuation_challenger, 1, False),
    (valuation_challenger, 2, True),
]


def live(agent: Agent, life: Life) -> None:
    """Let an agent work to the end of its case."""
    for _ in range(400):
        moved = agent.cycle()
        if life.done():
            agent.settle()
            return
        if not moved:
            life.others()
            time.sleep(0.01)  # for the thread that computes a vote
    raise AssertionError("its case never ends")


def nonce(world: World, address: Address) -> int:
    return int(world.network.rpc.call("eth_getTransactionCount", address, "latest"), 16)


@pytest.mark.parametrize(("prepare", "at", "after"), KILLS)
def test_cycle__killed_at_a_transaction__next_process_goes_on_and_sends_nothing_twice(
    world: World, tmp_path: Path, prepare: Callable[[World, Path], Life], at: int, after: bool
) -> None:
    life = prepare(world, tmp_path / "life")
    before = nonce(world, life.account.address)
    with pytest.raises(Killed), life.open(deadly(world.network, at, after=after)) as dying:
        live(dying, life)

    with life.open(world.network) as agent:
        live(agent, life)

    assert nonce(world, life.account.address) - before == life.sends
