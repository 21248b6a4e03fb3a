"""A stranger's page whose name was pointed at this machine: it reads nothing and spends nothing."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn

from oracle.ports import free_port
from tests.api.test_guard import app  # noqa: F401 - a fixture
from tests.support.waiting import wait_until
from tests.web.browser import PATIENCE, chromium

pytestmark = pytest.mark.real
REBOUND = "rebound.example"
ASK = """async (path) => {
    const answer = await fetch(path, {
        method: "POST", headers: {"content-type": "application/json"}, body: "{}",
    });
    return [answer.status, await answer.text()];
}"""


@pytest.fixture
def port(app) -> Iterator[int]:  # noqa: F811 - pytest passes the fixture
    """A gateway's app on a port of its own."""
    number = free_port()
    server = uvicorn.Server(uvicorn.Config(app(), port=number, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server")
    yield number
    server.should_exit = server.force_exit = True
    thread.join()


def test_page__rebound_host__is_told_nothing_and_can_ask_nothing(port):
    """The browser takes both for one site: it sends cookies, and no header betrays the page."""
    site = f"http://{REBOUND}:{port}"
    with chromium(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1") as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        assert page.goto(f"{site}/api").status == 421
        # Before the name was pointed here, its own server gave the page
        page.route(f"{site}/", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto(f"{site}/")
        for path in ("/page/ask?model=1&version=1&name=x", "/api/requests", "/v1/embeddings"):
            status, text = page.evaluate(ASK, path)
            assert status == 421
            assert REBOUND in text
        assert page.goto(f"http://127.0.0.1:{port}/v2/health/live").status == 200
