"""Vouchers that were not claimed in time: they keep nobody else's back, and pay no answers."""

import pytest

from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Amount, Bytes32
from tests.support.waiting import wait_until
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_ledger import BYTES, digest, keep, receipt
from tests.worker.endpoint.test_refusals_on_anvil import SIGNER, Customer
from worker.endpoint.file_books import FileBooks
from worker.endpoint.ledger import Account

pytestmark = pytest.mark.real


def close(alice: Customer, *, in_the_next_block: bool = False) -> None:
    """Close alice's channel and let the delay pass, while her operator claims nothing."""
    network, world = alice.network, alice.shop.world
    world.requester.send(network.channels.close(SIGNER, alice.shop.offer, 0))
    if in_the_next_block:
        closes_at = network.channels.channel_of(alice.channel).closes_at
        network.rpc.call("evm_setNextBlockTimestamp", closes_at)
    else:
        world.pass_time(network.channels.config().close_delay)


@pytest.mark.parametrize("in_the_next_block", [False, True])
def test_claim__a_channel_has_closed_unclaimed__others_are_claimed_all_the_same(
    shop: Shop, in_the_next_block: bool
) -> None:
    network = shop.world.network
    with shop.serving():
        alice, other = Customer(shop), shop.channel(deposit=3 * FEE)
        alice.fund(3 * FEE)
        assert alice.post(alice.sign(1)).status_code == 200
        other.ask(images())
        close(alice, in_the_next_block=in_the_next_block)
    claimed = [network.channels.channel_of(i).claimed for i in (alice.channel, other.channel_id)]
    assert claimed == [0, FEE]


def test_claim__books_with_offers_that_the_chain_does_not_know__others_are_claimed(
    shop: Shop,
) -> None:
    """A development network that began anew, or a node that is behind."""
    books = FileBooks(shop.path / "endpoint.db")
    for number in range(16):
        account = Account(Bytes32(bytes([number]) * 32), SIGNER, Amount(FEE))
        offer_id = Bytes32(bytes([number]) * 32)
        paid = Voucher(SIGNER, offer_id, Amount(FEE), 1, ZERO32, bytes(65))
        account.admit(paid, b"question")
        account.book(digest(number), b"question")
        assert keep(books, account, [(account.tree.root, receipt(1), BYTES)])
    books.close()
    with shop.serving(claim_every=0.05, look_every=0.05):
        channel = shop.channel(deposit=2 * FEE)
        channel.ask(images())
        held = shop.world.network.channels.channel_of
        wait_until(lambda: held(channel.channel_id).claimed == FEE, "a claim")


def test_infer__reopened_below_what_was_signed__refused_until_that_is_covered(shop: Shop) -> None:
    network, payer = shop.world.network, shop.world.requester
    with shop.serving():
        alice = Customer(shop)
        alice.fund(3 * FEE)
        assert alice.post(alice.sign(3)).status_code == 200
        close(alice)
        payer.send(network.channels.withdraw(payer.address, SIGNER, shop.offer))
        alice.fund(2 * FEE)
    with shop.serving():
        assert alice.refused(alice.sign(2)) == "VoucherAboveDeposit"
        alice.fund(FEE)
        assert alice.post(alice.sign(3), pixel=0.25).status_code == 200
