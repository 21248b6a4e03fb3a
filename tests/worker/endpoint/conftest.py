"""An endpoint in this process: a small model, the chain of the service tests, and no queue."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from oracle.api.config import ApiConfig
from oracle.api.header_limits import BoundedServer
from oracle.chain.anvil import dev_account
from oracle.ports import free_port
from oracle.services import models
from oracle.services.channels.endpoint_client import offer_at
from oracle.types import Amount, Offer
from tallystick.channel import PaidChannel
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.support.postgresql import create_database, database_url, running_postgresql
from tests.support.waiting import wait_until
from tests.worker.builders import write_digits
from worker import runtimes
from worker.cache import FileCache
from worker.endpoint.chain_cache import ChainCache
from worker.endpoint.claims import Claimer
from worker.endpoint.defence import Defender
from worker.endpoint.desk import Desk
from worker.endpoint.file_books import FileBooks
from worker.endpoint.process import tokenizer
from worker.endpoint.recorder import Recorder
from worker.endpoint.runner import ModelRunner
from worker.endpoint.server import create_app
from worker.endpoint.shared_books import SharedBooks
from worker.endpoint.shelf import Shelf
from worker.models import Load, ModelPool

__all__ = ["anvil", "contracts", "world"]
FEE = DOLLAR


@dataclass
class Shop:
    """A world with an operator who sells answers of `digits` over HTTP."""

    world: World
    path: Path
    port: int = field(default_factory=free_port)
    load: Load = runtimes.load
    ahead: float = 0  # seconds that the endpoint's clock is
    books_url: str = ""  # of books that are shared with another endpoint
    offer: Offer = field(init=False)
    runner: ModelRunner = field(init=False)  # of the last endpoint

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cover(self, number: int = 0, locks: int = 3, version: int = 1) -> Offer:
        network = self.world.network
        terms = network.registry.terms_of(1, version)
        offer = Offer(self.world.operator.address, 1, version, terms, number)
        self.world.operator.send(network.channels.cover(offer, locks))
        return offer

    @contextmanager
    def serving(self, claim_every: float = 3600, look_every: float = 3600) -> Iterator[str]:
        """Serve in a thread until the block ends; vouchers are claimed then."""
        network, log = self.world.network, structlog.get_logger()
        cache = FileCache(self.path / "cache", 2**30, self.world.ipfs, log)
        pool = ModelPool(self.world.ipfs, cache, self.load, device="cpu", max_bytes=2**30, log=log)
        sold = Shelf(network, self.world.operator, lambda: pool, log).offered("1")
        path = self.path / "endpoint.db"
        books = SharedBooks(self.books_url) if self.books_url else FileBooks(path)
        recorder, self.runner = Recorder(books), ModelRunner(log)
        desk = Desk(
            network.contracts, bytes(dev_account(1).key), sold,
            chain=ChainCache(network), runner=self.runner, recorder=recorder,
            now=lambda: time.time() + self.ahead,
        )  # fmt: skip
        claims = Claimer(network, self.world.operator, recorder, desk.sold, log)
        defence = Defender(network, self.world.operator, recorder, desk.sold, log)

        @asynccontextmanager
        async def beside() -> AsyncIterator[None]:
            async with claims.every(claim_every), defence.every(look_every, claims.sending):
                yield

        app = create_app(desk, ApiConfig(per_second=0), partial(tokenizer, network), beside)
        server = BoundedServer(app, host="127.0.0.1", port=self.port, log_config=None)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the endpoint")
        try:
            yield self.url
        finally:
            server.should_exit = True
            wait_until(lambda: not thread.is_alive(), "the endpoint's end")
            books.close()
            pool.close()

    def sibling(self, books_url: str) -> "Shop":
        """Return another endpoint of this operator; both share these books."""
        self.books_url = books_url
        other = replace(self, port=free_port())
        other.offer = self.offer
        return other

    def channel(self, deposit: int = 10 * FEE, limit: int | None = None) -> PaidChannel:
        network = self.world.network
        manifest = models.manifest(network, 1, 1)
        offer = offer_at(self.url, 1, 1)
        return PaidChannel(
            network, self.world.requester, offer, manifest, self.url,
            deposit=Amount(deposit), limit=Amount(limit or deposit),
        )  # fmt: skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of our own; give its connection string."""
    with running_postgresql() as conninfo:
        yield conninfo


@pytest.fixture
def books_url(postgresql: str) -> str:
    """Give the URL of an empty database."""
    name = f"books_{uuid4().hex}"
    create_database(postgresql, name)
    return database_url(postgresql, name)


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    """Return a shop whose answers can be challenged for a minute."""
    return shop_of(world, tmp_path)


def shop_of(world: World, path: Path, **sale: int) -> Shop:
    """Publish digits, with the operator authorised and staked, and an offer covered."""
    sells = replace(world, folder=write_digits(path / "digits", max_output_bytes=1000))
    sells.publish(**sale)
    sells.serve(1)
    sells.prepay(500 * DOLLAR)
    made = Shop(sells, path / "endpoint")
    made.offer = made.cover()
    return made
