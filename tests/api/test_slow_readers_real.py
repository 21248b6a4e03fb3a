"""Who asks for a stream and takes nothing of it is cut off; who reads slowly is not."""

import socket
import subprocess
import sys
from contextlib import suppress

import httpx
import pytest

from oracle.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real
SERVER = """
import asyncio, sys
from fastapi import FastAPI
from oracle.api import event_stream, header_limits

header_limits.UNREAD_SECONDS = 0.5
app, open_streams = FastAPI(), []

@app.get("/open")
def count():
    return len(open_streams)

@app.get("/events")
async def events():
    async def without_end():
        open_streams.append(1)
        try:
            for number in range(10**9):
                await asyncio.sleep(0)
                yield event_stream.event("step", {"text": "x" * 100_000}, number)
        finally:
            open_streams.pop()
    return event_stream.response(without_end())

header_limits.BoundedServer(app, port=int(sys.argv[1]), log_level="error").run()
"""


@pytest.fixture
def url():
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: open_streams(address) == 0, "the server")
        yield address
    finally:
        process.terminate()
        process.wait()


def open_streams(url):
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/open", trust_env=False, timeout=10).json()
    return None


def ask(url):
    host, _, port = url.removeprefix("http://").partition(":")
    reader = socket.create_connection((host, int(port)), timeout=30)
    reader.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader


def test_events__reader_takes_nothing__is_cut_off(url):
    with ask(url) as silent:
        assert b"text/event-stream" in silent.recv(1_000)
        wait_until(lambda: open_streams(url) == 0, "the silent reader's end")


def test_events__reader_takes_little_at_a_time__stays(url):
    with ask(url) as slow, ask(url):
        taken = 0

        def silent_one_is_gone():
            nonlocal taken
            taken += len(slow.recv(1 << 18))
            return open_streams(url) == 1

        wait_until(silent_one_is_gone, "the silent reader's end")
        before = taken
        while taken < before + (8 << 20):  # more than any buffer on the way
            taken += len(slow.recv(1 << 18))
        assert open_streams(url) == 1
