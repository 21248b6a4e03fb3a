"""Tells of new blocks at once: `eth_subscribe` to `newHeads`, over the node's WebSocket.

A hint and never a source. What is on the chain is asked over `Rpc`, whose answers are checked; who
polls goes on polling, and only looks sooner. So a node without a WebSocket, or one that is silent
or lies, costs milliseconds and nothing else.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import structlog
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from oracle.chain.http_pool import LOOPBACK

_SUBSCRIBE = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
)
_MAX_MESSAGE = 1 << 20  # bytes; a head has about one thousand
_BACKOFF_FIRST, _BACKOFF_LAST = 0.5, 30.0  # seconds; doubles while the node is away


@contextmanager
def heard(url: str, *wake: Callable[[], None]) -> Iterator[None]:
    """Call each `wake` at every new block while the block runs; nothing without a URL.

    Args:
        url: `ws://` or `wss://`; empty = the node has none.
        wake: called from another thread; must return at once.
    """
    if not url:
        yield
        return
    heads = _Heads(url, wake)
    heads.start()
    try:
        yield
    finally:
        heads.stop()


class _Heads(threading.Thread):
    def __init__(self, url: str, wake: tuple[Callable[[], None], ...]) -> None:
        super().__init__(name="heads", daemon=True)
        self._url, self._wake = url, wake
        self._proxy: Literal[True] | None = (
            None if urlsplit(url).hostname in LOOPBACK else True
        )  # as of HttpPool
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: Connection | None = None

    def run(self) -> None:
        log, pause = structlog.get_logger("tallystick.heads"), _BACKOFF_FIRST
        while not self._stopped.is_set():
            try:
                with connect(self._url, max_size=_MAX_MESSAGE, proxy=self._proxy) as socket:
                    if not self._hold(socket):
                        return
                    socket.send(_SUBSCRIBE)
                    for said in socket:
                        if '"eth_subscription"' not in str(said):  # the subscription's number
                            log.debug("heads.answer", said=str(said)[:200])
                            continue
                        pause = _BACKOFF_FIRST
                        for wake in self._wake:
                            wake()
            except (OSError, WebSocketException) as error:
                if pause == _BACKOFF_FIRST and not self._stopped.is_set():
                    log.warning("heads.polling", reason=str(error) or type(error).__name__)
            self._stopped.wait(pause)
            pause = min(2 * pause, _BACKOFF_LAST)

    def _hold(self, socket: Connection) -> bool:
        """Keep the connection for `stop` to close; say whether it is still wanted."""
        with self._lock:
            self._socket = socket
            return not self._stopped.is_set()

    def stop(self) -> None:
        with self._lock:
            self._stopped.set()
            socket = self._socket
        if socket is not None:
            socket.close()
        self.join()
