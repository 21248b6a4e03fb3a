"""A gateway over HTTP in this process, with an operator's worker whose model is a parrot."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
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
from oracle.protocol import text
from oracle.protocol.manifest import Manifest
from oracle.queue.messages import InferMessage
from oracle.services import models
from oracle.store import Store
from oracle.types import NO_CLAIM, Amount, OperatorAnswer, Request, RequestId
from tests.services.conftest import DOLLAR, World
from tests.support.parrot import NAME, Parrot
from tests.support.waiting import wait_until
from tests.worker.endpoint.conftest import FEE
from worker import runtimes
from worker.cache import FileCache
from worker.inputs import InputSource
from worker.models import ModelPool
from worker.outcomes import Answered
from worker.pipeline import Pipeline

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
    port: int = field(default_factory=free_port)

    @property
    def spent(self) -> int:
        return sum(key.spent for key in api_keys.listed(self.gateway.store))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self, mount: Any = lambda _app, _state: None, **config: Any) -> Iterator["Site"]:
        network = self.world.network
        fast = replace(network.settings, poll_interval=0.03, redis_url="")
        store = Store.open(f"sqlite:///{self.path / 'gateway.db'}")
        paying = ChannelSettings(deposit=Amount(10 * FEE), limit=Amount(30 * FEE))
        self.gateway = Gateway(
            replace(network, settings=fast), dev_account(2), store, paying=paying
        )
        self.secret = api_keys.mint(store, "tests", Amount(100 * DOLLAR)).secret
        app = create_app(
            self.gateway.network, self.gateway,
            ApiConfig(per_second=0, **{"answer_timeout": 30.0, **config}), mount,
        )  # fmt: skip
        server = BoundedServer(app, host="127.0.0.1", port=self.port, log_config=None)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the gateway")
        auth = {"Authorization": f"Bearer {self.secret}"}
        self.http = httpx.Client(
            base_url=f"{self.url}/v1", headers=auth, trust_env=False, timeout=120
        )
        try:
            with self.working():
                yield self
        finally:
            self.http.close()
            server.should_exit = True
            wait_until(lambda: not thread.is_alive(), "the gateway's end")

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

    @contextmanager
    def working(self) -> Iterator[None]:
        """Answer what is asked on the chain, and nothing over HTTP."""
        stopping = threading.Event()
        thread = threading.Thread(target=self._work, args=(stopping,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            wait_until(lambda: not thread.is_alive(), "the worker's end")

    # ── The worker ──────────────────────────────────────────────────────────────────────────────
    def _work(self, stopping: threading.Event) -> None:
        log, network = structlog.get_logger(), self.world.network
        cache = FileCache(self.path / "cache", 2**30, self.world.ipfs, log)
        pool = ModelPool(self.world.ipfs, cache, self._load, device="cpu", max_bytes=2**30, log=log)
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

    def _load(self, manifest: Manifest, *given: Any) -> Any:
        writes = manifest.runtime.format == text.FORMAT
        return self.parrot.load() if writes else runtimes.load(manifest, *given)

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
            answer = OperatorAnswer(outcome.output_root, outcome.output_cid, outcome.units)
            call = market.deliver(request, NO_CLAIM, answer)
            self.world.operator.send(call)

    def _tell(self, step: str, ids: Any, reason: str = "", **facts: Any) -> None:
        if self.deaf or not hasattr(self, "gateway"):
            return
        if self.lies and step == "piece":
            facts["text"] = "never " + facts["text"]
        message = {"step": step, "operator": "op", "at": 0.0, "reason": reason, **facts}
        told = {**message, "ids": [one.hex() for one in ids]}
        self.gateway.worker_progress.take(json.dumps(told).encode())
