"""A gateway that pays over its channels: charged once, and on the chain where that fails."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle.chain.anvil import dev_account
from oracle.gateway import api_keys, channels
from oracle.gateway.channels import ChannelSettings, SignedAnswer
from oracle.gateway.gateway import DeliveredAnswer, Gateway
from oracle.gateway.sponsor import Question
from oracle.protocol import channel_wire
from oracle.services import inputs
from oracle.services.channels import endpoints
from oracle.services.channels.paid_channel import ChannelClient
from oracle.store import Store
from oracle.store.gateway_repository import ApiKey, TicketState
from oracle.types import ZERO32, Amount, Bytes32, RequestId
from tests.services.conftest import DOLLAR
from tests.support.waiting import wait_until
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop

pytestmark = pytest.mark.real
PAYING = ChannelSettings(deposit=Amount(10 * FEE), limit=Amount(30 * FEE))


@dataclass
class Desk:
    """A gateway of the requester's account, with one key."""

    gateway: Gateway
    key: ApiKey
    shop: Shop

    @property
    def spent(self) -> int:
        (key,) = api_keys.listed(self.gateway.store)
        return key.spent

    def question(self, seed: int, idempotency: str | None = None) -> Question:
        listing = self.gateway.catalogue.find("digits")
        prepared = inputs.seal(
            {"image": images(seed=seed)}, (), listing.manifest, listing.served.form
        )
        return Question(listing, prepared, ZERO32, idempotency)

    def route(self) -> ChannelClient:
        """Wait for a channel that pays."""
        assert self.gateway.channels is not None
        found = self.gateway.channels
        listing = self.gateway.catalogue.find("digits")
        return wait_until(lambda: found.route(listing), "a channel")

    def ask(self, question: Question) -> SignedAnswer | None:
        return asyncio.run(self.gateway.answer_signed(self.key, question))

    def on_chain(self, question: Question) -> DeliveredAnswer:
        """Take the chain path, and answer as the operator's worker does."""

        async def whole() -> DeliveredAnswer:
            ticket = await self.gateway.accept(self.key, question)
            request_id = await self.gateway.requested(ticket, 60)
            first = (await self.gateway.life(request_id))[0]
            info: Any = first.event
            self.shop.world.deliver(replace_info(info), [0.0] * 10)
            return await self.gateway.answer(request_id, 60, ticket)

        return asyncio.run(whole())

    def ticket(self, question: Question) -> Any:
        with self.gateway.store.read() as tx:
            return tx.ticket_like(self.key.id, question.digest, 0)


@dataclass(frozen=True)
class replace_info:
    event: Any

    @property
    def request(self) -> Any:
        return self.event.request


@contextmanager
def opened(shop: Shop, path: Path) -> Iterator[Desk]:
    network = shop.world.network
    fast = replace(network.settings, poll_interval=0.03, redis_url="")
    store = Store.open(f"sqlite:///{path / 'gateway.db'}")
    gateway = Gateway(replace(network, settings=fast), dev_account(2), store, paying=PAYING)
    gateway.start()
    try:
        found = api_keys.listed(store)
        key = found[0] if found else api_keys.mint(store, "tests", Amount(100 * DOLLAR)).key
        yield Desk(gateway, key, shop)
    finally:
        gateway.close()


@pytest.fixture
def desk(shop: Shop, tmp_path: Path) -> Iterator[Desk]:
    endpoints.announce(shop.world.network, shop.world.operator, shop.url)
    with opened(shop, tmp_path) as made:
        yield made


def test_answer__endpoint_lives__signed_charged_once_and_given_again(desk: Desk) -> None:
    with desk.shop.serving():
        client = desk.route()
        asked = desk.question(1, "mine")
        signed = desk.ask(asked)
        assert signed is not None
        assert signed.file.receipt.index == 1
        assert signed.file.request_id == client.channel.request_id(signed.file.receipt)
        assert desk.spent == FEE
        again = desk.ask(asked)
        assert again is not None
        assert again.file == signed.file
        assert desk.spent == FEE
        assert client.answered == 1
        delivered = asyncio.run(desk.gateway.answer(signed.file.request_id, 0))
        np.testing.assert_array_equal(
            delivered.outputs["logits"], desk.gateway.received(signed).outputs["logits"]
        )
        (route,) = desk.gateway.channels.routes() if desk.gateway.channels else ()
        assert (route.answered, route.deposit, route.barred) == (1, PAYING.deposit, "")
    market = desk.shop.world.network.market
    assert not market.commitment_of(desk.gateway.address, 0).strip(b"\0")


def test_answer__deposit_used_up__topped_up_to_the_limit_then_on_the_chain(desk: Desk) -> None:
    with desk.shop.serving():
        client = desk.route()
        signed = 0
        for seed in range(40):
            signed += desk.ask(desk.question(seed)) is not None
            if client.left < 3 * FEE:
                wait_until(
                    lambda: client.left >= 3 * FEE or client.deposit == PAYING.limit, "money"
                )
        assert client.deposit <= PAYING.limit
        assert 20 <= signed <= 30
        assert desk.ask(desk.question(99)) is None
        assert desk.spent == signed * FEE


def test_answer__endpoint_went_away__chain_path_and_charged_once(desk: Desk) -> None:
    with desk.shop.serving():
        desk.route()
    asked = desk.question(3)
    assert desk.ask(asked) is None
    assert desk.spent == FEE
    answer = desk.on_chain(asked)
    assert answer.receipt is None
    assert desk.spent == FEE
    assert desk.gateway.channels is not None
    assert desk.gateway.channels.route(asked.listing) is None  # not asked for a while
    assert desk.gateway.channels.routes()[0].barred


def test_answer__endpoint_has_too_much_to_do__asked_again_when_it_said(desk: Desk) -> None:
    with desk.shop.serving():
        desk.route()
        assert desk.gateway.channels is not None
        found, room = desk.gateway.channels, desk.shop.runner._most
        desk.shop.runner._most = 0
        asked = desk.question(7)
        assert desk.ask(asked) is None
        assert "EndpointBusy" in found.routes()[0].barred
        (choice,) = found._choices.values()
        assert choice.barred_until - time.monotonic() <= 1.0  # Retry-After of the endpoint
        desk.shop.runner._most = room
        desk.route()
        assert desk.ask(desk.question(8)) is not None
        assert desk.spent == 2 * FEE


def test_answer__wrong_receipt__kept_on_the_chain_and_never_asked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk.shop.serving():
        client = desk.route()
        right = client._endpoint.http.post

        def tampered(*arguments: object, **named: object) -> object:
            reply = right(*arguments, **named)
            found = channel_wire.read_receipt(reply.headers[channel_wire.RECEIPT])
            wrong = replace(found, output_root=Bytes32(b"\7" * 32))
            reply.headers[channel_wire.RECEIPT] = channel_wire.receipt_header(wrong)
            return reply

        monkeypatch.setattr(client._endpoint.http, "post", tampered)
        asked = desk.question(4)
        assert desk.ask(asked) is None
        assert desk.ticket(asked).state in (TicketState.ACCEPTED, TicketState.ASKED)
        assert desk.spent == FEE
        assert "another answer" in json.loads((client.folder / "wrong.json").read_text())["reason"]
        monkeypatch.setattr(channels, "FRESH", 0.0)
        monkeypatch.setattr(channels, "BARRED", 0.0)
        assert desk.gateway.channels is not None
        choice = next(iter(desk.gateway.channels._choices.values()))
        looked = choice.looked_at
        desk.gateway.channels.route(asked.listing)
        wait_until(lambda: choice.looked_at > looked, "another look")
        assert desk.gateway.channels.route(asked.listing) is None


@pytest.mark.parametrize("line", ["asked", "answered"])
def test_crash__between_two_lines__charge_undone_and_charged_once_again(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """What a dead process leaves: a ticket that is called out."""
    endpoints.announce(shop.world.network, shop.world.operator, shop.url)

    class Died(BaseException):
        """The process ends here."""

    def die(*_: object, **__: object) -> None:
        raise Died

    with shop.serving():
        with opened(shop, tmp_path) as desk:
            desk.route()
            asked = desk.question(5, "mine")
            with monkeypatch.context() as patch:
                if line == "asked":
                    patch.setattr(ChannelClient, "ask_encoded", die)
                else:
                    patch.setattr(desk.gateway.store, "write", once_then(desk.gateway.store, die))
                with pytest.raises(Died):
                    desk.ask(asked)
            assert desk.spent == FEE
        with opened(shop, tmp_path) as desk:
            assert desk.spent == 0
            client = desk.route()
            signed = desk.ask(desk.question(5, "mine"))
            assert signed is not None
            assert desk.spent == FEE
            assert client.answered == (1 if line == "asked" else 2)


def once_then(store: Store, die: Any) -> Any:
    right, calls = store.write, iter([False, True])

    def write(change: Any) -> Any:
        return die() if next(calls) else right(change)

    return write


def test_answer__same_question_at_once__one_answer_for_all(desk: Desk) -> None:
    with desk.shop.serving():
        client = desk.route()

        async def all_of() -> list[SignedAnswer | None]:
            asked = desk.question(6)
            one = (desk.gateway.answer_signed(desk.key, asked) for _ in range(8))
            return await asyncio.gather(*one)

        found = asyncio.run(all_of())
        assert {one.file.request_id for one in found if one} == {
            RequestId(found[0].file.request_id) if found[0] else None
        }
        assert all(found)
        assert desk.spent == FEE
        assert client.answered == 1
