"""Two endpoints of one operator over HTTP, one channel in one PostgreSQL."""

import itertools

import numpy as np
import psycopg
import pytest
import requests

from oracle.chain.bindings.model_access import Policy
from oracle.protocol import channel_wire
from oracle.services import access
from oracle.services.channels.endpoint_client import EndpointClient
from tallystick.channel import VoucherNotTaken
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import Customer

pytestmark = pytest.mark.real


def test_infer__voucher_taken_by_one_endpoint__seen_by_the_other(
    shop: Shop, books_url: str
) -> None:
    other = shop.sibling(books_url)
    alice = Customer(shop)
    with shop.serving(), other.serving():
        bob = Customer(other)
        alice.fund(3 * FEE)
        first = alice.post(alice.sign(1))
        assert first.status_code == 200
        again = bob.post(alice.sign(1))
        assert again.headers[channel_wire.RECEIPT] == first.headers[channel_wire.RECEIPT]
        assert again.json()["outputs"] == first.json()["outputs"]
        assert bob.refused(alice.sign(1)) == "VoucherEqual"
        assert bob.post(alice.sign(2), pixel=0.75).status_code == 200
        assert alice.refused(alice.sign(2)) == "VoucherEqual"
        assert bob.held() == alice.held()
        assert [one["index"] for one in alice.held()["receipts"]] == [1, 2]
    held = shop.world.network.channels.channel_of(alice.channel)
    assert held.claimed == 2 * FEE


def test_ask__each_question_at_another_endpoint__client_goes_on_by_itself(
    shop: Shop, books_url: str
) -> None:
    other = shop.sibling(books_url)
    with shop.serving(), other.serving():
        channel = shop.channel(deposit=20 * FEE)
        clients = itertools.cycle([EndpointClient(shop.url), EndpointClient(other.url)])
        for index in range(1, 7):
            channel._endpoint = next(clients)
            assert channel.ask(images(seed=index)).receipt.index == index
        late = other.channel(deposit=20 * FEE)  # as another process of this wallet
        assert channel.ask(images(seed=7)).receipt.index == 7
        assert late.ask(images(seed=8)).receipt.index == 8  # its own voucher was used: it recovers
        assert channel.ask(images(seed=9)).receipt.index == 9


def test_ask__proxy_lost_the_endpoint__same_answer_from_the_other(
    shop: Shop, books_url: str
) -> None:
    other = shop.sibling(books_url)
    with shop.serving(), other.serving():
        channel = shop.channel()
        right = channel._endpoint.http.post

        def proxy(url: str, **named: object) -> requests.Response:
            reply = right(url, **named)  # answered, and the word is lost on the way
            channel._endpoint.http.post = right
            channel._endpoint.url = other.url
            gone = requests.Response()
            gone.status_code, gone.raw = 502, reply.raw
            return gone

        channel._endpoint.http.post = proxy
        answer = channel.ask(images())
        assert (answer.receipt.index, channel.answered) == (1, 1)
        assert len(EndpointClient(shop.url).receipts(channel._place, 0)) == 1
        assert np.isfinite(answer.outputs["logits"]).all()


def test_close__agreed_by_one_endpoint__no_voucher_is_taken_by_the_other(
    shop: Shop, books_url: str
) -> None:
    other = shop.sibling(books_url)
    with shop.serving(), other.serving():
        here, there = shop.channel(), other.channel()
        here.ask(images())
        there.catch_up()
        there.close()
        with pytest.raises(VoucherNotTaken, match="ChannelEnding"):
            here.ask(images(seed=1))


def test_infer__more_than_the_owner_allows__counted_by_both(shop: Shop, books_url: str) -> None:
    access.set_policy(shop.world.network, shop.world.owner, 1, Policy.OPEN, (2, 3600))
    other, alice = shop.sibling(books_url), Customer(shop)
    alice.fund(4 * FEE)
    with shop.serving(), other.serving():
        bob = Customer(other)
        said = [who.post(alice.sign(n), pixel=n / 8) for n, who in ((1, alice), (2, bob))]
        assert [reply.status_code for reply in said] == [200, 200]
        for who in (alice, bob):
            reply = who.post(alice.sign(3), pixel=0.5)
            assert (reply.status_code, reply.json()["code"]) == (429, "RateLimitExceeded")


def test_infer__database_restarts__later_questions_are_answered(shop: Shop, books_url: str) -> None:
    alice = Customer(shop)
    shop.books_url = books_url
    alice.fund(3 * FEE)
    with shop.serving():
        assert alice.post(alice.sign(1)).status_code == 200
        with psycopg.connect(books_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        reply = alice.post(alice.sign(2), pixel=0.75)
        assert (reply.status_code, reply.headers.get("Retry-After")) == (503, "1")
        again = alice.post(alice.sign(2), pixel=0.75)
        assert again.status_code == 200
        assert alice.held()["answered"] == 2
