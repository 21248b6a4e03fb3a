"""What every test lives by: no sockets unless it is marked `real` or runs on Brownie's node.

Unix sockets stay open to all: event loops are made of them. With REQUIRE_ALL=1 nothing is skipped
but what this machine's hardware lacks.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog
from pytest_socket import disable_socket, enable_socket

if TYPE_CHECKING:
    from oracle.devnet.network import Devnet

# A suite in the background ignores Ctrl-C, and so would what its tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes of tests share the cores: threads of small products would wait for each other, spinning
os.environ.setdefault("OMP_NUM_THREADS", "1")

CONTRACT_TESTS = Path(__file__).parent / "contracts"
REQUIRE_ALL = "REQUIRE_ALL"  # no TALLYSTICK_ name: those are settings, and unknown ones are refused
HARDWARE = ("no GPU", "on this processor")  # what no package brings

# The files and folders that take longest, the longest first: what begins late is what all wait for
SLOW_FIRST = (
    "web/test_browser.py",
    "api/",
    "worker/exact/test_executor_settings.py",
    "devnet/test_up.py",
    "demo/test_demo.py",
    "docs/",
    "system/",
    "contracts/inference_market/test_state_machine.py",
    "worker/",
    "devnet/",
)

# What shares a network goes to one process, which starts it once: the fixtures `devnet` and `home`
TOGETHER = (
    ("tests/api/", "tests/tallystick/"),
    ("tests/devnet/test_up.py", "tests/docs/test_tutorial.py"),
)

# How fast examples are drawn says how loaded the machine is, and nothing about a test
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first; the order of the rest, and within a file, stays."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        slow = (number for number, start in enumerate(SLOW_FIRST) if path.startswith(start))
        return next(slow, len(SLOW_FIRST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole files to processes, and all that share a network to one."""
    # Imported here: pytest-xdist is there when this hook is called
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            sharing = (group[0] for group in TOGETHER if nodeid.startswith(group))
            return next(sharing, nodeid.split("::", 1)[0])

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to tests that do not say they need it; skip what no GPU is here for."""
    if item.get_closest_marker("gpu"):
        import torch  # of the tests that are marked, which have imported it

        if not torch.cuda.is_available():
            pytest.skip("no GPU here")
    on_a_node = item.config.pluginmanager.hasplugin("pytest-brownie")
    if item.get_closest_marker("real") or (on_a_node and CONTRACT_TESTS in item.path.parents):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Open the network again for fixtures that outlive one test; logs go where they went before."""
    enable_socket()
    structlog.reset_defaults()  # commands that run in this process say which logs they want


# What is needed for a network is imported where one is started: most tests do without


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Devnet]":
    """A network with one operator and the gateway.

    Who uses it publishes models of their own; its requester is the one of docs/python.md.
    """
    from oracle.devnet.network import DevnetPlan, running

    plan = DevnetPlan(tmp_path_factory.mktemp("devnet") / "home", operators=("alpha",), rest=True)
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet:
        yield devnet


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home folder of what `tallystick up --detach` brings up, until `tallystick down`."""
    from oracle.devnet.background import command

    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    environ = {**kept, "TALLYSTICK_HOME": str(home)}
    up = subprocess.run(
        [*command(), "up", "--detach"], env=environ, capture_output=True, text=True, check=False
    )
    assert up.returncode == 0, up.stderr
    yield home
    subprocess.run([*command(), "down"], env=environ, capture_output=True, check=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Make a failure of what would be skipped, where everything is required."""
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get(REQUIRE_ALL) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(word in reason for word in HARDWARE):
            report.outcome, report.longrepr = "failed", f"{REQUIRE_ALL} is set: {reason}"
    return report
