"""A float answer of a channel is summoned by its payer and judged by members that run the model."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from oracle.agents.committee.member import CommitteeMember
from oracle.agents.committee.vote_worker import VoteOpinion
from oracle.chain.bindings.committee import Finding, Stage
from oracle.chain.wallet import Wallet
from oracle.services import balances, committee, requests
from oracle.services.request_timeline import RequestState
from oracle.types import Amount, RequestId
from tests.agents.members import MEMBERS, committed, play, revealed, stage, to_voting
from tests.services.conftest import DOLLAR, World
from tests.support import clock
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop, shop
from worker import runtimes
from worker.cache import FileCache
from worker.models import ModelPool
from worker.runtimes.base import Array, Runtime
from worker.vote import VoteJob, find

__all__ = ["shop"]
pytestmark = pytest.mark.real


class Wrong:
    """A runtime that adds one to each number of an answer."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.nbytes = runtime, runtime.nbytes

    def run(self, *arguments: Any) -> dict[str, Array]:
        return {name: array + 1 for name, array in self.runtime.run(*arguments).items()}


class InProcess:
    """What `worker --role vote` does, in this process: the model is run."""

    def __init__(self, world: World, pool: ModelPool) -> None:
        self.world, self.pool = world, pool

    def opinion(self, job: Mapping[str, Any]) -> VoteOpinion:
        found = find(VoteJob.parse(job), self.pool, self.world.ipfs)
        return VoteOpinion(found.finding, found.output_digest, found.activation)

    def close(self) -> None:
        pass


@pytest.fixture
def members(world: World, tmp_path: Path) -> Iterator[list[CommitteeMember]]:
    """Three members with stake, who were there before the answer."""
    for account in MEMBERS:
        wallet = Wallet(world.network.rpc, account)
        balances.fund(world.network, wallet.address, Amount(100 * DOLLAR))
        committee.enlist(world.network, wallet, Amount(30 * DOLLAR))
    log = structlog.get_logger()
    cache = FileCache(tmp_path / "cache", 2**30, world.ipfs, log)
    pool = ModelPool(world.ipfs, cache, runtimes.load, device="cpu", max_bytes=2**30, log=log)
    with closing(pool):
        made = [
            CommitteeMember(world.network, one, InProcess(world, pool), tmp_path / str(number))
            for number, one in enumerate(MEMBERS)
        ]
        yield made
        for member in made:
            member.__exit__(None, None, None)


@pytest.mark.parametrize("lies", [False, True])
def test_summon__answer_of_a_float_model__committee_judges_it(
    members: list[CommitteeMember], shop: Shop, lies: bool
) -> None:
    world, payer = shop.world, shop.world.requester.address
    network = world.network
    if lies:
        shop.load = lambda *given: Wrong(runtimes.load(*given))
    with shop.serving():
        channel = shop.channel(deposit=FEE)
        request_id = channel.summon(channel.ask(images()))
    prepaid = network.market.balance_of(payer)
    to_voting(world, members, request_id)
    to_the_end(world, members, request_id)
    finding = committee.show(network, request_id).finding
    assert finding is (Finding.MISMATCH if lies else Finding.MATCH)
    info = requests.show(network, request_id)
    cover = network.channels.cover_of(channel.offer_id)
    if lies:
        assert info.state is RequestState.CONVICTED
        assert cover.locks == 2
        assert network.market.balance_of(payer) > prepaid + FEE  # its fee, and the insured amount
    else:
        assert info.state is RequestState.DELIVERED
        assert cover.locks == 3


def to_the_end(world: World, members: list[CommitteeMember], request_id: RequestId) -> None:
    play(members, committed(world, request_id))
    clock.pass_time(world.network.rpc, 60)
    play(members, revealed(world, request_id))
    clock.pass_time(world.network.rpc, 60)
    play(members, lambda: stage(world, request_id) is Stage.CLOSED)
