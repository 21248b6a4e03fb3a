"""What a wallet signed, passed on: what its contract takes to say so is bounded."""

import time

import pytest

from oracle.chain.anvil import dev_account
from oracle.gateway.gateway import Gateway
from oracle.gateway.relay import MAX_GAS, SignatureTooDear
from oracle.protocol import eip712
from oracle.services import balances
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import Amount
from tests.gateway.conftest import question
from tests.gateway.test_facilitator import approve, burn, wallet
from tests.gateway.test_together import outcomes
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
    return lambda: waiting.relay.relay(
        wallet, prepaid.order, prepaid.nonce, prepaid.deadline, b"\x01"
    )


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
