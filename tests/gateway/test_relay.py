"""What a wallet signed, passed on: what its contract takes to say so is bounded."""

import time
from dataclasses import replace

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.inference_market import Requested
from oracle.gateway.gateway import Gateway
from oracle.gateway.relay import MAX_GAS, SignatureTooDear
from oracle.protocol import eip712
from oracle.services import balances
from oracle.services.event_history import topic
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import Amount
from tests.gateway.conftest import question
from tests.gateway.test_facilitator import approve, burn, wallet
from tests.gateway.test_together import accept, outcomes
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real

__all__ = ["wallet"]


@pytest.fixture
def now():
    return [time.time()]


@pytest.fixture
def waiting(market, url, now):
    """A gateway that sends nothing yet."""
    opened = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    yield opened
    opened.close()


@pytest.fixture
def relay(market, waiting, wallet):
    """Relay a request that a contract approved and has the money for."""
    network, friend = market.network, market.stranger
    balances.fund(network, friend.address, Amount(DOLLAR))
    balances.allow(network, friend, network.market.address, Amount(DOLLAR))
    friend.send(network.market.deposit(wallet, Amount(DOLLAR)))
    asked = question(waiting)
    prepaid = waiting.relay.prepare(wallet, asked.listing, asked.prepared, asked.params)
    approve(market, wallet, eip712.digest(prepaid.typed_data))

    def relay(signature=b"\x01"):
        order, nonce = prepaid.order, prepaid.nonce
        return waiting.relay.relay(wallet, order, nonce, prepaid.deadline, signature)

    return relay


def test_relay__signature_that_costs_too_much_gas__is_refused(waiting, relay, market, wallet):
    burn(market, wallet)
    with pytest.raises(SignatureTooDear, match="600,000"):
        relay()
    assert SqlOutbox(waiting.store).live() == []


def test_relay__signature_costs_more_by_the_time_it_is_sent__is_not_sent(
    waiting, relay, market, wallet, now
):
    ticket = relay()
    burn(market, wallet)
    now[0] += 11
    waiting.start()
    (failed,) = outcomes(waiting, [ticket])
    assert f"{MAX_GAS:,}" in str(failed)
    assert SqlOutbox(waiting.store).of(ticket.id)[-1].hashes == ()


def test_relay__contract_that_signed__is_asked(waiting, relay):
    ticket = relay()
    waiting.start()
    (request_id,) = outcomes(waiting, [ticket])
    assert isinstance(request_id, bytes)


def test_relay__signature_that_holds_an_order__is_asked_for_by_nobody(waiting, relay, market):
    """Cut in the middle, as a batch of two, the second half would be an order of the gateway's."""
    network, size = market.network, 4096
    (ticket,), _ = accept(waiting, 1)
    order = waiting.sponsor._order(question(waiting, 0.25))
    words = network.market.request(replace(order, lane=77)).data[4:]
    before = 2 * len(words) + 5 * 32  # bytes: the other request, and what is before the signature
    start = (before + size) // 2 - before
    second = relay((bytes(start) + words).ljust(size, b"\0"))
    waiting.start()
    assert all(isinstance(one, bytes) for one in outcomes(waiting, [ticket, second]))
    mine = topic(waiting.address)
    asked = network.history.read(network.market.address, (Requested,), None, None, mine)
    assert [one.event.request.lane for one in asked] == [ticket.lane]
