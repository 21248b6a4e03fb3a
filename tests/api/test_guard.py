"""The app without servers: what stands before every route, and what is said when all goes wrong."""

import asyncio
import json

import httpx
import pytest

from oracle.api.app import create_app
from oracle.api.config import ApiConfig
from oracle.chain.memory import MemoryNode
from oracle.config import Settings
from oracle.ipfs.memory import MemoryIpfs
from oracle.services.network import Network
from oracle.types import Address, Contracts

PLACE = Address("0x" + "11" * 20)


@pytest.fixture
def app(tmp_path):
    """Return a function that makes a read-only app over a chain in memory with nothing on it."""
    names = [name for name in Contracts.__slots__ if name not in ("chain_id", "deployed_at")]
    contracts = Contracts(chain_id=31337, deployed_at=0, **dict.fromkeys(names, PLACE))
    settings = Settings(tmp_path, contracts=contracts)
    network = Network.over(settings, MemoryNode(), MemoryIpfs())
    return lambda **bounds: create_app(network, None, ApiConfig(**bounds))


def send(app, *requests):
    """Send requests one after the other, as from one address; return the answers."""

    async def talk():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.request(*parts, **options) for *parts, options in requests]

    return asyncio.run(talk())


def test_guard__too_many_from_one_address__are_told_when_to_come_back(app):
    answers = send(app(per_second=0.01, burst=2), *[("GET", "/v2/health/live", {})] * 3)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 90 <= int(answers[2].headers["retry-after"]) <= 100
    assert answers[2].json()["code"] == "TooManyRequests"


@pytest.mark.parametrize("name", ["rebound.example", "127.0.0.1.nip.io", "a@127.0.0.1"])
def test_guard__name_of_another_site__is_refused_before_anything_is_read(app, name):
    """DNS rebinding: a stranger's page speaks to this machine under a name of its own."""
    asked = {"headers": {"Host": name}}
    for path in ("/v2/health/live", "/api", "/"):
        (answer,) = send(app(), ("GET", path, asked))
        assert (answer.status_code, answer.json()["code"]) == (421, "HostRefused")


@pytest.mark.parametrize(
    "name", ["localhost:8551", "127.0.0.1", "192.168.1.7:80", "[::1]:8551", "Models.Example.org"]
)
def test_guard__own_name__is_answered(app, name):
    asked = {"headers": {"Host": name}}
    (answer,) = send(app(hosts=("models.example.org",)), ("GET", "/v2/health/live", asked))
    assert answer.status_code == 200


def test_guard__every_answer__has_an_id_and_says_what_browsers_may_not_do(app):
    given = {"headers": {"X-Request-ID": "mine.7"}}
    forged = {"headers": {"X-Request-ID": "a\tb" + "x" * 100}}
    first, second, third = send(
        app(), ("GET", "/v2/health/live", given), ("GET", "/nothing", {}),
        ("GET", "/v2/health/live", forged),
    )  # fmt: skip
    assert first.headers["x-request-id"] == "mine.7"
    assert second.json()["request_id"] == second.headers["x-request-id"]
    assert len(third.headers["x-request-id"]) == 16
    for answer in (first, second):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers


def test_guard__page_of_others__may_ask_only_when_it_is_named(app):
    asked = ("GET", "/v2/health/live", {"headers": {"Origin": "https://page.example"}})
    (closed,) = send(app(), asked)
    (opened,) = send(app(cors_origins=("https://page.example",)), asked)
    assert "access-control-allow-origin" not in closed.headers
    assert opened.headers["access-control-allow-origin"] == "https://page.example"


def test_guard__body_that_stops_coming__is_given_up(app):
    async def slow():
        yield b"{"
        await asyncio.sleep(5)

    (answer,) = send(app(body_timeout=0.05), ("POST", "/api/requests/relay", {"content": slow()}))
    assert (answer.status_code, answer.json()["code"]) == (408, "BodyTimeout")
    assert answer.headers["connection"] == "close"


def test_guard__body_above_the_limit__is_413_announced_or_not(app):
    async def pieces():
        for _ in range(10):
            yield b"x" * 100

    answers = send(
        app(max_body=500),
        ("POST", "/api/requests/relay", {"content": b"x" * 501}),
        ("POST", "/api/requests/relay", {"content": pieces()}),
    )
    assert [answer.status_code for answer in answers] == [413, 413]


def test_app__fault_inside__says_nothing_about_its_cause(app, monkeypatch):
    made = app()

    @made.get("/broken")
    async def broken():
        raise RuntimeError("the password is swordfish")

    (answer,) = send(made, ("GET", "/broken", {}))
    assert (answer.status_code, answer.json()["code"]) == (500, "InternalError")
    assert "swordfish" not in answer.text


def test_app__without_an_account__asks_nothing(app):
    (answer,) = send(app(), ("POST", "/v2/models/x/infer", {"json": {}}))
    assert (answer.status_code, answer.json()["code"]) == (503, "ReadOnly")


def test_metrics__route_is_a_pattern__never_what_a_client_made_up(app):
    *_, answer = send(
        app(), ("GET", "/made/up", {}), ("GET", "/v2/health/live", {}), ("GET", "/metrics", {})
    )
    assert 'route="/v2/health/live",status="200"' in answer.text
    assert "made" not in answer.text


def test_openapi__document__is_3_1_and_names_every_group(app):
    (answer,) = send(app(), ("GET", "/openapi.json", {}))
    document = json.loads(answer.text)
    assert document["openapi"].startswith("3.1")
    assert {"/v2/models/{name}/infer", "/v1/embeddings", "/api/requests/relay"} <= set(
        document["paths"]
    )
