"""Ports that are free, and stay free until somebody listens. Opens no connection."""

import socket
from pathlib import Path

import pytest

from oracle.ports import free_port

pytestmark = pytest.mark.real  # listens on loopback
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_free_port__drawn__can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] >= 10_240


@pytest.mark.skipif(
    not OUTGOING.exists() or int(OUTGOING.read_text().split()[0]) <= 20_480,
    reason="connections may take every port on this processor's system",
)
def test_free_port__many_drawn__none_is_given_to_an_outgoing_connection() -> None:
    first = int(OUTGOING.read_text().split()[0])
    assert all(free_port() < first for _ in range(50))
