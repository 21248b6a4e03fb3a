"""The one watcher of the market for all who wait: reads final logs, keeps recent lives, rings."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from oracle.chain import logs
from oracle.chain.bindings.inference_market import Annulled, Cancelled, Convicted, Finalized
from oracle.chain.event import Event
from oracle.chain.scan import AGAIN, Chunk, Scanner
from oracle.gateway.notifier import Notifier
from oracle.gateway.repeating import Repeating
from oracle.patience import QuietPace
from oracle.services.event_history import Happened
from oracle.services.network import Network
from oracle.services.request_timeline import LIFE
from oracle.store import Store
from oracle.types import Amount, RequestId

KEPT = 20_000  # requests whose events stay in memory
_REFUNDED = (Cancelled, Annulled, Convicted)


class MarketFollower:
    """Follows the market from a block on."""

    def __init__(
        self,
        network: Network,
        store: Store,
        notifier: Notifier,
        freed: Callable[[RequestId], None],
        *,
        start: int,
        interval: float,
        depth: int = 0,
    ) -> None:
        """Take the collaborators; nothing is read.

        Args:
            freed: is told of requests that are over.
            start: first block to read.
            interval: seconds between two looks, see `QuietPace`; a quarter while somebody waits.
            depth: blocks below the head that count as final.
        """
        self._network = network
        self._store = store
        self._notifier = notifier
        self._freed = freed
        self._start = self._next = start
        self._interval = interval
        self._depth = depth
        self._scanner = Scanner(
            network.rpc, [network.market.address], [logs.topic_of(kind) for kind in LIFE]
        )
        self._seen: dict[tuple[bytes, int], int] = {}  # (block hash, log index) → block
        self._lives: OrderedDict[RequestId, tuple[Happened, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._pace = QuietPace(interval)
        self._loop = Repeating("follower", self._once, interval)
        self.stop = self._loop.stop
        self.head = 0  # newest block that was read

    def start(self) -> None:
        """Read what there is, and begin to follow."""
        self.look()
        self._loop.start()

    def new_block(self) -> None:
        """Hear of a new block: look at once."""
        self._loop.wake()

    @property
    def troubled(self) -> bool:
        """Whether the last look failed."""
        return self._loop.troubled

    def life(self, request_id: RequestId) -> tuple[Happened, ...]:
        """Return what happened to a request, oldest first; () = nothing that is kept here."""
        return self._lives.get(request_id, ())

    def adopt(self, request_id: RequestId, read: Sequence[Happened]) -> tuple[Happened, ...]:
        """Add what was read of a request (again); return all that is known of it."""
        with self._lock:
            known = {(h.block, h.index): h for h in (*self._lives.get(request_id, ()), *read)}
            life = tuple(known[place] for place in sorted(known))
            self._lives[request_id] = life
            self._lives.move_to_end(request_id)
            while len(self._lives) > KEPT:
                self._lives.popitem(last=False)
        return life

    def find(self, request_id: RequestId, kind: type[Event]) -> Happened | None:
        """Return the latest event of a kind, or of one that ends the request without it."""
        wanted = (kind, *_REFUNDED)
        return next(
            (h for h in reversed(self.life(request_id)) if isinstance(h.event, wanted)), None
        )

    def _once(self) -> float:
        if self._notifier.waiting:
            self._pace.news()
        self.look()
        return self._interval / 4 if self._notifier.waiting else self._pace.pause()

    def look(self) -> None:
        """Read the blocks that became final since the last look."""
        final = self._scanner.head() - self._depth
        if final < self._next:
            return
        for chunk in self._scanner.scan(max(self._start, self._next - AGAIN), final):
            if self._loop.stopping:
                return
            self._take(
                [
                    Happened(event, log.block_number, log.tx_hash, log.log_index)
                    for log in chunk.logs
                    if (log.block_hash, log.log_index) not in self._seen
                    and (event := logs.decode(log)) is not None
                ]
            )
            self._remember(chunk)
            self._next = max(self._next, chunk.end + 1)
            self.head = self._next - 1

    def _remember(self, chunk: Chunk) -> None:
        """Note what was taken of the blocks that are read again."""
        self._seen |= {(log.block_hash, log.log_index): log.block_number for log in chunk.logs}
        again = chunk.end - AGAIN
        self._seen = {place: number for place, number in self._seen.items() if number > again}

    def _take(self, happened: Sequence[Happened]) -> None:
        if not happened:
            return
        touched: dict[RequestId, None] = {}
        ended: dict[RequestId, Amount] = {}  # what of the fee came back
        refunded: list[RequestId] = []
        for one in happened:
            request_id: RequestId = getattr(one.event, "request_id")  # noqa: B009 -- LIFE all have it
            self.adopt(request_id, [one])
            touched[request_id] = None
            if isinstance(one.event, Finalized):
                ended[request_id] = one.event.refund
            elif isinstance(one.event, _REFUNDED):
                refunded.append(request_id)
        self._notifier.notify(touched)
        if ended or refunded:
            for request_id in (*ended, *refunded):
                self._freed(request_id)
            with self._store.begin() as tx:
                tx.tickets_ended(ended, returned=ended)
                tx.tickets_ended(refunded, refunded=True)
