"""Text models through a gateway: pieces that a worker tells, the answer that the chain names."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from oracle.api.app import create_app
from oracle.api.config import ApiConfig
from oracle.api.header_limits import BoundedServer
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.inference_market import Requested
from oracle.gateway import api_keys
from oracle.gateway.channels import ChannelSettings
from oracle.gateway.gateway import Gateway
from oracle.ports import free_port
from oracle.queue.messages import InferMessage
from oracle.services import models
from oracle.services.channels import endpoints
from oracle.store import Store
from oracle.types import NO_CLAIM, Amount, Request, RequestId
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.waiting import wait_until
from tests.worker.endpoint.conftest import FEE, Shop
from worker.cache import FileCache
from worker.inputs import InputSource
from worker.models import ModelPool
from worker.outcomes import Answered
from worker.pipeline import Pipeline

__all__ = ["anvil", "contracts", "world"]
pytestmark = pytest.mark.real
HELLO = [{"role": "user", "content": "the tally stick"}]


@dataclass
class Site:
    """A gateway over HTTP, and an operator's worker in a thread."""

    world: World
    parrot: Parrot
    path: Path
    deaf: bool = False  # the gateway hears nothing of its worker
    lies: bool = False  # the worker tells another text than it delivers
    gateway: Gateway = field(init=False)
    http: httpx.Client = field(init=False)
    secret: str = ""

    @property
    def spent(self) -> int:
        return sum(key.spent for key in api_keys.listed(self.gateway.store))

    @contextmanager
    def running(self, **config: Any) -> Iterator["Site"]:
        network = self.world.network
        fast = replace(network.settings, poll_interval=0.03, redis_url="")
        store = Store.open(f"sqlite:///{self.path / 'gateway.db'}")
        paying = ChannelSettings(deposit=Amount(10 * FEE), limit=Amount(30 * FEE))
        self.gateway = Gateway(
            replace(network, settings=fast), dev_account(2), store, paying=paying
        )
        self.secret = api_keys.mint(store, "tests", Amount(100 * DOLLAR)).secret
        port = free_port()
        app = create_app(
            self.gateway.network, self.gateway,
            config=ApiConfig(per_second=0, **{"answer_timeout": 30.0, **config}),
        )  # fmt: skip
        server = BoundedServer(app, host="127.0.0.1", port=port, log_config=None)
        stopping = threading.Event()
        threads = [
            threading.Thread(target=server.run, daemon=True),
            threading.Thread(target=self._work, args=(stopping,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.started, "the gateway")
        auth = {"Authorization": f"Bearer {self.secret}"}
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v1", headers=auth, trust_env=False, timeout=120
        )
        try:
            yield self
        finally:
            self.http.close()
            stopping.set()
            server.should_exit = True
            wait_until(lambda: not any(one.is_alive() for one in threads), "the end")

    def ask(self, path: str = "chat/completions", **body: Any) -> httpx.Response:
        given = {"model": NAME, **({} if "input" in body else {"messages": HELLO})}
        return self.http.post(f"/{path}", json={**given, **body})

    @contextmanager
    def listening(self, **body: Any) -> Iterator[Iterator[dict[str, Any]]]:
        given = {"model": NAME, "messages": HELLO, "stream": True, **body}
        with self.http.stream("POST", "/chat/completions", json=given) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream"), reply.read()
            lines = (line[6:] for line in reply.iter_lines() if line.startswith("data: "))
            yield (json.loads(line) for line in lines if line != "[DONE]")

    # ── The worker ──────────────────────────────────────────────────────────────────────────────
    def _work(self, stopping: threading.Event) -> None:
        log, network = structlog.get_logger(), self.world.network
        cache = FileCache(self.path / "cache", 2**30, self.world.ipfs, log)
        pool = ModelPool(
            self.world.ipfs, cache, self.parrot.load, device="cpu", max_bytes=2**30, log=log
        )
        seen: set[RequestId] = set()
        with ThreadPoolExecutor(4) as transfers:
            source = InputSource(self.world.ipfs, self.world.ipfs, transfers)
            pipeline = Pipeline(self.world.ipfs, source, pool, transfers, log=log, tell=self._tell)
            while not stopping.wait(0.05):
                found = network.history.read(network.market.address, (Requested,))
                for happened in found:
                    assert isinstance(happened.event, Requested)
                    if happened.event.request_id not in seen:
                        seen.add(happened.event.request_id)
                        self._answer(pipeline, happened.event.request_id, happened.event.request)

    def _answer(self, pipeline: Pipeline, request_id: RequestId, request: Request) -> None:
        record = models.record_of(self.world.network, request.model_id, request.version)
        (outcome,) = pipeline.run([
            InferMessage(
                request_id=request_id, model_id=request.model_id, version=request.version,
                manifest_digest=record.manifest_digest, model_root=record.model_root,
                input_root=request.input_root, input_cid=request.input_cid, params=request.params,
            )
        ])  # fmt: skip
        if isinstance(outcome, Answered):
            market = self.world.network.market
            call = market.deliver(request, NO_CLAIM, outcome.output_root, outcome.output_cid)
            self.world.operator.send(call)

    def _tell(self, step: str, ids: Any, reason: str = "", **facts: Any) -> None:
        if self.deaf:
            return
        if self.lies and step == "piece":
            facts["text"] = "never " + facts["text"]
        message = {"step": step, "operator": "op", "at": 0.0, "reason": reason, **facts}
        told = {**message, "ids": [one.hex() for one in ids]}
        self.gateway.worker_progress.take(json.dumps(told).encode())


def told(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def site(world: World, parrot: Parrot, tmp_path: Path) -> Site:
    sells = replace(world, folder=write_parrot(tmp_path / "parrot"))
    sells.publish()
    sells.serve(1)
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
        assert (late.status_code, late.json()["error"]["code"]) == (202, "NotYet")


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
