"""A crowd of requests becomes one transaction, and one that fails does not fail the others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.outbox import EntryState
from oracle.gateway import api_keys, together
from oracle.gateway.gateway import Gateway, RequestFailed
from oracle.services import balances
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import Amount
from tests.gateway.conftest import DOLLAR, question

pytestmark = pytest.mark.real


@pytest.fixture
def waiting(market, url):
    """A gateway whose dispatcher does not run: what is accepted waits."""
    opened = Gateway(market.network, dev_account(2), Store.open(url))
    yield opened
    opened.close()


def accept(gateway, count, budget=100):
    key = api_keys.mint(gateway.store, "crowd", Amount(budget * DOLLAR)).key
    with ThreadPoolExecutor(8) as crowd:
        asked = [question(gateway, value=n / 16) for n in range(count)]
        return list(crowd.map(lambda one: gateway.sponsor.accept(key, one), asked)), key


def nonce(gateway):
    count = gateway.network.rpc.call("eth_getTransactionCount", gateway.address, "latest")
    return int(count, 16)


def outcomes(gateway, tickets):
    async def all_of():
        asked = (gateway.requested(ticket, 60) for ticket in tickets)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_of())


def test_batch__of_two_calls__is_what_the_binding_encodes(waiting):
    _, key = accept(waiting, 0)
    orders = [
        replace(waiting.sponsor._order(question(waiting, value=n / 4)), lane=n) for n in range(2)
    ]
    outbox, market = SqlOutbox(waiting.store), waiting.network.market
    names = [bytes([n]) * 32 for n in range(2)]
    calls = [market.request(order) for order in orders]
    kept = [outbox.add("x", [name], call) for name, call in zip(names, calls, strict=True)]
    batched = together.batch(market.request_batch([]), kept)
    assert batched.data == market.request_batch(orders).data
    entry = replace(kept[0], data=batched.data, request_ids=tuple(names))
    parts = together.singles(entry, calls[0].data[:4])
    assert [one.data for one in parts] == [one.data for one in calls]
    assert key.spent == 0


def test_accepted_together__one_transaction_and_each_has_its_request(waiting):
    tickets, _ = accept(waiting, 5)
    before = nonce(waiting)
    waiting.start()
    found = outcomes(waiting, tickets)
    assert len(set(found)) == 5
    assert nonce(waiting) == before + 1
    for ticket, request_id in zip(tickets, found, strict=True):
        first = asyncio.run(waiting.life(request_id))[0].event
        assert first.request.lane == ticket.lane
    (entry,) = SqlOutbox(waiting.store).of(tickets[0].id)
    assert len(entry.request_ids) == 5


def test_accepted_together__money_for_some__the_others_fail_alone_and_are_not_charged(
    market, waiting
):
    tickets, key = accept(waiting, 5)
    market.requester.send(
        market.network.market.withdraw(market.requester.address, Amount(2 * DOLLAR))
    )
    waiting.start()
    found = outcomes(waiting, tickets)
    failed = [one for one in found if isinstance(one, RequestFailed)]
    assert len(failed) == 2
    assert len({one for one in found if isinstance(one, bytes)}) == 3
    (now,) = api_keys.listed(waiting.store)
    assert now.spent == 3 * DOLLAR
    assert now.id == key.id


def test_died_with_a_batch_under_way__next_process_takes_it_up(market, waiting, url):
    tickets, _ = accept(waiting, 3)
    waiting.dispatcher._join()
    waiting.sender.step()  # signed and sent; nobody concludes
    (entry,) = SqlOutbox(waiting.store).of(tickets[0].id)
    assert entry.state in (EntryState.SENT, EntryState.MINED)
    following = Gateway(market.network, dev_account(2), Store.open(url))
    following.start()
    try:
        with following.store.read() as tx:
            kept = [tx.ticket(ticket.id) for ticket in tickets]
        assert len(set(outcomes(following, kept))) == 3
    finally:
        following.close()


def relayed(market, gateway):
    """A request of another wallet, which signed it, waiting like those of API keys."""
    network, account, friend = market.network, dev_account(7), market.stranger
    balances.fund(network, friend.address, Amount(DOLLAR))
    balances.allow(network, friend, network.market.address, Amount(DOLLAR))
    friend.send(network.market.deposit(account.address, Amount(DOLLAR)))
    asked = question(gateway)
    prepaid = gateway.relay.prepare(account.address, asked.listing, asked.prepared, asked.params)
    signature = bytes(account.sign_typed_data(full_message=prepaid.typed_data).signature)
    return gateway.relay.relay(
        account.address, prepaid.order, prepaid.nonce, prepaid.deadline, signature
    )


def test_accepted_together__with_one_that_a_wallet_signed__each_has_its_request(market, waiting):
    """Their arguments have another layout, so they are in no batch."""
    signed = relayed(market, waiting)
    tickets, _ = accept(waiting, 2)
    before = nonce(waiting)
    waiting.start()
    found = outcomes(waiting, [signed, *tickets])
    assert [one for one in found if isinstance(one, Exception)] == []
    assert len(set(found)) == 3
    assert nonce(waiting) == before + 2
    first = asyncio.run(waiting.life(found[0]))[0].event
    assert first.request.requester == dev_account(7).address
