"""More half-open connections than a server has files: those who ask are answered all the same."""

import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack

import httpx
import psutil
import pytest

from oracle.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real
FILES = 1_024  # that the server may open
CROWD = 1_200
SERVER = """
import resource, sys
from oracle.api.header_limits import BoundedServer
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"live"})

BoundedServer(app, port=int(sys.argv[1]), lifespan="off", log_level="error").run()
"""


@pytest.fixture
def server(tmp_path):
    """A running server: its URL and process. It says nothing, least of all that files are short."""
    port, said = free_port(), tmp_path / "said"
    with said.open("wb") as stderr:
        command = [sys.executable, "-c", SERVER, str(port), str(FILES)]
        process = subprocess.Popen(command, stderr=stderr)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or answers(url), "the server")
        yield url, process
    finally:
        process.terminate()
        process.wait()
    assert said.read_text() == ""


def answers(url):
    try:
        return httpx.get(f"{url}/v2/health/live", trust_env=False, timeout=10).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["silent", "half a request", "kept alive"],
)  # fmt: skip
def test_connections__more_than_files__each_who_asks_is_answered_within_a_second(server, begun):
    """On a free core, that is: a second of the server's processor, and no wait for anything else.

    It waits when connections did not fit its queue or its files. So all come while it stands still:
    one that does not fit is not taken then. For files that are short the fixture reads its words.
    """
    url, process = server
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CROWD:
        pytest.skip("this process may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CROWD), hard))
    host, _, port = url.removeprefix("http://").partition(":")
    with ExitStack() as crowd:
        process.send_signal(signal.SIGSTOP)
        crowd.callback(process.send_signal, signal.SIGCONT)
        for _ in range(CROWD):
            one = crowd.enter_context(socket.create_connection((host, int(port)), timeout=30))
            one.sendall(begun)
        process.send_signal(signal.SIGCONT)
        for _ in range(5):
            before = spent(process)
            assert answers(url)
            assert spent(process) - before < 1.0


def spent(process):
    """Return seconds of processor that a process has used."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system
