"""Brings back what nobody answered: a gateway cancels its own expired requests.

The contract lets anyone do it, so that money is never locked; a client with a budget should not
have to know that. The refund is seen by the follower, which gives it back to the budget.
"""

import time
from collections.abc import Callable

from oracle.chain.outbox import AlreadyPending
from oracle.gateway.market_follower import MarketFollower
from oracle.gateway.repeating import Repeating
from oracle.services import request_timeline
from oracle.services.network import Network
from oracle.services.request_timeline import RequestState
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import NO_CLAIM, RequestId

KIND = "cancel"  # of the outbox entries
EVERY = 5.0  # seconds between two looks
_PATIENCE = 60.0  # seconds until a cancellation that the chain refused is tried again


class Sweeper:
    """Cancels expired requests of this gateway's tickets."""

    def __init__(
        self,
        network: Network,
        store: Store,
        follower: MarketFollower,
        wake: Callable[[], None],
        *,
        every: float = EVERY,
    ) -> None:
        """Take the collaborators.

        Args:
            wake: tells the dispatcher that there is something to send.
        """
        self._network = network
        self._store = store
        self._outbox = SqlOutbox(store)
        self._follower = follower
        self._wake = wake
        self._every = every
        self._tried: dict[RequestId, float] = {}
        self._loop = Repeating("sweeper", self._once, every)
        self.start, self.stop = self._loop.start, self._loop.stop

    def sweep(self) -> int:
        """Mean to cancel what has expired; return how many."""
        now, meant = self._network.history.now(), 0
        with self._store.read() as tx:
            open_ids = [t.request_id for t in tx.open_tickets() if t.request_id is not None]
        for request_id in open_ids:
            life = self._follower.life(request_id)
            if not life or time.monotonic() - self._tried.get(request_id, -_PATIENCE) < _PATIENCE:
                continue
            info = request_timeline.fold([one.event for one in life], now)
            if not info.expired or info.state not in (RequestState.REQUESTED, RequestState.CLAIMED):
                continue
            call = self._network.market.cancel_expired(info.request, info.claim or NO_CLAIM)
            self._tried[request_id] = time.monotonic()
            try:
                self._outbox.add(KIND, [request_id], call)
            except AlreadyPending:
                continue
            meant += 1
        if meant:
            self._wake()
        self._tried = {one: at for one, at in self._tried.items() if one in set(open_ids)}
        return meant

    def _once(self) -> float:
        self.sweep()
        return self._every
