"""What every route is given: the network, the gateway when there is one, and who asks."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from oracle.api.config import ApiConfig
from oracle.api.documents import ResponseCache
from oracle.api.problems import Rejected
from oracle.api.statistics import ModelStatistics
from oracle.gateway import api_keys
from oracle.gateway.api_keys import KeyRefused
from oracle.gateway.catalogue import Versions
from oracle.gateway.gateway import Gateway
from oracle.metrics import GatewayMetrics
from oracle.rate_limit import Buckets
from oracle.services.network import Network
from oracle.store.gateway_repository import ApiKey

T = TypeVar("T")
VERIFYING = 2  # verifications of histories at once: each may read every byte of a model
_REMEMBERED = 1.0  # seconds that a key is believed; a charge asks the store anyway


@dataclass
class AppState:
    """The collaborators of the routes."""

    network: Network
    config: ApiConfig
    metrics: GatewayMetrics
    buckets: Buckets
    gateway: Gateway | None  # None = only reading
    versions: Versions
    memory: ResponseCache = field(default_factory=ResponseCache)
    verifying: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(VERIFYING))
    keys: dict[str, tuple[float, ApiKey]] = field(default_factory=dict)
    going: set[asyncio.Task[Any]] = field(default_factory=set)
    statistics: dict[tuple[int, int], ModelStatistics] = field(  # by model and version
        default_factory=lambda: defaultdict(ModelStatistics)
    )

    async def outlive(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on when who waits for it is gone: money is on the way."""
        task = asyncio.ensure_future(work)
        self.going.add(task)
        task.add_done_callback(self.going.discard)
        return await asyncio.shield(task)

    async def blocking(self, step: Callable[[], T]) -> T:
        """Run a blocking step beside the event loop."""
        if self.gateway is not None:
            return await self.gateway.blocking(step)
        return await asyncio.to_thread(step)

    def limit(self, request: Request, what: str, per_minute: int) -> None:
        """Bound what costs us money or space and needs no key.

        Raises:
            Rejected: more of these came from one address.
        """
        client = request.client.host if request.client else "local"
        wait = self.buckets.take(f"{what}:{client}", per_minute / 60, per_minute)
        if wait:
            raise Rejected(
                429,
                "TooManyRequests",
                f"{per_minute} of these a minute are taken from one address",
                {"Retry-After": str(max(1, round(wait)))},
            )

    @property
    def asking(self) -> Gateway:
        """The gateway.

        Raises:
            Rejected: this server has no account.
        """
        if self.gateway is None:
            raise Rejected(
                503, "ReadOnly", "this server has no account and asks nothing; it shows the chain"
            )
        return self.gateway


def state_of(request: Request) -> AppState:
    """Return the app's state."""
    found: AppState = request.app.state.tallystick
    return found


StateDep = Annotated[AppState, Depends(state_of)]


async def key_of(request: Request, state: StateDep) -> ApiKey:
    """Return the API key that came along.

    Raises:
        KeyRefused: none, or none that is in use.
        Rejected: it asked more often than it may.
    """
    gateway = state.asking
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise KeyRefused(
            "this costs money and came without an API key",
            hint="send `Authorization: Bearer tsk_…`; `tallystick key create` makes one",
        )
    secret = secret.strip()
    now = time.monotonic()
    kept = state.keys.get(secret)
    if kept is None or now - kept[0] > _REMEMBERED:
        key = await gateway.blocking(lambda: api_keys.authenticate(gateway.store, secret))
        if len(state.keys) > 10_000:
            state.keys.clear()
        state.keys[secret] = (now, key)
    else:
        key = kept[1]
    if key.per_minute:
        wait = state.buckets.take(f"key:{key.id}", key.per_minute / 60, key.per_minute)
        if wait:
            raise Rejected(
                429,
                "KeyRateLimit",
                f"the API key {key.name!r} may ask {key.per_minute} times a minute",
                {"Retry-After": str(max(1, round(wait)))},
            )
    return key


KeyDep = Annotated[ApiKey, Depends(key_of)]
