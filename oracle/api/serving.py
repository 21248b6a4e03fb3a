"""Runs the app in this process until a signal comes; what was accepted is not lost.

On the first SIGTERM the server stops accepting requests and drains: open ones finish, and what they
wait for is in the store.
"""

from contextlib import suppress
from importlib.metadata import metadata
from urllib.parse import urlsplit

import structlog
from eth_account.signers.local import LocalAccount

from oracle.api import page
from oracle.api.app import create_app
from oracle.api.config import ApiConfig
from oracle.api.header_limits import BoundedServer
from oracle.gateway import gateway as gateways
from oracle.gateway.channels import ChannelSettings
from oracle.gateway.gateway import Gateway
from oracle.services.network import Network
from oracle.store import Store
from oracle.types import Amount
from oracle.web.rendering import PageOptions

_LOOPBACK = ("127.0.0.1", "localhost")  # whose RPC address is no secret
GRACE = 10  # seconds that running requests get at the end


def _links() -> tuple[tuple[str, str], ...]:
    """Return the project's addresses (documentation, source) as its package names them."""
    found = metadata("tallystick").get_all("Project-URL") or []
    pairs = (entry.partition(", ") for entry in found)
    return tuple((name, url) for name, _, url in pairs if url.startswith("https://"))


def serve(
    network: Network,
    account: LocalAccount | None,
    config: ApiConfig,
    host: str,
    port: int,
    *,
    page_budget: Amount | None = None,
    paying: ChannelSettings | None = None,
) -> None:
    """Answer on host and port; returns when it was asked to stop.

    Args:
        account: that pays for clients with API keys; None = only show what there is.
        paying: what the account puts into channels of its own; None = it has none.
        page_budget: of fees that visitors of the page may spend; None = they need a wallet.

    Raises:
        ConfigInvalid: see `Store.open`.
    """
    gateway = None
    if account is not None:
        store = Store.open(gateways.store_url(network.settings))
        gateway = Gateway(network, account, store, paying=paying)
    rpc = network.settings.rpc_url
    options = PageOptions(
        rpc_url=rpc if urlsplit(rpc).hostname in _LOOPBACK else "",
        links=_links(),
        uploads=host in _LOOPBACK,  # strangers' files are for who asks for them
        events="/api/requests/{id}/events" if gateway else "",
    )
    app = create_app(
        network, gateway, config, lambda app, state: page.mount(app, state, page_budget, options)
    )
    structlog.get_logger("tallystick.api").info(
        "api.serving", at=f"http://{host}:{port}", account=gateway.address if gateway else "none"
    )
    server = BoundedServer(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # the guard writes it, with ids
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has stopped
        server.run()
