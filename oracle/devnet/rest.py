"""The REST gateway of a development network: one process with the key of one wallet."""

from dataclasses import dataclass

import urllib3

from oracle.config import Settings
from oracle.devnet import background
from oracle.devnet.supervisor import ProcessSpec

WALLET = "gateway"
BUDGET = "100"  # dollars that visitors of the page may spend
GRACE = 20.0  # seconds: above the server's own
_PROBE = 10.0  # seconds
_STARTS_WITHIN = 90.0  # seconds in which it does not use the processor


@dataclass(frozen=True, slots=True)
class Rest:
    """Where it will answer, and how it is started."""

    url: str
    spec: ProcessSpec


def gateway(settings: Settings, port: int, *, channels: bool = False) -> Rest:
    """Describe the process; nothing is started. `channels`: whether it pays over its own."""
    url = f"http://127.0.0.1:{port}"
    home = str(settings.home.resolve())
    words = (
        "serve",
        "--home",
        home,
        "--key",
        WALLET,
        "--listen",
        f"127.0.0.1:{port}",
        "--page-budget",
        BUDGET,
        "--x402",
        *(("--channels",) if channels else ()),
    )
    kept = {
        "TALLYSTICK_HOME": home,
        "TALLYSTICK_PASSWORD_FILE": settings.password_file,
        "TALLYSTICK_LOG_LEVEL": settings.log_level,
    }
    return Rest(
        url,
        ProcessSpec(
            name="rest",
            argv=(*background.command(), *words),
            env=kept,
            log_path=settings.home / "logs" / "gateway.log",
            ready=lambda: _lives(url),
            grace=GRACE,
            ready_timeout=_STARTS_WITHIN,
        ),
    )


def _lives(url: str) -> bool:
    try:
        answer = urllib3.request("GET", f"{url}/v2/health/ready", timeout=_PROBE, retries=False)
        return answer.status == 200
    except urllib3.exceptions.HTTPError:
        return False
