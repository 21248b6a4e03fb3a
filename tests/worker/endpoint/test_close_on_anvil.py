"""A channel that its operator agrees to close: paid back at once, and no answer is lost to it."""

import time
from typing import Any

import pytest

from oracle.errors import Refused, Unavailable
from oracle.protocol import channel_wire, vouchers
from oracle.protocol.hexadecimal import to_hex
from oracle.services.channels import asking, deposits
from oracle.types import Amount, Timestamp
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import KEY, SIGNER, Customer
from worker.endpoint.accounts import CLOCK
from worker.errors import ModelFailed

pytestmark = pytest.mark.real


def test_close__operator_agrees__rest_is_back_and_the_answers_are_paid(shop: Shop) -> None:
    network, payer = shop.world.network, shop.world.requester
    before = network.market.balance_of(payer.address)
    with shop.serving():
        channel = shop.channel(deposit=10 * FEE)
        for seed in range(2):
            channel.ask(images(seed=seed))
        done = channel.close()
        assert done.amount == 8 * FEE
        assert network.market.balance_of(payer.address) == before - 2 * FEE
        assert network.channels.channel_of(channel.channel_id).deposit == 2 * FEE
        with pytest.raises(Refused, match="was closed"):
            channel.ask(images())
    held = network.channels.channel_of(channel.channel_id)
    assert held.claimed == 2 * FEE


def test_close__by_the_kept_channel__finds_endpoint_and_key(shop: Shop) -> None:
    network, payer = shop.world.network, shop.world.requester
    with shop.serving() as url:
        channel = shop.channel(deposit=3 * FEE)
        channel.ask(images())
        info = deposits.find(network, payer.address, f"0x{channel.channel_id.hex()}")
        assert asking.close(network, payer, info, url).amount == 2 * FEE
    with pytest.raises(Unavailable):
        asking.close(network, payer, info, url)


def wish(alice: Customer, cumulative: int, ahead: float = 60, by: bytes = KEY) -> Any:
    """Ask for a close by hand; return the reply."""
    contracts = alice.network.contracts
    domain = vouchers.separator(contracts.chain_id, contracts.payment_channels)
    deadline = Timestamp(int(time.time() + ahead))
    digest = vouchers.close_digest(domain, alice.channel, Amount(cumulative), deadline)
    body = {
        "cumulative": str(cumulative), "deadline": deadline,
        "signature": to_hex(vouchers.sign(by, digest)),
    }  # fmt: skip
    place = f"/channels/{alice.payer}/{SIGNER}/0x{alice.offer_id.hex()}/close"
    return alice.http.post(place, json=body)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"cumulative": 0}, "VoucherMiscounted"),  # an answer is due
        ({"cumulative": FEE, "by": b"\x32" * 32}, "VoucherForeign"),
        ({"cumulative": FEE, "ahead": -5}, "InputInvalid"),
        ({"cumulative": FEE, "ahead": 5000}, "InputInvalid"),
    ],
)
def test_close__wish_that_is_not_right__refused_and_answers_go_on(
    shop: Shop, given: dict[str, Any], code: str
) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(3 * FEE)
        assert alice.post(alice.sign(1)).status_code == 200
        reply = wish(alice, **given)
        assert reply.status_code in (400, 402)
        assert reply.json()["code"] == code
        root = channel_wire.parse_bytes32(alice.held()["receiptsRoot"])
        assert alice.post(alice.sign(2, root)).status_code == 200


def test_close__below_the_voucher_that_is_kept__refused_since_that_alone_can_be_claimed(
    shop: Shop,
) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(4 * FEE)
        assert alice.post(alice.sign(3)).status_code == 200  # one answer, and two signed ahead
        reply = wish(alice, FEE)
        assert (reply.status_code, reply.json()["code"]) == (402, "VoucherMiscounted")
        assert wish(alice, 3 * FEE).status_code == 200
    assert shop.world.network.channels.channel_of(alice.channel).claimed == 3 * FEE


def test_close__others_were_under_way_and_failed__closes_at_what_was_signed(shop: Shop) -> None:
    network = shop.world.network
    with shop.serving():
        channel = shop.channel(deposit=10 * FEE)
        channel._in_flight = 2  # two others ask meanwhile
        channel.ask(images())
        channel._in_flight = 0  # and fail
        assert channel.close().amount == 7 * FEE
    assert network.channels.channel_of(channel.channel_id).claimed == 3 * FEE


def test_close__voucher_of_an_answer_that_failed__costs_nothing(shop: Shop) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(3 * FEE)
        assert alice.post(alice.sign(1)).status_code == 200
        shop.runner.run = fails  # type: ignore[method-assign]
        root = channel_wire.parse_bytes32(alice.held()["receiptsRoot"])
        assert alice.post(alice.sign(2, root), pixel=0.25).status_code == 500
        assert wish(alice, FEE).status_code == 200


def test_close__offer_that_is_sold_no_more__agreed_all_the_same(shop: Shop) -> None:
    world, network = shop.world, shop.world.network
    with shop.serving():
        alice = Customer(shop)
        alice.fund(3 * FEE)
        assert alice.post(alice.sign(1)).status_code == 200
    world.operator.send(network.channels.uncover(shop.offer))
    world.pass_time(2 * shop.offer.terms.challenge_window)
    shop.cover(number=1, locks=1)
    with shop.serving():
        assert alice.post(alice.sign(2)).json()["code"] == "OfferUnknown"
        assert (alice.held()["answered"], alice.held()["cumulative"]) == (1, str(FEE))
        assert wish(alice, 0).json()["code"] == "VoucherMiscounted"
        assert wish(alice, FEE).status_code == 200
        unknown = f"/channels/{SIGNER}/{SIGNER}/0x{alice.offer_id.hex()}"
        assert alice.http.get(unknown).json()["code"] == "OfferUnknown"


async def fails(*_: object) -> bytes:
    raise ModelFailed("it broke")


def test_close__agreed__no_voucher_is_taken_until_it_is_too_late_also_after_a_restart(
    shop: Shop,
) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(3 * FEE)
        assert wish(alice, 0).status_code == 200
        assert alice.refused(alice.sign(1)) == "ChannelEnding"
    with shop.serving():
        assert alice.refused(alice.sign(1)) == "ChannelEnding"
    shop.ahead = 60 + 61  # seconds: the consent is of no use any more
    with shop.serving():
        assert alice.post(alice.sign(1)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"cumulative": -1}', b"[" * 9999])
def test_close__no_wish__refused(shop: Shop, body: bytes) -> None:
    with shop.serving():
        alice = Customer(shop)
        place = f"/channels/{alice.payer}/{SIGNER}/0x{alice.offer_id.hex()}/close"
        assert alice.http.post(place, content=body).status_code == 400


def test_infer__channel_that_closes_later__is_answered_until_the_delay_before(shop: Shop) -> None:
    network, wallet = shop.world.network, shop.world.requester
    delay = network.channels.config().close_delay
    closes_at = int(time.time()) + delay + CLOCK + 1_000
    with shop.serving():
        alice = Customer(shop)
        alice.fund(4 * FEE)
        wallet.send(network.channels.close(SIGNER, shop.offer, closes_at))
        assert alice.post(alice.sign(1)).status_code == 200
        shop.ahead = 1_001
        late = alice.post(alice.sign(2), pixel=0.25)
        assert (late.status_code, late.json()["code"]) == (402, "ChannelEnding")
    assert network.channels.channel_of(alice.channel).claimed == FEE  # in the delay
