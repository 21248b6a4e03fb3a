"""An answer as server-sent events: its steps, and readers who go, come back, or take nothing."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from oracle.protocol import channel_wire
from oracle.protocol.vouchers import Voucher
from tests.support.waiting import wait_until
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import GIVEN, SIGNER, Customer
from worker import runtimes

pytestmark = pytest.mark.real
INFER = "/v2/models/digits/infer"
BODY = {"id": "7", "inputs": [GIVEN]}


class Gated:
    """A runtime that waits until it may go on; it can be told to fail."""

    def __init__(self) -> None:
        self.gate, self.fails, self.begun = threading.Event(), False, 0

    def load(self, *arguments: Any) -> Any:
        self.inner = runtimes.load(*arguments)
        self.nbytes = self.inner.nbytes
        return self

    def run(self, *arguments: Any) -> Any:
        self.begun += 1
        self.gate.wait(60)
        if self.fails:
            raise ValueError("a layer broke")
        return self.inner.run(*arguments)


def headers(voucher: Voucher) -> dict[str, str]:
    paid = channel_wire.voucher_header(voucher, SIGNER)
    return {"Accept": "text/event-stream", channel_wire.VOUCHER: paid}


@contextmanager
def listening(alice: Customer, voucher: Voucher) -> Iterator[Iterator[dict[str, Any]]]:
    """A stream's events, as long as the block runs."""
    with alice.http.stream("POST", INFER, json=BODY, headers=headers(voucher)) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in reply.iter_lines() if line.startswith("data: "))
        yield (json.loads(line.removeprefix("data: ")) for line in lines)


@pytest.fixture
def gated(shop: Shop) -> Gated:
    made = Gated()
    shop.load = made.load
    return made


@pytest.fixture
def serving(shop: Shop, gated: Gated) -> Iterator[Callable[[], Customer]]:
    with shop.serving():
        yield lambda: Customer(shop)


def test_infer__as_events__tells_the_steps_and_ends_with_the_receipt(
    gated: Gated, serving: Callable[[], Customer]
) -> None:
    alice = serving()
    alice.fund(4 * FEE)
    with listening(alice, alice.sign(1)) as events:
        assert [next(events)["name"], next(events)["name"]] == ["queued", "running"]
        gated.gate.set()
        (answer,) = events
    plain = alice.post(alice.sign(1))
    assert answer["name"] == "answered"
    assert (answer["id"], answer["outputs"]) == ("7", plain.json()["outputs"])
    kept = channel_wire.read_receipt(plain.headers[channel_wire.RECEIPT])
    assert channel_wire.receipt_of(answer["receipt"]) == kept
    with listening(alice, alice.sign(1)) as events:  # asked again: it was answered before
        assert [event["name"] for event in events] == ["answered"]
    assert alice.held()["answered"] == gated.begun == 1


def test_infer__reader_goes_meanwhile__answer_is_there_when_it_comes_back_and_paid_once(
    gated: Gated, serving: Callable[[], Customer]
) -> None:
    alice = serving()
    alice.fund(4 * FEE)
    with listening(alice, alice.sign(1)) as events:
        assert [next(events)["name"], next(events)["name"]] == ["queued", "running"]
    gated.gate.set()
    wait_until(lambda: alice.held()["answered"] == 1, "the answer that nobody waits for")
    with listening(alice, alice.sign(1)) as events:
        (answer,) = events
    assert (answer["name"], answer["receipt"]["index"]) == ("answered", 1)
    assert alice.held()["answered"] == gated.begun == 1


def test_infer__reader_takes_nothing__others_are_answered(
    gated: Gated, serving: Callable[[], Customer]
) -> None:
    alice = serving()
    alice.fund(4 * FEE)
    gated.gate.set()
    first, body = headers(alice.sign(1)), json.dumps(BODY).encode()
    lines = [f"POST {INFER} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in first.items()]
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        silent.connect(("127.0.0.1", alice.shop.port))
        silent.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        wait_until(lambda: alice.held()["answered"] == 1, "the silent reader's answer")
        assert alice.post(alice.sign(2), pixel=0.25).status_code == 200
    assert alice.held()["answered"] == 2


def test_infer__model_fails_after_it_was_queued__is_an_event_and_costs_nothing(
    gated: Gated, serving: Callable[[], Customer]
) -> None:
    alice = serving()
    alice.fund(4 * FEE)
    gated.fails = True
    gated.gate.set()
    with listening(alice, alice.sign(1)) as events:
        *_, failed = events
    assert (failed["name"], failed["code"]) == ("failed", "ModelFailed")
    gated.fails = False
    with listening(alice, alice.sign(1)) as events:
        *_, answer = events
    assert answer["receipt"]["index"] == 1


def test_infer__voucher_does_not_pay__is_a_status_and_no_stream(
    serving: Callable[[], Customer],
) -> None:
    alice = serving()
    alice.fund(FEE)
    refused = alice.http.post(INFER, json=BODY, headers=headers(alice.sign(2)))
    assert (refused.status_code, refused.json()["code"]) == (402, "VoucherAboveDeposit")


def test_infer__asked_by_a_page_elsewhere__browser_may_send_a_voucher_and_read_the_receipt(
    serving: Callable[[], Customer],
) -> None:
    url, origin = serving().shop.url, {"Origin": "https://page.example"}
    wish = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,tallystick-params,tallystick-voucher",
    }
    allowed = httpx.options(url + INFER, headers=origin | wish, trust_env=False)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in allowed.headers
    refused = httpx.post(url + INFER, headers=origin, json=BODY, trust_env=False)
    assert refused.status_code == 402
    assert refused.headers["access-control-allow-origin"] == "*"
    assert refused.headers["access-control-expose-headers"] == channel_wire.RECEIPT
    more = wish | {"Access-Control-Request-Headers": "authorization"}
    assert httpx.options(url + INFER, headers=origin | more, trust_env=False).status_code == 400
