"""Free TCP ports on loopback."""

import random
import socket
from pathlib import Path

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")  # Linux
_LOWEST = 10_240  # no browser refuses a port from here on


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago.

    It is drawn below those that the kernel gives to outgoing connections, where it can: one of
    them could take the port before the caller listens on it.
    """
    dice = random.SystemRandom()  # processes that were forked must not draw the same
    first = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else 0
    drawn = [dice.randrange(_LOWEST, first) for _ in range(100)] if first > 2 * _LOWEST else []
    for port in (*drawn, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no TCP port is free on loopback")
