"""What every test lives by: no sockets unless it is marked `real` or is a contract test.

Unix sockets stay open to all: event loops are made of them.
"""

from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

CONTRACT_TESTS = Path(__file__).parent / "contracts"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to tests that do not say they need it."""
    if item.get_closest_marker("real") or CONTRACT_TESTS in item.path.parents:
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Open the network again for fixtures that outlive one test."""
    enable_socket()
