"""Whether a model can be asked now, who would answer, how soon, and when it last answered."""

from dataclasses import dataclass

from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.chain.rpc import quantity
from oracle.errors import NotFound
from oracle.scheduling import placement
from oracle.services import operators
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.types import Address, Terms, Timestamp


@dataclass(frozen=True, slots=True)
class Readiness:
    """A model as somebody finds it who asks now."""

    operator: Address | None  # None: nobody can serve it
    latency: float | None  # seconds, median of recent answers; None = there were none
    answered_at: Timestamp | None  # by anybody
    why: str  # nobody can


class ReadinessReader:
    """Reads once a block: nothing of it changes in between. Safe to share between threads."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[int, tuple[int, Readiness]] = {}  # with the block

    def of(self, model_id: int, terms: Terms) -> Readiness:
        """Return how a model stands under the terms of the version that is asked."""
        head = quantity(self._network.rpc.call("eth_blockNumber"))
        block, known = self._kept.get(model_id, (-1, None))
        if known is None or block != head:
            known = self._read(model_id, terms)
            if len(self._kept) > 1024:
                self._kept.clear()
            self._kept[model_id] = (head, known)
        return known

    def _read(self, model_id: int, terms: Terms) -> Readiness:
        candidates = operators.candidates(self._network, model_id)
        answered_at = self._last_answer(model_id)
        try:
            lock = self._network.market.lock_of(terms).total
            chosen = placement.choose(candidates, lock).operator
        except NotFound as error:
            return Readiness(None, None, answered_at, error.hint)
        known = sorted(c.latency for c in candidates if c.latency is not None)
        latency = next(c.latency for c in candidates if c.operator == chosen)
        if latency is None and known:
            latency = known[0]  # who is chosen has not answered yet, others have
        return Readiness(chosen, latency, answered_at, "")

    def _last_answer(self, model_id: int) -> Timestamp | None:
        market, history = self._network.market.address, self._network.history
        asked = history.read(market, (Requested,), None, topic(model_id))[-operators.RECENT :]
        if not asked:
            return None
        ids = {h.event.request_id for h in asked if isinstance(h.event, Requested)}
        for happened in reversed(history.read(market, (Delivered,), since=asked[0].block)):
            if isinstance(happened.event, Delivered) and happened.event.request_id in ids:
                return happened.event.stamp.time
        return None
