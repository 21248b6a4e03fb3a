"""What every test lives by: no sockets unless it is marked `real` or runs on Brownie's node.

Unix sockets stay open to all: event loops are made of them. With REQUIRE_ALL=1 nothing is skipped
but what this machine's hardware lacks.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from pytest_socket import disable_socket, enable_socket

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

# Folders whose tests share a network: they go to one process, which starts it once
TOGETHER = ("tests/api/",)

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
    """Give whole files to processes, and whole folders where a network is shared."""
    # Imported here: pytest-xdist is there when this hook is called
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folders = (folder for folder in TOGETHER if nodeid.startswith(folder))
            return next(folders, nodeid.split("::", 1)[0])

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to tests that do not say they need it."""
    on_a_node = item.config.pluginmanager.hasplugin("pytest-brownie")
    if item.get_closest_marker("real") or (on_a_node and CONTRACT_TESTS in item.path.parents):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Open the network again for fixtures that outlive one test; logs go where they went before."""
    enable_socket()
    structlog.reset_defaults()  # commands that run in this process say which logs they want


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Make a failure of what would be skipped, where everything is required."""
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get(REQUIRE_ALL) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(word in reason for word in HARDWARE):
            report.outcome, report.longrepr = "failed", f"{REQUIRE_ALL} is set: {reason}"
    return report
