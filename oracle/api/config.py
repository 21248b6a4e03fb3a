"""What a gateway allows; every bound in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Bounds of the REST gateway."""

    max_body: int = 8 * 2**20  # bytes; an input has 1 MiB, and JSON takes several times that
    body_timeout: float = 20.0  # seconds between two parts of a body
    answer_timeout: float = 60.0  # seconds that a client waits for its answer
    per_second: float = 200.0  # requests from one address; 0 = unlimited
    burst: float = 400.0
    cors_origins: tuple[str, ...] = ()  # pages of others that may ask; none
    relay: bool = True  # pass on what a wallet signed, and pay its gas
    relays_per_minute: int = 30  # for one address
