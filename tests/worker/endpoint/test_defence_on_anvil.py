"""A right answer is summoned to have its operator convicted for silence: it is defended."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from oracle.chain.bindings.dispute_game import Receipt
from oracle.chain.bindings.inference_market import OutputPosted
from oracle.chain.bindings.payment_channels import Summoned
from oracle.chain.revert import ContractError
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.services import requests
from oracle.services.event_history import topic
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.types import ZERO_ADDRESS
from tallystick.channel import PaidChannel, ReceivedAnswer
from tests.services.conftest import World
from tests.support.waiting import wait_until
from tests.worker.builders import images, write_digits
from tests.worker.endpoint.conftest import Shop, shop_of
from worker.endpoint.defence import LATE, Defender
from worker.endpoint.file_books import FileBooks
from worker.endpoint.recorder import Recorder

pytestmark = pytest.mark.real
MAX = 1 << 20
CLOCK = 60  # seconds that the chain's may be away from this machine's


def summoned(shop: Shop, channel: PaidChannel, answer: ReceivedAnswer) -> RequestInfo:
    """Summon an answer as an attacker does: its bytes are shown to nobody."""
    network, receipt = shop.world.network, answer.receipt
    signed = Receipt(receipt.output_root, receipt.trace_root, receipt.signature)
    call = network.channels.summon(answer.request, channel.signer, shop.offer, signed)
    mined = shop.world.requester.send(call)
    return requests.show(network, mined.one(Summoned).request_id)


def demand(shop: Shop, info: RequestInfo) -> None:
    bond = requests.bond_needed(shop.world.network, shop.world.requester, info.request_id)
    requests.demand(shop.world.network, shop.world.requester, info.request_id, bond)


@pytest.mark.parametrize("meanwhile", ["", "restarted", "another version"])
def test_defence__output_demanded__is_posted_and_the_answer_settles(
    shop: Shop, meanwhile: str
) -> None:
    """Also by an endpoint that has another version to sell by then."""
    network, given = shop.world.network, images()
    with shop.serving(look_every=0.1):
        channel = shop.channel()
        answer = channel.ask(given)
        if not meanwhile:
            info = summoned(shop, channel, answer)
            demand(shop, info)
            wait_until(lambda: posted(shop, info), "the output on chain")
    if meanwhile:
        if meanwhile != "restarted":
            write_digits(shop.world.folder, max_output_bytes=999)
            assert shop.world.publish().version == 2
            shop.cover(version=2, locks=1)
        info = summoned(shop, channel, answer)
        demand(shop, info)
        with shop.serving(look_every=0.1):
            wait_until(lambda: posted(shop, info), "the output on chain")
    question = tensor.encode({"image": given})
    assert shop.world.ipfs.fetch_bytes(raw_cid(sha256(question)), MAX) == question
    shop.world.pass_time(240)
    assert info.delivery is not None
    with pytest.raises(ContractError, match="demanded"):
        shop.world.requester.send(network.market.convict_withheld(info.request, info.delivery))
    shop.world.requester.send(network.market.finalize([info.request], [info.delivery]))
    assert requests.show(network, info.request_id).state is RequestState.SETTLED


def test_defence__output_demanded_when_answers_are_forgotten__summoned_ones_are_not(
    world: World, tmp_path: Path
) -> None:
    """The last moment to summon gives the longest to demand."""
    shop = shop_of(world, tmp_path, challenge_window=3600)
    with shop.serving(look_every=0.1):
        channel = shop.channel()
        late, never = (channel.ask(images(seed=n)) for n in (1, 2))
    world.pass_time(3000)
    info = summoned(shop, channel, late)
    world.pass_time(600 + LATE + CLOCK)
    with closing(FileBooks(shop.path / "endpoint.db")) as books:
        log = structlog.get_logger()
        defender = Defender(world.network, world.operator, Recorder(books), (), log)
        asyncio.run(defender.look(asyncio.Lock()))
        assert books.answer(channel.channel_id, never.receipt.index) is None
        demand(shop, info)
        asyncio.run(defender.look(asyncio.Lock()))
    assert posted(shop, info)


def posted(shop: Shop, info: RequestInfo) -> bool:
    market = shop.world.network.market
    found = shop.world.network.history.read(market.address, (OutputPosted,), topic(info.request_id))
    return bool(found) and market.demand_of(info.request_id).challenger == ZERO_ADDRESS
