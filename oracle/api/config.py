"""What a gateway allows; every bound in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Bounds of the REST gateway."""

    max_body: int = 8 * 2**20
    """Bytes of a body, counted while it streams. An input has 1 MiB, and JSON takes
    several times that."""
    body_timeout: float = 20.0
    """Seconds between two parts of a body."""
    answer_timeout: float = 60.0
    """Seconds that a client waits for its answer."""
    per_second: float = 200.0
    """Requests from one address; 0 is unlimited."""
    burst: float = 400.0
    """Requests from one address in one moment."""
    hosts: tuple[str, ...] = ()
    """Names under which browsers may know this server, besides addresses and `localhost`."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other pages that may ask; none by default."""
    relay: bool = True
    """Whether requests that a wallet signed are sent, with the gateway's gas."""
    relays_per_minute: int = 30
    """Relayed requests from one address."""
    x402: bool = False
    """Whether who has no API key may pay each answer by x402."""
    x402_surcharge: int = 0
    """Token units above a model's fee, for the gas that a payment costs the gateway."""
    payments_per_minute: int = 600
    """Payments by x402 from one address."""
