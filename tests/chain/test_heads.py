"""New blocks are heard of over a WebSocket: of a real node, one that goes away, and none."""

import threading

import pytest

from oracle.chain import heads
from oracle.chain.anvil import Anvil
from oracle.ports import free_port

pytestmark = pytest.mark.real
PATIENCE = 60.0  # seconds


def websocket(anvil: Anvil) -> str:
    return anvil.url.replace("http", "ws", 1)


def test_heard__node_mines_then_starts_anew__wakes_each_time() -> None:
    port, woken, other = free_port(), threading.Event(), threading.Event()
    with Anvil(port=port) as anvil, heads.heard(websocket(anvil), woken.set, other.set):
        while not woken.wait(0.05):  # until it listens
            anvil.rpc.call("evm_mine")
        assert other.wait(PATIENCE)
        anvil.stop()
        woken.clear()
        anvil.start()
        while not woken.wait(0.05):
            anvil.rpc.call("evm_mine")


def test_heard__nobody_there__ends_at_once_and_wakes_nobody() -> None:
    with heads.heard(f"ws://127.0.0.1:{free_port()}", lambda: 1 / 0):
        pass


def test_heard__no_url__starts_nothing() -> None:
    before = threading.active_count()
    with heads.heard("", lambda: 1 / 0):
        assert threading.active_count() == before
