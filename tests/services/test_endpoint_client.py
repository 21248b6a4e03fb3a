"""A stranger's endpoint that replies as slowly as it can: nobody waits longer than was said."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oracle.errors import Unavailable
from oracle.services.channels.endpoint_client import EndpointClient

pytestmark = pytest.mark.real

PATIENCE = 0.5  # seconds
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def dripping(start: bytes, drop: bytes) -> Iterator[str]:
    """Serve a reply whose every byte is in time, and which has no end; yield its URL."""
    over = threading.Event()

    def serve() -> None:
        with listening, listening.accept()[0] as caller:
            caller.recv(1 << 16)
            caller.sendall(start)
            while not over.wait(PATIENCE / 5):
                try:
                    caller.sendall(drop)
                except OSError:  # it hung up
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            thread.join(5)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD, b"x"),
        (HEAD, b"X: y\r\n"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
)
def test_offer__reply_without_an_end__is_left_in_time(start: bytes, drop: bytes) -> None:
    """A limit for each byte lets who sends one now and then hold a thread for days."""
    with dripping(start, drop) as url:
        failed: list[Unavailable] = []

        def ask() -> None:
            try:
                EndpointClient(url, PATIENCE).offer(1, 1)
            except Unavailable as error:
                failed.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(60 * PATIENCE)
        assert failed, "it still waits"
