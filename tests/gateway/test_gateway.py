"""A gateway in this process over a real chain, without operators: what happens to each request.

The test delivers as an operator would, or lets time pass.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.inference_market import Delivered
from oracle.chain.revert import ContractError
from oracle.chain.rpc import RpcError
from oracle.errors import DigestMismatch
from oracle.gateway import api_keys
from oracle.gateway.gateway import Gateway, NotYet, RequestEnded, RequestFailed
from oracle.services import balances, inference, models, quoting, requests
from oracle.services.inference import AnswerFailed
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.store import Store
from oracle.store.gateway_repository import BudgetExhausted, IdempotencyConflict, TicketState
from oracle.types import Amount
from tests.gateway.conftest import question
from tests.services.conftest import DOLLAR
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def key(gateway):
    return api_keys.mint(gateway.store, "tests", Amount(3 * DOLLAR)).key


def ask(gateway, key, **options):
    """Accept, and wait until the chain has it."""

    async def asked():
        ticket = await gateway.accept(key, question(gateway, **options))
        return ticket, await gateway.requested(ticket, 60)

    return asyncio.run(asked())


def spent(gateway):
    return api_keys.listed(gateway.store)[0].spent


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
def test_accept__budget_spent__sends_nothing(gateway, key, market):
    for n in range(3):
        ask(gateway, key, value=n / 4)
    with pytest.raises(BudgetExhausted):
        ask(gateway, key, value=3 / 4)
    assert market.network.market.balance_of(gateway.address) == 2 * DOLLAR


def test_accept__fee_raised_meanwhile__charges_nothing(gateway, key, market):
    asked = question(gateway)
    dearer = models.changed_terms(market.network.registry.terms_of(1, 1), fee=2 * DOLLAR)
    models.set_terms(market.network, market.owner, 1, 1, dearer)
    with pytest.raises(ContractError) as caught:
        gateway.sponsor.accept(key, asked)
    assert caught.value.name == "FeeAboveMax"
    assert spent(gateway) == 0


def test_accept__idempotency_key_by_many_at_once__is_one_request(gateway, key):
    asked = question(gateway, idempotency="same")
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: gateway.sponsor.accept(key, asked), range(8)))
    assert len({ticket.id for ticket in tickets}) == 1
    assert spent(gateway) == DOLLAR
    with pytest.raises(IdempotencyConflict):
        gateway.sponsor.accept(key, question(gateway, value=0.25, idempotency="same"))


def test_accept__same_question_by_many_at_once__is_one_request(gateway, key):
    """Clients repeat what takes long; none of them sends an Idempotency-Key."""
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: gateway.sponsor.accept(key, question(gateway)), range(8)))
    assert len({ticket.id for ticket in tickets}) == 1
    assert spent(gateway) == DOLLAR
    assert gateway.sponsor.accept(key, question(gateway, value=0.25)).id != tickets[0].id
    assert gateway.sponsor.accept(key, question(gateway, idempotency="new")).id != tickets[0].id
    assert spent(gateway) == 3 * DOLLAR


def test_accept__same_question_of_another_key__is_its_own(gateway, key):
    other = api_keys.mint(gateway.store, "other", Amount(DOLLAR)).key
    mine = gateway.sponsor.accept(key, question(gateway))
    assert gateway.sponsor.accept(other, question(gateway)).id != mine.id


def test_accept__same_question_later__is_another_request(market, url):
    now = [1_000_000.0]
    gateway = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    key = api_keys.mint(gateway.store, "tests", Amount(3 * DOLLAR)).key
    try:
        first = gateway.sponsor.accept(key, question(gateway))
        now[0] += 599
        assert gateway.sponsor.accept(key, question(gateway)).id == first.id
        now[0] += 2
        assert gateway.sponsor.accept(key, question(gateway)).id != first.id
    finally:
        gateway.close()


def test_accept__same_question_after_its_refund__is_asked_again(gateway, key, market):
    first, _ = ask(gateway, key)
    market.pass_time(601)
    wait_until(lambda: gateway.sweeper.sweep() == 0 and spent(gateway) == 0)
    assert gateway.sponsor.accept(key, question(gateway)).id != first.id
    assert spent(gateway) == DOLLAR


def test_requested__refused_when_it_was_sent__gives_the_charge_back(market, url):
    """The balance is gone between acceptance and sending."""
    gateway = Gateway(market.network, dev_account(2), Store.open(url))  # nothing sends yet
    key = api_keys.mint(gateway.store, "tests", Amount(3 * DOLLAR)).key
    ticket = gateway.sponsor.accept(key, question(gateway))
    market.requester.send(
        market.network.market.withdraw(market.stranger.address, Amount(5 * DOLLAR))
    )
    gateway.start()
    try:
        with pytest.raises(RequestFailed):
            asyncio.run(gateway.requested(ticket, 60))
        assert gateway.ticket(ticket.id).state is TicketState.FAILED
        assert spent(gateway) == 0
    finally:
        gateway.close()


def test_answer__nobody_delivers__not_yet(gateway, key):
    _, request_id = ask(gateway, key)
    with pytest.raises(NotYet):
        asyncio.run(gateway.answer(request_id, 0.1))


def report(gateway, request_id):
    """A worker says that it will never answer."""
    said = {
        "step": "failed", "operator": "alpha", "ids": [request_id.hex()], "at": 1.0,
        "reason": "the model is broken",
    }  # fmt: skip
    gateway.worker_progress.take(json.dumps(said).encode())


def test_answer__worker_cannot__ends_the_wait_and_refunds_at_expiry(gateway, key, market):
    ticket, request_id = ask(gateway, key)
    report(gateway, request_id)
    with pytest.raises(
        AnswerFailed, match=r"alpha cannot answer .*: the model is broken"
    ) as caught:
        asyncio.run(gateway.answer(request_id, 60, ticket))
    assert "the fee comes back" in caught.value.hint
    assert (gateway.ticket(ticket.id).state, spent(gateway)) == (TicketState.ASKED, DOLLAR)
    market.pass_time(601)
    wait_until(lambda: gateway.sweeper.sweep() == 0 and spent(gateway) == 0)


def test_answer__worker_cannot_and_another_did__is_the_answer(gateway, key, market):
    _, request_id = ask(gateway, key)
    report(gateway, request_id)
    market.deliver(requests.show(market.network, request_id), [0.0, 3.0, 2.0])
    wait_until(lambda: gateway.follower.find(request_id, Delivered))
    answered = asyncio.run(gateway.answer(request_id, 60))
    assert answered.outputs["logits"].tolist() == [[0.0, 3.0, 2.0]]


def test_sweep__request_of_a_wallet_that_nobody_can_answer__is_its_own_to_cancel(gateway, market):
    """Whoever pays on chain does not spend the gateway's gas, and meets no other canceller."""
    network, wallet = market.network, market.stranger
    balances.fund(network, wallet.address, Amount(DOLLAR))
    balances.deposit(network, wallet, Amount(DOLLAR))
    wanted = Ask(Selected(1, None), json.dumps([[[[0.5, 0.5], [0.5, 0.5]]]]))
    prepayment = quoting.quote(network, wallet.address, wanted, stdin=bytes)
    request_id = inference.ask(network, wallet, prepayment).request_id
    report(gateway, request_id)
    market.pass_time(601)
    assert gateway.sweeper.sweep() == 0
    requests.cancel(network, wallet, request_id)
    assert network.market.balance_of(wallet.address) == DOLLAR


def test_answer__other_bytes_served__is_a_mismatch(gateway, key, market):
    _, request_id = ask(gateway, key)
    info = requests.show(market.network, request_id)
    market.deliver(info, [0.0, 1.0, 2.0])
    cid = requests.show(market.network, request_id).output_cid
    market.ipfs.tamper(cid, b"something else")
    with pytest.raises(DigestMismatch):
        asyncio.run(gateway.answer(request_id, 60))


def test_sweep__nobody_answered_in_time__brings_the_money_back(gateway, key, market):
    ticket, request_id = ask(gateway, key)
    assert gateway.sweeper.sweep() == 0
    market.pass_time(601)
    wait_until(lambda: gateway.sweeper.sweep() == 0 and spent(gateway) == 0)
    assert gateway.ticket(ticket.id).state is TicketState.REFUNDED
    assert market.network.market.balance_of(gateway.address) == 5 * DOLLAR
    with pytest.raises(RequestEnded, match="Cancelled"):
        asyncio.run(gateway.answer(request_id, 60))


# ── The way it goes ─────────────────────────────────────────────────────────────────────────────
def test_answer__delivered__has_the_numbers_and_says_who(gateway, key, market):
    ticket, request_id = ask(gateway, key)
    market.deliver(requests.show(market.network, request_id), [0.0, 3.0, 2.0])
    answered = asyncio.run(gateway.answer(request_id, 60, ticket))
    assert answered.outputs["logits"].tolist() == [[0.0, 3.0, 2.0]]
    assert answered.operator == market.operator.address
    assert answered.request.requester == gateway.address


def test_restart__accepted_and_not_sent__is_sent_by_the_next(market, url):
    first = Gateway(market.network, dev_account(2), Store.open(url))
    key = api_keys.mint(first.store, "tests", Amount(3 * DOLLAR)).key
    ticket = first.sponsor.accept(key, question(first))  # and nobody sends it
    first.sponsor.close()
    second = Gateway(market.network, dev_account(2), Store.open(url))
    second.start()
    try:
        request_id = asyncio.run(second.requested(ticket, 60))
        assert requests.show(market.network, request_id).requester == second.address
        assert spent(second) == DOLLAR
    finally:
        second.close()


RECEIPTS = ("eth_getTransactionReceipt", "eth_getTransactionByHash")


class Vague:
    """A node that takes transactions, answers with an error, and shows no receipt for now."""

    def __init__(self, rpc):
        self.rpc, self.vague = rpc, True

    def __getattr__(self, name):
        return getattr(self.rpc, name)

    def call(self, method, *params):
        answer = self.rpc.call(method, *params)
        if self.vague and method == "eth_sendRawTransaction":
            raise RpcError(-32603, "request timed out")
        return answer

    def batch(self, calls):
        return [
            None if self.vague and call[0] in RECEIPTS else answer
            for call, answer in zip(calls, self.rpc.batch(calls), strict=True)
        ]


@pytest.fixture
def vague(market):
    return Vague(market.network.rpc)


def test_requested__fate_unknown__neither_refunded_nor_asked_twice(market, url, vague):
    gateway = Gateway(replace(market.network, rpc=vague), dev_account(2), Store.open(url))
    key = api_keys.mint(gateway.store, "tests", Amount(3 * DOLLAR)).key
    asked = question(gateway, idempotency="once")
    gateway.start()
    try:
        ticket = gateway.sponsor.accept(key, asked)
        with pytest.raises(NotYet) as caught:
            asyncio.run(gateway.requested(ticket, 0.5))
        assert caught.value.place == ticket.id
        assert gateway.sponsor.accept(key, asked).id == ticket.id  # the client tries again
        assert (gateway.ticket(ticket.id).state, spent(gateway)) == (TicketState.ACCEPTED, DOLLAR)
        vague.vague = False
        request_id = asyncio.run(gateway.requested(ticket, 60))
        assert requests.show(market.network, request_id).requester == gateway.address
        assert spent(gateway) == DOLLAR
        assert market.network.market.balance_of(gateway.address) == 4 * DOLLAR
    finally:
        gateway.close()


def test_restart__mined_and_its_receipt_is_late__ticket_is_settled_once_it_comes(
    market, url, vague
):
    first = Gateway(market.network, dev_account(2), Store.open(url))
    key = api_keys.mint(first.store, "tests", Amount(3 * DOLLAR)).key
    ticket = first.sponsor.accept(key, question(first))
    first.sender.settle(60)  # and the process dies before the ticket is settled
    first.sponsor.close()
    second = Gateway(replace(market.network, rpc=vague), dev_account(2), Store.open(url))
    second.start()
    try:
        with pytest.raises(NotYet):
            asyncio.run(second.requested(ticket, 0.2))
        assert second.ticket(ticket.id).state is TicketState.ACCEPTED
        vague.vague = False
        second.dispatcher.wake()
        assert asyncio.run(second.requested(ticket, 60))
        assert spent(second) == DOLLAR
    finally:
        second.close()


def test_settled__lane_is_used_again(gateway, key, market):
    _, first = ask(gateway, key)
    market.deliver(requests.show(market.network, first), [0.0, 1.0, 2.0])
    market.pass_time(61)
    requests.finalize(market.network, market.stranger, [first])
    wait_until(lambda: gateway.ticket(first).state is TicketState.ENDED)
    _, second = ask(gateway, key, value=0.25)
    lanes = [requests.show(market.network, one).request.lane for one in (first, second)]
    assert lanes == [0, 0]
