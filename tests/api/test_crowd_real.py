"""More half-open connections than a server has files: those who ask are answered all the same."""

import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx
import pytest

from oracle.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real
FILES = 1_024  # that the server may open
CROWD = 1_200
SERVER = """
import resource, sys, uvicorn
from oracle.api.header_limits import BACKLOG, BoundedHttpProtocol
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"live"})

uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", log_level="error", backlog=BACKLOG,
            http=BoundedHttpProtocol, timeout_keep_alive=30)
"""


@pytest.fixture
def url():
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(FILES)])
    try:
        found = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(found), "the server")
        yield found
    finally:
        server.terminate()
        server.wait()


def answers(url):
    try:
        return httpx.get(f"{url}/v2/health/live", trust_env=False, timeout=10).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["silent", "half a request", "kept alive"],
)  # fmt: skip
def test_connections__more_than_files__who_asks_is_answered_within_a_second(url, begun):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CROWD:
        pytest.skip("this process may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CROWD), hard))
    host, _, port = url.removeprefix("http://").partition(":")
    with ExitStack() as crowd:
        for _ in range(CROWD):
            one = crowd.enter_context(socket.create_connection((host, int(port)), timeout=30))
            one.sendall(begun)
        started = time.monotonic()
        for _ in range(5):
            assert httpx.get(f"{url}/v2/health/live", trust_env=False, timeout=5).is_success
        assert time.monotonic() - started < 5 * 1.0
