"""What every test lives by: no sockets unless it is marked `real` or is a contract test.

Unix sockets stay open to all: event loops are made of them. With REQUIRE_ALL=1 nothing is skipped
but what this machine's hardware lacks.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

CONTRACT_TESTS = Path(__file__).parent / "contracts"
REQUIRE_ALL = "REQUIRE_ALL"  # no TALLYSTICK_ name: those are settings, and unknown ones are refused
HARDWARE = ("no GPU", "on this processor")  # what no package brings


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to tests that do not say they need it."""
    if item.get_closest_marker("real") or CONTRACT_TESTS in item.path.parents:
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Open the network again for fixtures that outlive one test."""
    enable_socket()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Make a failure of what would be skipped, where everything is required."""
    report: pytest.TestReport = yield
    if report.skipped and os.environ.get(REQUIRE_ALL) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(word in reason for word in HARDWARE):
            report.outcome, report.longrepr = "failed", f"{REQUIRE_ALL} is set: {reason}"
    return report
