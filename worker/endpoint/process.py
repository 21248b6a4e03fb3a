"""Puts the endpoint's process together: `python -m worker --role endpoint [--model NAME]`.

The composition root of the only process that holds both a key and models: `operator serve` and
`operator run --serve` start it. Its listening address is the setting `listen`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, nullcontext, suppress
from functools import cache, partial
from pathlib import Path

import structlog

from oracle.api.config import ApiConfig
from oracle.api.header_limits import BoundedServer
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.protocol.manifest import Manifest
from oracle.services import inputs, quoting, wallets
from oracle.services.inputs import Encoder
from oracle.services.network import Network
from worker import infer_process
from worker.endpoint.books import ReceiptBooks
from worker.endpoint.chain_cache import ChainCache
from worker.endpoint.claims import Claimer
from worker.endpoint.defence import Defender
from worker.endpoint.desk import Desk
from worker.endpoint.file_books import FileBooks
from worker.endpoint.recorder import Recorder
from worker.endpoint.runner import ModelRunner
from worker.endpoint.server import create_app
from worker.endpoint.shared_books import SharedBooks
from worker.endpoint.shelf import Shelf

CLAIM_EVERY = 600.0  # seconds
LOOK_EVERY = 5.0  # seconds: at what is summoned
_TRIES = 3  # to claim at least before a payer can withdraw, and to post what is demanded
GRACE = 10  # seconds that open questions get at the end


def run(settings: Settings, names: Sequence[str], hosts: Sequence[str], locks: int = 0) -> int:
    """Serve until a signal comes; what was promised is claimed at the end.

    Args:
        names: of the models; () = all for which the operator is authorised, as they come.
        hosts: names under which clients know this server, besides addresses.
        locks: to put behind an offer where there is none; 0 = cover none.

    Raises:
        ConfigInvalid, NotFound: it is not set up, or a model has no offer. Unavailable.
    """
    log = structlog.get_logger("tallystick.endpoint")
    host, _, port = settings.listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigInvalid(f"TALLYSTICK_LISTEN={settings.listen!r} is not HOST:PORT")
    network = Network.open(settings)
    password = wallets.read_password(Path(settings.password_file))
    account = wallets.unlock(settings, settings.key, password)
    wallet = Wallet(network.rpc, account, chain_id=network.contracts.chain_id)
    pool = cache(lambda: infer_process.build_pool(settings, 1))  # imports torch: not before a model
    with closing(open_books(settings)) as books:
        shelf = Shelf(network, wallet, pool, log, locks=locks)
        sold = [one for name in names for one in shelf.offered(name)]
        server: BoundedServer | None = None

        def stop() -> None:
            if server is not None:
                server.should_exit = True

        recorder = Recorder(books, stop)
        desk = Desk(
            network.contracts, bytes(account.key), sold,
            chain=ChainCache(network), runner=ModelRunner(log), recorder=recorder,
        )  # fmt: skip
        claims = Claimer(network, wallet, recorder, desk.sold, log)
        defence = Defender(network, wallet, recorder, desk.sold, log)
        look = min(LOOK_EVERY, network.market.config().demand_period / _TRIES)
        config = ApiConfig(hosts=tuple(map(str.lower, (host.strip("[]"), *hosts))), per_second=0)
        pause = min(CLAIM_EVERY, network.channels.config().close_delay / _TRIES)

        @asynccontextmanager
        async def beside() -> AsyncIterator[None]:
            watched = nullcontext() if names else shelf.watched(desk)
            async with claims.every(pause), defence.every(look, claims.sending), watched:
                yield

        app = create_app(desk, config, partial(tokenizer, network), beside)
        server = BoundedServer(
            app, host=host.strip("[]"), port=int(port), log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=GRACE,
        )  # fmt: skip
        log.info("endpoint.serving", at=f"http://{settings.listen}", models=list(names))
        with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has stopped
            server.run()
    return 0


def open_books(settings: Settings) -> ReceiptBooks:
    """Open the books that the settings name; a file from before is moved into a database.

    Raises:
        ConfigInvalid: another process has the file, or the URL is wrong. Unavailable.
    """
    path = settings.state_dir / "endpoint.db"
    if not settings.books_url:
        return FileBooks(path)
    books = SharedBooks(settings.books_url)
    if books.take_over(path):
        structlog.get_logger("tallystick.endpoint").info("books.moved", file=str(path))
    return books


def tokenizer(network: Network, manifest: Manifest) -> Encoder:
    """Return a version's tokenizer, its file fetched and checked."""
    return inputs.encoder(manifest, lambda entry: quoting.fetch_file(network, entry, None))
