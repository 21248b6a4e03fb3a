"""Text models through a gateway: pieces that a worker tells, the answer that the chain names."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from oracle.services.channels import endpoints
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.text_site import Site
from tests.support.waiting import wait_until
from tests.worker.endpoint.conftest import FEE, Shop

__all__ = ["anvil", "contracts", "world"]
pytestmark = pytest.mark.real
PYTHON = Path(__file__).parents[2] / "build" / "clients" / "bin" / "python"


def told(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def site(world: World, parrot: Parrot, tmp_path: Path) -> Site:
    sells = replace(world, folder=write_parrot(tmp_path / "parrot"))
    sells.publish()
    sells.serve(1, stake=200)
    sells.prepay(500 * DOLLAR)
    return Site(sells, parrot, tmp_path)


def test_text__over_the_chain__whole_with_fee_and_usage(site: Site) -> None:
    with site.running():
        found = site.ask(seed=5).json()
        assert found["choices"][0]["message"]["content"] == "the tally stick [5]"
        assert found["usage"]["completion_tokens"] == 5
        assert (found["tallystick"]["path"], found["tallystick"]["fee"]) == ("chain", "1.00")
        again = site.ask(seed=5).json()  # a seed used again: the same request, paid once
        assert again["tallystick"]["request"] == found["tallystick"]["request"]
        assert site.spent == FEE
        other = site.ask("responses", input="hello").json()
        assert other["output"][0]["content"][0]["text"] == "hello [0]"


def test_text__logprobs__of_each_token_and_of_the_likeliest_whole_and_streamed(site: Site) -> None:
    with site.running():
        asked = {"logprobs": True, "top_logprobs": 2}
        whole = site.ask(**asked).json()["choices"][0]["logprobs"]["content"]
        assert "".join(one["token"] for one in whole) == "the tally stick [0]"
        assert [one["token"] for one in whole[1]["top_logprobs"]] == [" tally", "x1"]
        with site.listening(**asked) as chunks:
            assert list(chunks)[-1]["choices"][0]["logprobs"]["content"] == whole


def test_text__streamed_over_the_chain__pieces_before_the_delivery(site: Site) -> None:
    site.parrot.held_after = 2
    site.parrot.gate.clear()
    with site.running(), site.listening(stream_options={"include_usage": True}) as chunks:
        first = [next(chunks), next(chunks)]
        assert told(first) == "the"
        assert not [chunk for chunk in first if chunk["choices"][0]["finish_reason"]]
        site.parrot.gate.set()
        *rest, last, usage = chunks
        assert told([*first, *rest]) == "the tally stick [0]"
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["tallystick"]["request"].startswith("0x")
        assert usage["usage"]["total_tokens"] > 5


def test_text__nothing_is_heard__answer_comes_all_the_same(site: Site) -> None:
    site.deaf = True
    with site.running(), site.listening() as chunks:
        found = list(chunks)
    assert told(found) == "the tally stick [0]"
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


def test_text__worker_tells_another_text__stream_ends_with_an_error(site: Site) -> None:
    site.lies = True
    with site.running(), site.listening() as chunks:
        *found, last = chunks
    assert last["error"]["code"] == "StreamDiffers"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in found)


def test_text__prompt_above_the_context__is_400_and_money_comes_back(site: Site) -> None:
    with site.running():
        refused = site.ask(messages=[{"role": "user", "content": "x" * 5000}])
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "PromptTooLong"), refused.text
        assert "the fee comes back" in error["message"]


def test_text__engine_dies__424_or_an_error_event(site: Site) -> None:
    site.parrot.dies_after = 1
    with site.running(answer_timeout=2.0):
        late = site.ask()  # the worker tries again: it may be answered still
        assert (late.status_code, late.json()["error"]["code"]) == (408, "NotYet")


def test_text__late__asked_again_it_is_there_and_paid_once(site: Site) -> None:
    site.parrot.held_after = 2
    site.parrot.gate.clear()
    with site.running(answer_timeout=1.0):
        late = site.ask()
        assert (late.status_code, "choices" in late.json()) == (408, False)
        assert late.headers["Location"].startswith("/api/requests/0x")
        site.parrot.gate.set()
        found: list[httpx.Response] = []
        wait_until(lambda: found.append(site.ask()) or found[-1].is_success, "the text")
        told = found[-1].json()["choices"][0]["message"]["content"]
        assert (told, site.parrot.begun, site.spent) == ("the tally stick [0]", 1, FEE)


def test_text__reader_goes__request_goes_on_and_is_paid_once(site: Site) -> None:
    site.parrot.held_after = 2
    site.parrot.gate.clear()
    with site.running():
        with site.listening() as chunks:
            next(chunks), next(chunks)
        site.parrot.gate.set()
        found = site.ask().json()
        assert found["choices"][0]["message"]["content"] == "the tally stick [0]"
        assert (site.parrot.begun, site.spent) == (1, FEE)


def test_text__over_a_channel__streamed_and_signed(site: Site) -> None:
    shop = Shop(site.world, site.path / "endpoint", load=site.parrot.load)
    shop.offer = shop.cover()
    endpoints.announce(site.world.network, site.world.operator, shop.url)
    with shop.serving(), site.running():
        assert site.gateway.channels is not None
        listing = site.gateway.catalogue.find(NAME)
        found = site.gateway.channels
        wait_until(lambda: found.route(listing), "a channel")
        site.parrot.held_after = 2
        site.parrot.gate.clear()
        with site.listening() as chunks:
            first = [next(chunks) for _ in range(3)]
            assert told(first) == "the tally"
            site.parrot.gate.set()
            *rest, last = chunks
        assert told([*first, *rest]) == "the tally stick [0]"
        assert last["tallystick"]["path"] == "channel"
        assert site.spent == FEE


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"n": 2}, 400),
        ({"max_tokens": 5000}, 400),
        ({"logprobs": True, "top_logprobs": 9}, 400),
        ({"tool_choice": "required"}, 400),
        ({"response_format": {"type": "json_object"}}, 400),
        ({"logprobs": True, "top_logprobs": 8, "max_tokens": 1000}, 400),
        ({"messages": "x"}, 422),
        ({"model": "no"}, 404),
    ],
)
def test_text__refused_before_it_is_paid__openais_shape(
    site: Site, body: dict, status: int
) -> None:
    with site.running():
        for stream in (False, True):
            refused = site.ask(**body, stream=stream)
            assert refused.status_code == status, refused.text
            assert set(refused.json()["error"]) >= {"message", "type", "param", "code"}
        assert site.spent == 0


PROGRAM = """
import json, sys
import openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
hello = [{"role": "user", "content": "the tally stick"}]
whole = client.chat.completions.create(model="parrot", messages=hello, seed=1, max_tokens=9)
stream = client.chat.completions.create(
    model="parrot", messages=hello, seed=2, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = client.completions.create(
    model="parrot", prompt="say: one two three", max_tokens=2, logprobs=1
)
shown = client.chat.completions.create(
    model="parrot", messages=hello, seed=3, logprobs=True, top_logprobs=3
).choices[0].logprobs.content
with client.chat.completions.stream(
    model="parrot", messages=hello, seed=3, logprobs=True, top_logprobs=3
) as events:
    streamed = events.get_final_completion().choices[0].logprobs.content
named = client.responses.create(
    model="parrot", input="hello", top_logprobs=2, include=["message.output_text.logprobs"]
).output[0].content[0].logprobs
response = client.responses.create(model="parrot", input="hello", instructions="Be kind.")
with client.responses.stream(model="parrot", input="bye") as events:
    kinds = [event.type for event in events]
    last = events.get_final_response()
refused = []
for bad in (
    {"n": 2}, {"max_tokens": 10**6}, {"messages": []}, {"logprobs": True, "top_logprobs": 20},
):
    try:
        client.chat.completions.create(**{"model": "parrot", "messages": hello, **bad})
    except openai.BadRequestError as error:
        refused.append(error.code)
print(json.dumps([
    whole.choices[0].message.content, whole.usage.total_tokens > 5,
    "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
    chunks[-1].usage.completion_tokens, text.choices[0].text, text.choices[0].finish_reason,
    response.output_text, response.status, kinds[0], kinds[-1], last.output_text, refused,
    "".join(one.token for one in shown), [one.token for one in shown[0].top_logprobs],
    b"".join(bytes(one.bytes) for one in shown).decode(), shown[0].logprob, streamed == shown,
    text.choices[0].logprobs.tokens, text.choices[0].logprobs.text_offset,
    [one.top_logprobs[1].token for one in named],
]))
"""


@pytest.mark.clients
def test_openai__unchanged__writes_streams_and_is_refused(site: Site) -> None:
    if not (PYTHON.parent.parent / ".stamp").exists():
        pytest.skip("no build/clients: `make test-clients` makes it")
    with site.running():
        words = [str(PYTHON), "-c", PROGRAM, site.url, site.secret]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "the tally stick [1]", True, "the tally stick [2]", 5, "one two", "length", "hello [0]",
        "completed", "response.created", "response.completed", "bye [0]",
        ["QuestionInvalid", "InputInvalid", "QuestionInvalid", "QuestionInvalid"],
        "the tally stick [3]", ["the", "x1", "x2"], "the tally stick [3]", -100 / 1024, True,
        ["one", " two"], [0, 3], ["x1", "x1"],
    ]  # fmt: skip
