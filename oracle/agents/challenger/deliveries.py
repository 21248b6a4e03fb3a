"""Which deliveries a challenger looks at: read once from finalized logs, drawn by a secret.

Blocks up to which was read are kept with their hashes; when the chain has another one there,
reading starts again from the newest block that it still has. What is found twice is noted once.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from oracle.agents.challenger.store import ChallengerStore
from oracle.chain.bindings.dispute_game import Challenged, Turn
from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.chain.event import Event
from oracle.chain.reorg import common_block
from oracle.chain.scan import Scanner
from oracle.services import request_timeline
from oracle.services.audits import Audits, ExactDelivery, left_over
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.request_timeline import LIFE, RequestInfo, RequestState
from oracle.types import Address, Assurance, BlockRef, Bytes32, RequestId

_AT_ONCE = 100  # requests whose events are asked for by id


@dataclass(frozen=True, slots=True)
class Scope:
    """Which deliveries are looked at."""

    fraction: float = 1.0
    model_id: int | None = None
    requests: tuple[RequestId, ...] = ()  # these alone, whatever the fraction


class Deliveries:
    """The deliveries of exact versions on one deployment."""

    def __init__(
        self,
        network: Network,
        store: ChallengerStore,
        me: Address,
        scope: Scope,
        audits: Audits | None = None,
    ) -> None:
        self._audits = audits
        self._network = network
        self._store = store
        self._me = me
        self._scope = scope

    def follow(self, finalized: int) -> int:
        """Read up to a finalized block; note what is to be looked at and return how many."""
        if self._scope.requests:
            found = self._wanted(self.infos(self._scope.requests))
            for request_id, output_root in found:
                self._store.add(request_id, output_root)
            return len(found)
        if self._audits is not None or self._scope.fraction < 1:
            finalized -= 1  # the draw needs the block after a delivery's
        start = self._start()
        if start > finalized or (end := Scanner(self._network.rpc, []).block(finalized)) is None:
            return 0
        market = self._network.market.address
        blocks = {
            h.event.request_id: h.block
            for h in self._network.history.read(market, (Delivered,), since=start)
            if isinstance(h.event, Delivered) and h.block <= finalized
        }
        infos = [info for info in self.infos(blocks) if self._open(info)]
        exact = [ExactDelivery(info, blocks[info.request_id]) for info in infos]
        if self._audits is not None:
            self._audits.draw(exact)
        pool = left_over(self._network, exact) if self._scope.fraction < 1 else set()
        found = self._wanted(infos, pool)
        self._store.advance(end, found)
        return len(found)

    def collect(self) -> None:
        """Have audits done, and look at what they found wrong."""
        if self._audits is None:
            return
        asked = {request_id for request_id, _ in self._audits.asked()}
        self._audits.send(info for info in self.infos(asked) if self._open(info))
        for request_id, output_root in self._audits.wrong():
            self._store.add(request_id, output_root)

    def orphans(self) -> list[tuple[RequestId, Bytes32]]:
        """Return answers that this account has challenged, with its bond still in the game."""
        game = self._network.game
        found = self._network.history.read(game.address, (Challenged,), None, topic(self._me))
        ids = {h.event.request_id for h in found if isinstance(h.event, Challenged)}
        live = [i for i in ids if game.challenge_of(i, self._me).turn is not Turn.NONE]
        return [
            (info.request_id, info.output_root)
            for info in self.infos(live)
            if info.output_root is not None
        ]

    def info(self, request_id: RequestId) -> RequestInfo | None:
        """Return where a request stands; None when there is none."""
        return next(self.infos([request_id]), None)

    def _start(self) -> int:
        known: list[BlockRef] = self._store.blocks()
        if not known:
            return self._network.contracts.deployed_at
        chain = Scanner(self._network.rpc, [])
        head = chain.head()
        common = common_block(chain, [block for block in known if block.number <= head])
        if common != known[0]:
            self._store.forget_above(common.number if common else -1)
        return common.number + 1 if common else self._network.contracts.deployed_at

    def infos(self, ids: Iterable[RequestId]) -> Iterator[RequestInfo]:
        """Yield where these requests stand."""
        wanted = list(dict.fromkeys(ids))
        now = self._network.history.now()
        for at in range(0, len(wanted), _AT_ONCE):
            part = [topic(request_id) for request_id in wanted[at : at + _AT_ONCE]]
            events: dict[bytes, list[Event]] = {}
            for happened in self._network.history.read(self._network.market.address, LIFE, part):
                request_id = getattr(happened.event, "request_id", b"")
                events.setdefault(request_id, []).append(happened.event)
            for one in events.values():
                if isinstance(one[0], Requested):
                    yield request_timeline.fold(one, now)

    def _wanted(
        self, infos: Iterable[RequestInfo], pool: Set[RequestId] = frozenset()
    ) -> list[tuple[RequestId, Bytes32]]:
        return [
            (info.request_id, info.output_root)
            for info in infos
            if info.output_root is not None and self._wants(info, pool)
        ]

    def _wants(self, info: RequestInfo, pool: Set[RequestId]) -> bool:
        if not self._open(info):
            return False
        if self._scope.requests:
            return True
        if self._scope.model_id not in (None, info.model_id):
            return False
        picked = self._store.picks(info.request_id, self._scope.fraction)
        return picked or info.request_id in pool

    def _open(self, info: RequestInfo) -> bool:
        """Whether it is an exact answer of somebody else that can still be disputed."""
        exact = info.request.terms.assurance is Assurance.EXACT
        return exact and info.answered_by != self._me and info.state is RequestState.DELIVERED
