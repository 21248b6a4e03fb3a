"""Which deliveries a challenger looks at: read once from finalized logs, drawn by a secret.

Blocks up to which was read are kept with their hashes; when the chain has another one there,
reading starts again from the newest block that it still has. What is found twice is noted once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from oracle.chain.dispute_game import Turn
from oracle.chain.events import Challenged, Delivered, Event, Requested
from oracle.chain.reorg import common_block
from oracle.chain.scan import Scanner
from oracle.services import timeline
from oracle.services.challenge.memory import Memory
from oracle.services.context import Context
from oracle.services.history import topic
from oracle.services.timeline import LIFE, RequestInfo, State
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

    def __init__(self, context: Context, memory: Memory, me: Address, scope: Scope) -> None:
        self._context = context
        self._memory = memory
        self._me = me
        self._scope = scope

    def follow(self, finalized: int) -> int:
        """Read up to a finalized block; note what is to be looked at and return how many."""
        if self._scope.requests:
            found = self._wanted(self._infos(self._scope.requests))
            for request_id, output_root in found:
                self._memory.add(request_id, output_root)
            return len(found)
        start = self._start()
        end = Scanner(self._context.rpc, []).block(finalized)
        if end is None or start > finalized:
            return 0
        market = self._context.market.address
        delivered = self._context.history.read(market, (Delivered,), since=start)
        ids = [
            h.event.request_id
            for h in delivered
            if isinstance(h.event, Delivered) and h.block <= finalized
        ]
        found = self._wanted(self._infos(ids))
        self._memory.advance(end, found)
        return len(found)

    def orphans(self) -> list[tuple[RequestId, Bytes32]]:
        """Return answers that this account has challenged, with its bond still in the game."""
        game = self._context.game
        found = self._context.history.read(game.address, (Challenged,), None, topic(self._me))
        ids = {h.event.request_id for h in found if isinstance(h.event, Challenged)}
        live = [i for i in ids if game.challenge_of(i, self._me).turn is not Turn.NONE]
        return [
            (info.request_id, info.output_root)
            for info in self._infos(live)
            if info.output_root is not None
        ]

    def info(self, request_id: RequestId) -> RequestInfo | None:
        """Return where a request stands; None when there is none."""
        return next(self._infos([request_id]), None)

    def _start(self) -> int:
        known: list[BlockRef] = self._memory.blocks()
        if not known:
            return self._context.contracts.deployed_at
        common = common_block(Scanner(self._context.rpc, []), known)
        if common != known[0]:
            self._memory.forget_above(common.number if common else -1)
        return common.number + 1 if common else self._context.contracts.deployed_at

    def _infos(self, ids: Iterable[RequestId]) -> Iterator[RequestInfo]:
        wanted = list(dict.fromkeys(ids))
        now = self._context.history.now()
        for at in range(0, len(wanted), _AT_ONCE):
            part = [topic(request_id) for request_id in wanted[at : at + _AT_ONCE]]
            events: dict[bytes, list[Event]] = {}
            for happened in self._context.history.read(self._context.market.address, LIFE, part):
                request_id = getattr(happened.event, "request_id", b"")
                events.setdefault(request_id, []).append(happened.event)
            for one in events.values():
                if isinstance(one[0], Requested):
                    yield timeline.fold(one, now)

    def _wanted(self, infos: Iterable[RequestInfo]) -> list[tuple[RequestId, Bytes32]]:
        return [
            (info.request_id, info.output_root)
            for info in infos
            if info.output_root is not None and self._wants(info)
        ]

    def _wants(self, info: RequestInfo) -> bool:
        if info.request.terms.assurance is not Assurance.EXACT or info.answered_by == self._me:
            return False
        if info.state is not State.DELIVERED:
            return False
        if self._scope.requests:
            return True
        if self._scope.model_id not in (None, info.model_id):
            return False
        return self._memory.picks(info.request_id, self._scope.fraction)
