"""A text model at an endpoint: whole and in pieces, paid by voucher or channel, and what breaks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from oracle.protocol import channel_wire, text
from oracle.protocol.text import TextQuestion
from tallystick.channel import EndpointOverloaded, ReceivedAnswer
from tests.services.conftest import DOLLAR, World
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.waiting import wait_until
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import SIGNER, Customer

pytestmark = pytest.mark.real
HELLO = [{"role": "user", "content": "the tally stick"}]


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def aviary(world: World, parrot: Parrot, tmp_path: Path) -> Shop:
    """A parrot for sale."""
    sells = replace(world, folder=write_parrot(tmp_path / "parrot"))
    sells.publish()
    sells.serve(1)
    sells.prepay(500 * DOLLAR)
    made = Shop(sells, tmp_path / "endpoint", load=parrot.load)
    made.offer = made.cover()
    return made


@pytest.fixture
def alice(aviary: Shop) -> Iterator[Customer]:
    """Who pays with vouchers by hand."""
    with aviary.serving():
        customer = Customer(aviary)
        customer.fund(9 * FEE)
        yield customer


def paid(alice: Customer, number: int) -> dict[str, str]:
    return {channel_wire.VOUCHER: channel_wire.voucher_header(alice.sign(number), SIGNER)}


def ask(alice: Customer, number: int, path: str = "chat/completions", **body: Any) -> Any:
    given = {"model": NAME, **({} if "prompt" in body or "input" in body else {"messages": HELLO})}
    return alice.http.post(f"/v1/{path}", json={**given, **body}, headers=paid(alice, number))


@contextmanager
def listening(alice: Customer, number: int, **body: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The chunks of a streamed chat, as long as the block runs."""
    given = {"model": NAME, "messages": HELLO, "stream": True, **body}
    with alice.http.stream(
        "POST", "/v1/chat/completions", json=given, headers=paid(alice, number)
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = (line[6:] for line in reply.iter_lines() if line.startswith("data: "))
        yield (json.loads(line) for line in lines if line != "[DONE]")


def told(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)


def question(content: str) -> bytes:
    asked = TextQuestion.parse({"messages": [{"role": "user", "content": content}]})
    return bytes(text.encode_question(asked)["question"])


# ── Whole ───────────────────────────────────────────────────────────────────────────────────────
def test_text__three_routes__written_signed_and_counted(alice: Customer) -> None:
    unpaid = alice.http.post("/v1/chat/completions", json={"model": NAME, "messages": HELLO})
    assert (unpaid.status_code, unpaid.json()["error"]["code"]) == (402, "VoucherMissing")
    chat = ask(alice, 1, seed=7)
    assert chat.status_code == 200, chat.text
    found = chat.json()
    assert found["choices"][0]["message"]["content"] == "the tally stick [7]"
    assert found["usage"]["completion_tokens"] == 5  # four words, and the end
    receipt = channel_wire.read_receipt(chat.headers[channel_wire.RECEIPT])
    assert found["tallystick"]["receipt"] == channel_wire.receipt_json(receipt)
    assert (receipt.index, found["tallystick"]["fee"]) == (1, "1.00")
    cut = ask(alice, 2, "completions", prompt="say: one two three", max_tokens=2).json()
    assert (cut["choices"][0]["text"], cut["choices"][0]["finish_reason"]) == ("one two", "length")
    response = ask(alice, 3, "responses", input="hello", instructions="Be kind.").json()
    assert response["output"][0]["content"][0]["text"] == "hello [0]"
    assert alice.held()["answered"] == 3


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "PromptTooLong"),
        ({"max_tokens": 4097}, "InputInvalid"), ({"temperature": 3}, "InputInvalid"),
        ({"seed": -1}, "InputInvalid"), ({"n": 2}, "QuestionInvalid"),
        ({"messages": HELLO * 5000}, "QuestionInvalid"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_text__does_not_fit__is_400_and_costs_nothing(
    alice: Customer, body: dict, code: str, stream: bool
) -> None:
    refused = ask(alice, 1, **body, stream=stream)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code), refused.text
    assert alice.held()["answered"] == 0


def test_text__bodies_that_are_none__are_refused_in_openais_shape(alice: Customer) -> None:
    for content in (b"{", b"[]", b'{"model": "parrot"}', b'{"model": "parrot", "messages": 1}'):
        reply = alice.http.post(
            "/v1/chat/completions", content=content, headers={"content-type": "application/json"}
        )
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "RequestInvalid")


def test_text__model_that_does_not_write__is_400(shop: Shop) -> None:
    with shop.serving():
        alice = Customer(shop)
        alice.fund(FEE)
        refused = ask(alice, 1, model="digits")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InputInvalid")
        assert "does not write text" in refused.json()["error"]["message"]


# ── In pieces ───────────────────────────────────────────────────────────────────────────────────
def test_text__streamed__pieces_before_it_is_done_and_the_receipt_last(
    alice: Customer, parrot: Parrot
) -> None:
    parrot.held_after = 2
    parrot.gate.clear()
    options = {"include_usage": True}
    with listening(alice, 1, stream_options=options) as chunks:
        first = [next(chunks) for _ in range(3)]
        assert told(first) == "the tally"
        assert alice.held()["answered"] == 0  # it is still being written
        parrot.gate.set()
        *rest, last, usage = chunks
    assert told([*first, *rest]) == "the tally stick [0]"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["tallystick"]["receipt"]["index"] == 1
    assert usage["usage"]["completion_tokens"] == 5
    assert alice.held()["answered"] == 1


def test_text__stop_string_across_pieces__is_never_told(alice: Customer, parrot: Parrot) -> None:
    parrot.says = "one E ND two"
    with listening(alice, 1, stop=["E ND"]) as chunks:
        found = list(chunks)
    assert (told(found), found[-1]["choices"][0]["finish_reason"]) == ("one ", "stop")


def test_text__reader_goes_before_the_first_piece__is_stopped_and_free(
    alice: Customer, parrot: Parrot
) -> None:
    parrot.held_after = 0
    parrot.gate.clear()
    with listening(alice, 1) as chunks:
        next(chunks)
        wait_until(lambda: parrot.begun == 1, "the writing")
    wait_until(lambda: not alice.shop.runner._writing, "that nobody waits for it")
    parrot.gate.set()
    wait_until(lambda: parrot.closed == 1, "the end of the writing")
    assert alice.held()["answered"] == 0
    assert ask(alice, 1).status_code == 200  # the same voucher pays for the next try


def test_text__reader_goes_in_the_middle__is_signed_and_there_again(
    alice: Customer, parrot: Parrot
) -> None:
    parrot.held_after = 2
    parrot.gate.clear()
    with listening(alice, 1) as chunks:
        next(chunks), next(chunks)
    parrot.gate.set()
    wait_until(lambda: alice.held()["answered"] == 1, "the answer that was read in part")
    with listening(alice, 1) as chunks:
        found = list(chunks)
    assert (told(found), found[-1]["tallystick"]["receipt"]["index"]) == ("the tally stick [0]", 1)
    assert (parrot.begun, alice.held()["answered"]) == (1, 1)


def test_text__engine_dies_in_the_middle__error_and_nothing_charged(
    alice: Customer, parrot: Parrot
) -> None:
    parrot.dies_after = 2
    with listening(alice, 1) as chunks:
        *found, last = chunks
    assert (told(found), last["error"]["code"]) == ("the tally", "EngineDied")
    assert ask(alice, 1).status_code == 503
    assert alice.held()["answered"] == 0
    parrot.dies_after = -1
    assert ask(alice, 1).status_code == 200


# ── A channel ───────────────────────────────────────────────────────────────────────────────────
def test_channel__heard__pieces_are_the_answer_and_its_receipt_is_checked(
    aviary: Shop, parrot: Parrot
) -> None:
    with aviary.serving():
        channel, heard = aviary.channel(), list[str]()
        encoded = channel.form.encode_inputs(
            text.encode_question(TextQuestion.parse({"prompt": "say: one two"}))
        )
        params = channel.manifest.pack_params({})
        answer: ReceivedAnswer = channel.ask_encoded(encoded, params, heard.append)
        assert "".join(heard) == text.decode_answer(answer.outputs).content == "one two [0]"
        assert (len(heard) > 1, channel.answered) == (True, 1)
        parrot.dies_after = 1
        other = channel.form.encode_inputs(
            text.encode_question(TextQuestion.parse({"prompt": "say: three four"}))
        )
        with pytest.raises(EndpointOverloaded, match="EngineDied"):
            channel.ask_encoded(other, params, heard.append)


def test_channel__openai_in_front__texts_are_streamed(aviary: Shop) -> None:
    with aviary.serving():
        channel = aviary.channel()
        transport = httpx.WSGITransport(app=channel.openai())
        with httpx.Client(transport=transport, base_url="http://channel/v1") as client:
            body = {"model": NAME, "messages": HELLO}
            reply = client.post("/chat/completions", json=body)
            content = reply.json()["choices"][0]["message"]["content"]
            assert content == "the tally stick [0]", reply.text
            streamed = client.post("/chat/completions", json={**body, "stream": True, "seed": 3})
            assert streamed.headers["content-type"].startswith("text/event-stream")
            lines = [line[6:] for line in streamed.text.split("\n") if line.startswith("data: ")]
            assert told([json.loads(one) for one in lines[:-1]]) == "the tally stick [3]"
            assert lines[-1] == "[DONE]"
            refused = client.post("/embeddings", json={"model": NAME, "input": "x"})
            assert refused.status_code == 400
            assert client.post("/chat/completions", json={**body, "n": 2}).status_code == 400
            assert channel.answered == 2
