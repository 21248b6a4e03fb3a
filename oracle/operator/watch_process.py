"""Puts a watcher together from its settings: `python -m oracle.operator.watch_process` runs it.

Holds no key: of the operator's keystore only the address is read.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing

import structlog
from eth_utils.address import to_checksum_address

from oracle import logs as logging
from oracle.chain import heads, keystore
from oracle.chain.rpc import Rpc
from oracle.chain.scan import Scanner
from oracle.config import Settings
from oracle.errors import ConfigInvalid, TallystickError
from oracle.metrics import WatcherMetrics, serving
from oracle.operator.jobs import Operator
from oracle.operator.watcher import Watcher
from oracle.queue.broker import CeleryQueue
from oracle.store.store import Store
from oracle.types import Address


def address_of(settings: Settings) -> Address:
    """Return the operator's address: as set, else as its keystore names it.

    Raises:
        ConfigInvalid: neither is set, or it is no address. NotFound: there is no such keystore.
    """
    if settings.operator_address:
        try:
            return Address(to_checksum_address(settings.operator_address))
        except ValueError as error:
            raise ConfigInvalid(f"TALLYSTICK_OPERATOR_ADDRESS: {error}") from error
    if not settings.key:
        raise ConfigInvalid(
            "no operator to watch for",
            hint="set TALLYSTICK_KEY (only its address is read) or TALLYSTICK_OPERATOR_ADDRESS",
        )
    return keystore.address_of(settings.keystore())


def open_watcher(
    settings: Settings, running: ExitStack, metrics: WatcherMetrics | None = None
) -> Watcher:
    """Open node, store and queue; they are closed with `running`.

    Raises:
        ConfigInvalid, NotFound: see `address_of`; the store belongs to another deployment.
        Unavailable: the store cannot be reached.
    """
    contracts, me = settings.deployed, address_of(settings)
    rpc = running.enter_context(closing(Rpc(settings.rpc_url, timeout=5.0, attempts=2)))
    store = running.enter_context(closing(Store.open(settings.database_url)))
    queue = running.enter_context(closing(CeleryQueue(settings)))
    with store.begin() as tx:
        tx.bind(f"{contracts.chain_id}:{contracts.inference_market}")
    watched = (
        contracts.inference_market,
        contracts.model_registry,
        contracts.model_access,
        contracts.operator_registry,
        contracts.dispute_game,
    )
    structlog.get_logger("tallystick.watcher").info(
        "watching", address=me, contracts_at=contracts.inference_market
    )
    return Watcher(
        Scanner(rpc, watched),
        store,
        queue,
        Operator(me, max_claims=settings.max_claims, requeue_after=settings.requeue_after),
        contracts,
        finality_depth=settings.finality_depth,
        metrics=metrics,
    )


def main(environ: Mapping[str, str]) -> int:
    """Watch until SIGTERM or Ctrl-C; return the exit status."""
    log = structlog.get_logger("tallystick.watcher")
    try:
        settings = Settings.load(environ)
        logging.configure(settings, role="watcher", operator=settings.operator)
        with ExitStack() as running:
            metrics = WatcherMetrics()
            watcher = open_watcher(settings, running, metrics)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: watcher.stop())
            running.enter_context(serving(metrics.registry, settings.metrics_port, log))
            running.enter_context(heads.heard(settings.ws_url, watcher.new_block))
            watcher.run(settings.poll_interval)
    except TallystickError as error:
        log.error("stopped", reason=str(error), hint=error.hint)
        return error.exit_code
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
