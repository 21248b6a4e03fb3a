"""Each voucher that does not pay is refused by name, and a wrong receipt ends a channel."""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import requests
import torch

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.model_access import Policy
from oracle.errors import Unavailable
from oracle.protocol import channel_wire, tensor, vouchers
from oracle.protocol.vouchers import Voucher
from oracle.services import access
from oracle.services.channels import deposits
from oracle.types import ZERO32, Amount, Bytes32, Timestamp
from tallystick.channel import EndpointRefused, ReceiptWrong, VoucherNotTaken
from tests.worker.builders import digits_module, images
from tests.worker.endpoint.conftest import FEE, Shop
from worker import runtimes
from worker.runtimes.base import Runtime

pytestmark = pytest.mark.real
KEY = b"\x31" * 32
SIGNER = vouchers.signer_of(Bytes32(b"\1" * 32), vouchers.sign(KEY, Bytes32(b"\1" * 32)))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GIVEN = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}


class Customer:
    """A client by hand: signs what it is told to."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.network = shop, shop.world.network
        self.payer, self.offer_id = shop.world.requester.address, vouchers.offer_id(shop.offer)
        self.channel = vouchers.channel_id(self.payer, SIGNER, self.offer_id)
        self.http = httpx.Client(base_url=shop.url, trust_env=False, timeout=60)

    def fund(self, amount: int) -> None:
        call = self.network.channels.open(self.payer, SIGNER, self.shop.offer, Amount(amount))
        self.shop.world.requester.send(call)

    def sign(
        self,
        answers: int,
        root: Bytes32 = ZERO32,
        *,
        by: bytes = KEY,
        chain: int = 0,
        **other: object,
    ) -> Voucher:
        contracts = self.network.contracts
        domain = vouchers.separator(chain or contracts.chain_id, contracts.payment_channels)
        made = Voucher(self.payer, self.offer_id, Amount(answers * FEE), answers, root)
        made = replace(made, **other)
        return replace(made, signature=vouchers.sign(by, vouchers.voucher_digest(domain, made)))

    def post(
        self, voucher: Voucher | None, model: str = "digits", pixel: float = 0.5
    ) -> httpx.Response:
        headers = {}
        if voucher is not None:
            headers[channel_wire.VOUCHER] = channel_wire.voucher_header(voucher, SIGNER)
        return self.http.post(
            f"/v2/models/{model}/infer", headers=headers,
            json={"id": "7", "inputs": [{**GIVEN, "data": [pixel] * 64}]},
        )  # fmt: skip

    def refused(self, voucher: Voucher | None) -> str:
        reply = self.post(voucher, pixel=0.25)  # another question than those that are answered
        assert reply.status_code == 402, reply.text
        problem = reply.json()
        assert (problem["price"], problem["token"]) == (str(FEE), self.network.contracts.token)
        assert channel_wire.offer_of(problem["offer"]) == self.shop.offer
        return problem["code"]

    def held(self, after: int = 0) -> dict:
        place = f"{self.payer}/{SIGNER}/0x{self.offer_id.hex()}"
        return self.http.get(f"/channels/{place}", params={"after": after}).json()


def test_infer__vouchers_that_do_not_pay__each_refused_by_name(shop: Shop) -> None:
    with shop.serving():
        alice = Customer(shop)
        assert alice.refused(None) == "VoucherMissing"
        assert alice.refused(alice.sign(1)) == "VoucherAboveDeposit"  # there is no channel
        alice.fund(4 * FEE)
        good = alice.sign(1)
        s = ORDER - int.from_bytes(good.signature[32:64])
        other_s = good.signature[:32] + s.to_bytes(32) + bytes([55 - good.signature[64]])
        refused = {
            "VoucherMalformed": replace(good, signature=other_s),
            "VoucherForeign": alice.sign(1, chain=5),
            "OfferUnknown": alice.sign(1, offer_id=ZERO32),
            "VoucherMiscounted": alice.sign(1, cumulative=Amount(FEE + 1)),
            "ReceiptsRootUnknown": alice.sign(1, Bytes32(b"\5" * 32)),
            "VoucherAboveDeposit": alice.sign(5),
        }
        assert {code: alice.refused(voucher) for code, voucher in refused.items()} == {
            code: code for code in refused
        }
        assert alice.refused(alice.sign(1, by=b"\x32" * 32)) == "VoucherForeign"
        assert alice.held()["answered"] == 0

        first = alice.post(good)
        (logits,) = first.json()["outputs"]
        np.testing.assert_allclose(logits["data"], expected(), atol=1e-5)
        receipt = channel_wire.read_receipt(first.headers[channel_wire.RECEIPT])
        assert receipt.index == 1
        assert alice.refused(good) == "VoucherEqual"
        root = channel_wire.parse_bytes32(alice.held()["receiptsRoot"])
        assert alice.post(alice.sign(2, root)).status_code == 200
        assert alice.refused(good) == "VoucherLower"
        assert alice.refused(alice.sign(3)) == "ReceiptsRootUnknown"  # the last one was later
        held = alice.held(after=1)
        assert (held["cumulative"], held["answered"]) == (str(2 * FEE), 2)
        assert [one["index"] for one in held["receipts"]] == [2]
        assert alice.post(good, "nothing").status_code == 404


def test_infer__bad_question__nothing_is_charged(shop: Shop) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(FEE)
        headers = {
            channel_wire.VOUCHER: channel_wire.voucher_header(alice.sign(1), SIGNER),
            "Content-Type": channel_wire.CANONICAL,
        }
        shapes = ((1, 1, 7, 8), (30, 1, 8, 8))  # no image; an answer above the limit
        images_ = (tensor.encode({"image": np.zeros(shape, np.float32)}) for shape in shapes)
        for bad in (b"no tensors", *images_):
            reply = alice.http.post("/v2/models/digits/infer", content=bad, headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (400, "InputInvalid")
        assert alice.post(alice.sign(1)).status_code == 200


def test_infer__payer_without_access__contracts_sentence(shop: Shop) -> None:
    network, owner = shop.world.network, shop.world.owner
    access.set_policy(network, owner, 1, Policy.ALLOW_LIST)
    with shop.serving():
        channel = shop.channel()
        with pytest.raises(EndpointRefused, match="GrantMissing"):
            channel.ask(question())
    with shop.serving():  # what the chain said is kept for some seconds
        access.grant(network, owner, 1, shop.world.requester.address)
        assert shop.channel().ask(question()).receipt.index == 1


def test_infer__more_than_the_owner_allows_a_payer__refused_until_the_next_window(
    shop: Shop,
) -> None:
    access.set_policy(shop.world.network, shop.world.owner, 1, Policy.OPEN, (2, 3600))
    alice = Customer(shop)
    alice.fund(4 * FEE)
    with shop.serving():
        assert [alice.post(alice.sign(n)).status_code for n in (1, 2, 3)] == [200, 200, 429]
    with shop.serving():  # the receipts remember
        reply = alice.post(alice.sign(3))
        assert (reply.status_code, reply.json()["code"]) == (429, "RateLimitExceeded")
        shop.ahead = 3601
        assert [alice.post(alice.sign(n)).status_code for n in (3, 4)] == [200, 200]


def test_infer__channel_closing_or_offer_ending__refused(shop: Shop) -> None:
    network, payer = shop.world.network, shop.world.requester
    with shop.serving():
        channel = shop.channel()
        channel.ask(question())
    payer.send(network.channels.close(channel.signer, shop.offer, deposits.SOON))
    ending = r"ChannelEnding: channel 0x\w{8} closes [-\d]{10} [:\d]{8} UTC, too soon"
    with shop.serving(), pytest.raises(VoucherNotTaken, match=ending) as refused:
        shop.channel().ask(question())
    assert "open it again" in refused.value.hint
    shop.world.operator.send(network.channels.uncover(shop.offer))
    shop.ahead = network.history.now() + 61 - time.time()  # more than half of two windows
    with shop.serving(), pytest.raises(VoucherNotTaken, match="OfferOver"):
        shop.channel().ask(question())


def test_restart__client_and_endpoint__go_on_where_they_were(shop: Shop) -> None:
    with shop.serving():
        channel = shop.channel(deposit=FEE, limit=4 * FEE)
        assert [channel.ask(question(n)).receipt.index for n in range(2)] == [1, 2]
    with shop.serving():
        again = shop.channel(deposit=FEE, limit=4 * FEE)
        assert (again.signer, again.answered) == (channel.signer, 2)
        assert again.ask(question(2)).receipt.index == 3
        channel.catch_up()  # the older object missed one
        assert channel.ask(question(3)).receipt.index == 4
        with pytest.raises(Exception, match="limit of"):
            channel.ask(question(4))
    held = shop.world.network.channels.channel_of(channel.channel_id)
    assert (held.deposit, held.claimed) == (4 * FEE, 4 * FEE)


def test_infer__books_lost__channel_is_not_counted_anew(shop: Shop) -> None:
    with shop.serving():
        shop.channel().ask(question())
    (shop.path / "endpoint.db").unlink()
    with shop.serving(), pytest.raises(VoucherNotTaken, match="ChannelForgotten"):
        shop.channel().ask(question())


def test_ask__lost_reply_that_another_thread_caught_up__asks_again(shop: Shop) -> None:
    with shop.serving():
        channel = shop.channel()
        right, calls = channel._endpoint.http.post, itertools.count(1)

        def lossy(*arguments: object, **named: object) -> requests.Response:
            reply, call = right(*arguments, **named), next(calls)
            if call <= 2:  # the client tries once more by itself
                raise requests.ConnectionError("the reply was lost")
            if call == 3:
                assert reply.status_code == 402  # VoucherEqual
                channel.catch_up()  # as another thread would, before this one does
            return reply

        channel._endpoint.http.post = lossy
        with pytest.raises(Unavailable):
            channel.ask(question())
        assert channel.ask(question(1)).receipt.index == 2
        assert channel.answered == 2


def test_ask__reply_lost__comes_again_and_is_paid_once(shop: Shop) -> None:
    with shop.serving():
        channel = shop.channel()
        right, calls = channel._endpoint.http.post, itertools.count(1)

        def lossy(*arguments: object, **named: object) -> requests.Response:
            reply = right(*arguments, **named)
            if next(calls) in (1, 2, 3):
                raise requests.ConnectionError("the reply was lost")
            return reply

        channel._endpoint.http.post = lossy
        with pytest.raises(Unavailable):
            channel.ask(question())
        answer = channel.ask(question())  # lost once more, and asked again by the client itself
        assert (answer.receipt.index, channel.answered) == (1, 1)
        with torch.inference_mode():
            wanted = digits_module()(torch.from_numpy(question())).numpy()
        np.testing.assert_allclose(answer.outputs["logits"], wanted, atol=1e-5)
    held = shop.world.network.channels.channel_of(channel.channel_id)
    assert held.claimed == FEE


def test_infer__same_voucher_and_question__same_answer_and_receipt(shop: Shop) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(2 * FEE)
        first, again = (alice.post(alice.sign(1)) for _ in range(2))
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.headers[channel_wire.RECEIPT] == first.headers[channel_wire.RECEIPT]
        assert again.json() == first.json()
        assert alice.held()["answered"] == 1
        assert alice.refused(alice.sign(1)) == "VoucherEqual"
    with shop.serving():  # what it kept in memory is gone, the books are not
        later = alice.post(alice.sign(1))
        assert (later.headers[channel_wire.RECEIPT], later.json()) == (
            first.headers[channel_wire.RECEIPT], first.json()
        )  # fmt: skip
        assert alice.refused(alice.sign(1)) == "VoucherEqual"
        assert [one["index"] for one in alice.held()["receipts"]] == [1]


class Fragile:
    """A runtime that fails once."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.nbytes, self.fails = runtime, runtime.nbytes, 1

    def run(self, *arguments: Any) -> Any:
        self.fails -= 1
        if self.fails >= 0:
            raise RuntimeError("a layer broke")
        return self.runtime.run(*arguments)


def test_infer__model_fails__same_voucher_pays_for_the_next(shop: Shop) -> None:
    shop.load = lambda *given: Fragile(runtimes.load(*given))
    with shop.serving():
        channel = shop.channel(deposit=FEE)
        with pytest.raises(EndpointRefused, match="ModelFailed"):
            channel.ask(question())
        assert channel.ask(question()).receipt.index == 1


class Slow:
    """A runtime in front of which a question waits until something has happened."""

    def __init__(self, runtime: Runtime, happens: Callable[[], object]) -> None:
        self.runtime, self.nbytes, self._happens = runtime, runtime.nbytes, happens

    def run(self, *arguments: Any) -> Any:
        self._happens()
        return self.runtime.run(*arguments)


def test_infer__access_ends_while_the_question_waits__no_receipt_is_signed(shop: Shop) -> None:
    """Signed five minutes after its owner refused a payer, it would convict the operator."""
    network, owner = shop.world.network, shop.world.owner

    def wait() -> None:
        access.set_policy(network, owner, 1, Policy.ALLOW_LIST)
        shop.ahead = 301

    shop.load = lambda *given: Slow(runtimes.load(*given), wait)
    with shop.serving():
        alice = Customer(shop)
        alice.fund(FEE)
        reply = alice.post(alice.sign(1))
        assert (reply.status_code, reply.json()["code"]) == (403, "GrantMissing")
        assert alice.held()["answered"] == 0


# ── Receipts ────────────────────────────────────────────────────────────────────────────────────
WRONG = {
    "another question": {"input_root": Bytes32(b"\7" * 32)},
    "another answer": {"output_root": Bytes32(b"\7" * 32)},
    "is not now": {"answered_at": Timestamp(1)},
    "did not sign": {"signature": vouchers.sign(KEY, Bytes32(b"\3" * 32))},
}


@pytest.mark.parametrize("why", WRONG)
def test_ask__receipt_that_is_not_the_operators_word__ends_the_channel(
    shop: Shop, why: str
) -> None:
    with shop.serving():
        channel = shop.channel()
        right = channel._endpoint.http.post

        def tampered(*arguments: object, **named: object) -> object:
            reply = right(*arguments, **named)
            found = channel_wire.read_receipt(reply.headers[channel_wire.RECEIPT])
            header = channel_wire.receipt_header(replace(found, **WRONG[why]))
            reply.headers[channel_wire.RECEIPT] = header
            return reply

        channel._endpoint.http.post = tampered
        with pytest.raises(ReceiptWrong, match=why):
            channel.ask(question())
        with pytest.raises(ReceiptWrong, match=why):
            channel.ask(question(1))


def test_ask__two_receipts_of_one_index__end_the_channel(shop: Shop) -> None:
    with shop.serving():
        channel = shop.channel()
        channel.ask(question())
        right = channel._endpoint.http.post

        def again(*arguments: object, **named: object) -> object:
            reply = right(*arguments, **named)
            found = channel_wire.read_receipt(reply.headers[channel_wire.RECEIPT])
            found = replace(found, index=1)
            digest = channel.channel.digest(found)
            signed = replace(found, signature=vouchers.sign(bytes(dev_account(1).key), digest))
            reply.headers[channel_wire.RECEIPT] = channel_wire.receipt_header(signed)
            return reply

        channel._endpoint.http.post = again
        with pytest.raises(ReceiptWrong, match="signed two receipts 1"):
            channel.ask(question(1))


def test_ask__after_a_wrong_receipt__kept_and_never_asked_again(shop: Shop) -> None:
    with shop.serving():
        channel = shop.channel()
        right = channel._endpoint.http.post

        def bare(*arguments: object, **named: object) -> object:
            reply = right(*arguments, **named)
            del reply.headers[channel_wire.RECEIPT]
            return reply

        channel._endpoint.http.post = bare
        with pytest.raises(ReceiptWrong, match="without a receipt"):
            channel.ask(question())
        (evidence,) = shop.world.network.settings.home.glob("channels/*/wrong.json")
        kept = json.loads(evidence.read_text())
        assert kept["operator"] == shop.offer.operator
        assert len(kept["output"]) > 100
        with pytest.raises(ReceiptWrong, match=r"wrong\.json"):
            shop.channel().ask(question())  # as another process does


def test_catch_up__receipts_of_answers_that_nobody_asked_for__are_not_paid(shop: Shop) -> None:
    """An operator signs what it likes: it must not make the payer sign for it as well."""
    with shop.serving():
        channel = shop.channel(deposit=10 * FEE)
        first = channel.ask(question())
        forged = []
        for index in range(2, 9):
            blank = replace(first.receipt, index=index)
            digest = channel.channel.digest(blank)
            forged.append(
                replace(blank, signature=vouchers.sign(bytes(dev_account(1).key), digest))
            )
        channel._endpoint.receipts = lambda _place, after: [
            one for one in forged if one.index > after
        ]
        with pytest.raises(ReceiptWrong, match="nobody asked for"):
            channel.catch_up()
        with pytest.raises(ReceiptWrong, match="nobody asked for"):
            channel.ask(question(1))
        assert channel._received.signed.read() == 1


def question(seed: int = 0) -> np.ndarray:
    return images(seed=seed)


def expected() -> list[float]:
    with torch.inference_mode():
        return digits_module()(torch.full((1, 1, 8, 8), 0.5)).numpy().ravel().tolist()
