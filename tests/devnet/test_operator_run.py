"""`tallystick operator run` with real processes: it serves, restarts what dies, and ends cleanly.

The network is a development one without operators; the operator is a stranger to it, who makes a
wallet, stakes and runs with nothing but the command line.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from oracle.cli import main
from oracle.devnet import background
from oracle.devnet.network import Devnet, DevnetPlan, running
from oracle.ports import free_port
from tests.support.waiting import assert_gone, exit_code, wait_until
from tests.worker.builders import images, write_digits

pytestmark = pytest.mark.real

ROLES = ("watcher", "infer", "submitter", "responder")
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """Servers, contracts and people; nobody serves."""
    home = tmp_path_factory.mktemp("home")
    with running(DevnetPlan(home, operators=()), environ={"PATH": os.environ["PATH"]}) as devnet:
        yield devnet


@pytest.fixture
def tallystick(
    network: Devnet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that runs a command line and gives back its JSON document."""
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYSTICK_HOME", str(network.plan.home))
    monkeypatch.setenv("TALLYSTICK_PASSWORD_FILE", str(network.plan.home / "password"))

    def call(*words: object) -> Any:
        returned = main([*map(str, words), "--json"])
        captured = capsys.readouterr()
        assert returned == 0, captured
        return json.loads(captured.out)

    return call


@pytest.fixture
def operator(network: Devnet, tallystick: Call, tmp_path: Path) -> str:
    """A new wallet with a stake, authorised for a new model; both have this name."""
    name = f"op{len(tallystick('wallet', 'list'))}"
    folder = write_digits(tmp_path / "model", name=name)
    published = tallystick(
        "model", "publish", folder, "--fee", "0.05", "--challenge-window", "1h", "--key", "owner"
    )
    employ(tallystick, name, published["model_id"])
    return name


def employ(tallystick: Call, name: str, model_id: int) -> None:
    """Make a wallet with a stake that may serve a model, and give the requester money."""
    tallystick("access", "policy", model_id, "open", "--key", "owner")
    tallystick("wallet", "new", name)
    tallystick("wallet", "fund", name, "100")
    tallystick("operator", "register", "--key", name)
    tallystick("operator", "stake", "50", "--key", name, "--yes")
    tallystick("operator", "authorize", model_id, name, "--key", "owner")
    tallystick("wallet", "deposit", "1", "--key", "requester", "--yes")


@pytest.fixture
def metrics_port() -> int:
    """Return a port that is free, as is the one after it."""
    while True:
        port = free_port()
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port + 1)).close()
            return port


@pytest.fixture
def run(network: Devnet, operator: str, metrics_port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The command, with all its processes up."""
    with running_operator(network.plan.home, operator, metrics_port) as process:
        yield process


@contextmanager
def running_operator(
    home: Path, operator: str, metrics_port: int, *words: str, **settings: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command, with more words and settings, until the block ends."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    environ |= {"TALLYSTICK_METRICS_PORT": str(metrics_port), **settings}
    with (home / f"{operator}.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *background.command(), "operator", "run", "--key", operator, "--processes", "1",
                "--home", str(home), "--password-file", str(home / "password"), *words,
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ,
        )  # fmt: skip
    try:
        wait_until(lambda: set(ROLES) <= set(by_role(process)), process=process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def by_role(process: "subprocess.Popen[bytes]") -> dict[str, psutil.Process]:
    """Return the direct children that have become what they are to be."""
    words = {
        "oracle.operator.watch_process": "watcher",
        "infer": "infer",
        "submit": "submitter",
        "respond": "responder",
        "endpoint": "endpoint",
    }
    found = {}
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):
            roles = [words[word] for word in child.cmdline() if word in words]
            found |= dict.fromkeys(roles, child)
    return found


def ask(tallystick: Call, model: str) -> Any:
    image = json.dumps(images().tolist())
    words = ("--wait", "--timeout", "10m", "--key", "requester", "--yes")
    return tallystick("infer", model, "--input", image, *words)


def ready(url: str) -> bool:
    """Whether an endpoint answers, with a model loaded."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/v2/health/ready", trust_env=False).is_success
    return False


def descendants(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def test_run__serves__answers_posts_what_is_demanded_and_leaves_no_process(
    tallystick: Call, operator: str, run: "subprocess.Popen[bytes]", metrics_port: int
) -> None:
    answer = ask(tallystick, operator)
    address = tallystick("wallet", "show", operator)["address"]
    assert (answer["state"], answer["operator"]) == ("delivered", address)

    tallystick("request", "demand", answer["request_id"], "--key", "requester", "--yes")

    def posted() -> bool:
        shown = tallystick("request", "show", answer["request_id"])
        return "OutputPosted" in [moment["event"] for moment in shown["timeline"]]

    wait_until(posted, process=run)
    keys = {role: child.environ()["TALLYSTICK_KEY"] for role, child in by_role(run).items()}
    assert [role for role in ROLES if keys[role]] == ["submitter"]

    def metrics(port: int) -> str:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text

    assert 'tallystick_messages_total{step="post_output"}' in metrics(metrics_port)
    mined = 'tallystick_transactions_total{kind="post_output",outcome="mined"} 1.0'
    # counted on the submitter's next look at the chain, after the chain has the event
    wait_until(lambda: mined in metrics(metrics_port + 1), process=run)

    children = descendants(run)
    run.send_signal(signal.SIGTERM)
    assert exit_code(run) == 0
    assert_gone(children)


def test_run__every_process_killed_in_turn__restarts_each_and_goes_on_serving(
    tallystick: Call, operator: str, run: "subprocess.Popen[bytes]"
) -> None:
    for role in ROLES:
        victim = by_role(run)[role]
        victim.kill()
        wait_until(lambda r=role, v=victim: by_role(run).get(r, v).pid != v.pid, process=run)  # type: ignore[misc]
    assert ask(tallystick, operator)["state"] == "delivered"


def test_run__killed__kernel_ends_its_processes(run: "subprocess.Popen[bytes]") -> None:
    children = descendants(run)
    run.kill()
    run.wait()
    assert_gone(children)


def test_run__with_an_endpoint__announces_it_and_keeps_its_channels_through_kills(
    network: Devnet, tallystick: Call, operator: str, metrics_port: int, tmp_path: Path
) -> None:
    url, home = f"http://127.0.0.1:{(port := free_port())}", network.plan.home
    words = ("--serve", f"127.0.0.1:{port}", "--url", url, "--locks", "2")
    (tmp_path / "image.json").write_text(json.dumps(images().tolist()))
    payer = ("--key", "requester", "--yes")

    def answered() -> Any:
        asked = ("infer", operator, "--input", tmp_path / "image.json", "--channel", "auto")
        return tallystick(*asked, *payer)["receipt"].partition("/")

    with running_operator(home, operator, metrics_port, *words) as process:
        wait_until(lambda: ready(url), "the endpoint", process=process)
        assert tallystick("operator", "status", operator)["announced"] == url
        channel, _, index = answered()
        assert index == "1"
        victim = by_role(process)["endpoint"]
        victim.kill()
        wait_until(lambda: not victim.is_running() and ready(url), "another", process=process)
        assert answered() == (channel, "/", "2")
        children = descendants(process)
        process.kill()
    assert_gone(children)
    with running_operator(home, operator, metrics_port, *words) as process:
        wait_until(lambda: ready(url), "the endpoint again", process=process)
        assert answered() == (channel, "/", "3")
        children = descendants(process)
        process.send_signal(signal.SIGTERM)
        assert exit_code(process) == 0
        assert_gone(children)
    (held,) = tallystick("channel", "list", "--key", "requester")
    assert held["claimed"] == "0.15"  # at the end of the endpoint, three times the fee
