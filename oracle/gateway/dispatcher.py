"""The one thread that sends: what was accepted reaches the chain, also after a crash.

The outbox holds signed transactions, so after `kill -9` the same bytes are sent again; tickets
whose transaction ended in that moment are looked up by its hash. A ticket stays open until the
chain has its request, or it is certain that it never will: only then is the charge given back.

Requests that wait for the same step are sent as one batch. The contract reverts a batch as a whole,
so one that fails is taken apart: each of its requests is tried alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oracle.chain.bindings.inference_market import InferenceMarket, Requested
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.rpc import Node, RpcError
from oracle.chain.sender import Sender
from oracle.chain.transactions import Receipt, parse_receipt
from oracle.gateway import together
from oracle.gateway.notifier import Notifier
from oracle.gateway.repeating import Repeating
from oracle.gateway.sponsor import KIND
from oracle.store import Store
from oracle.store.gateway_repository import TicketState
from oracle.store.outbox import SqlOutbox, add_in, join_in
from oracle.types import ZERO32, ZERO_ADDRESS, Amount, Bytes32, Order, RequestId

_BUSY = 0.004  # seconds between two looks while something is on its way
_IDLE = 1.0
_NOTHING = Order(
    model_id=0, version=0, lane=0, input_root=ZERO32, input_cid=ZERO32, params=ZERO32,
    max_fee=Amount(0), priority_window=0, lifetime=0, operator=ZERO_ADDRESS,
)  # fmt: skip
_KEPT = 20_000  # outcomes in memory; the store has all


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a ticket: a request on the chain, or the reason why not."""

    request_id: RequestId | None
    block: int | None
    transaction: Bytes32 = ZERO32  # that asked, as far as this process saw it
    error: str = ""


class Dispatcher:
    """Sends what the store holds; rings when a ticket has become a request, or failed."""

    def __init__(
        self,
        rpc: Node,
        sender: Sender,
        store: Store,
        notifier: Notifier,
        freed: Callable[[int], None],
        *,
        market: InferenceMarket,
        busy: float = _BUSY,
        others_ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the collaborators.

        Args:
            market: where requests are made.
            freed: is told of lanes that failed requests leave free.
            others_ended: is told when transactions that are no requests ended.
            busy: seconds between two looks at the chain while something is on its way.
        """
        self._rpc = rpc
        self._sender = sender
        self._store = store
        self._outbox = SqlOutbox(store)
        self._notifier = notifier
        self._freed = freed
        self._busy = busy
        self._others_ended = others_ended
        self._empty = market.request_batch([])
        self._selector = market.request(_NOTHING).data[:4]
        self._news = True  # something was accepted since the last step
        self._alone: set[RequestId] = set()  # tickets of a batch that failed
        self._ended: list[OutboxEntry] = []  # whose tickets are not settled yet
        self._outcomes: OrderedDict[RequestId, Outcome] = OrderedDict()
        self._loop = Repeating("dispatcher", self._once)

    def start(self) -> None:
        """Look up what ended when we were not there, and begin."""
        self._ended = self._left_behind()
        self._loop.start()

    def outcome(self, ticket_id: RequestId) -> Outcome | None:
        """Return what became of a ticket while this process ran; None = nothing yet."""
        return self._outcomes.get(ticket_id)

    def wake(self) -> None:
        """Say that there is something to send."""
        self._news = True
        self._loop.wake()

    def new_block(self) -> None:
        """Hear of a new block: look at what was sent."""
        if self._sender.live:
            self._loop.wake()

    def stop(self) -> None:
        """End after the step at hand; what is unsent stays in the store."""
        self._loop.stop()

    def _once(self) -> float:
        self.step()
        return self._busy if self._ended or self._sender.live else _IDLE

    def step(self) -> None:
        """Bring every transaction one step on, and settle the tickets of those that ended."""
        if self._news:
            self._news = False
            self._join()
        ended = self._sender.step()
        self._ended += [entry for entry in ended if entry.kind == KIND]
        if any(entry.kind != KIND for entry in ended):
            self._others_ended()
        if self._ended:
            self._ended = self._conclude(self._ended)

    def _join(self) -> None:
        """Make batches of the requests that nothing was signed for."""
        waiting = [
            entry
            for entry in self._outbox.live()
            if entry.kind == KIND and not entry.raws and len(entry.request_ids) == 1
            if entry.gas and entry.request_ids[0] not in self._alone
            # What a wallet signed has another layout: in a batch its bytes would pass for orders
            if entry.data[:4] == self._selector
        ]
        for group in together.groups(waiting):
            call, gas = together.batch(self._empty, group), sum(entry.gas for entry in group)
            with self._store.begin() as tx:
                join_in(tx, group, call, gas=gas)

    def _left_behind(self) -> list[OutboxEntry]:
        """Return what ended without a process that settled its ticket."""
        with self._store.read() as tx:
            waiting = [t for t in tx.open_tickets() if t.state is TicketState.ACCEPTED]
        all_of = [self._outbox.of(ticket.id) for ticket in waiting]
        last = [entries[-1] for entries in all_of if entries and not entries[-1].live]
        return list({entry.id: entry for entry in last}.values())

    def _conclude(self, ended: Sequence[OutboxEntry]) -> list[OutboxEntry]:
        """Settle tickets; return the entries whose receipt no node shows yet."""
        receipts = self._receipts(ended)
        outcomes: dict[RequestId, Outcome] = {}
        lanes: list[int | None] = []
        apart: set[int] = set()  # batches
        with self._store.begin() as tx:
            for entry in ended:
                tickets = entry.request_ids
                if (receipt := receipts.get(entry.id)) is not None:
                    asked = zip(tickets, receipt.all(Requested), strict=True)
                    for ticket_id, event in asked:
                        request_id, block = event.request_id, receipt.block_number
                        tx.ticket_asked(ticket_id, request_id, block)
                        outcomes[ticket_id] = Outcome(request_id, block, receipt.tx_hash)
                elif entry.state is EntryState.FAILED and len(tickets) > 1:
                    calls = together.singles(entry, self._selector)
                    for ticket_id, call in zip(tickets, calls, strict=True):
                        add_in(tx, KIND, [ticket_id], call)
                    apart.add(entry.id)
                    self._alone.update(tickets)
                elif entry.state is EntryState.FAILED:
                    (ticket_id,) = tickets
                    ticket = tx.ticket(ticket_id)
                    outcomes[ticket_id] = Outcome(None, None, error=entry.error)
                    if tx.ticket_failed(ticket_id, entry.error) and ticket is not None:
                        lanes.append(ticket.lane)
        self._alone.difference_update(outcomes)
        for lane in lanes:
            if lane is not None:
                self._freed(lane)
        self._outcomes.update(outcomes)
        while len(self._outcomes) > _KEPT:
            self._outcomes.popitem(last=False)
        self._notifier.notify(outcomes)
        return [e for e in ended if e.request_ids[0] not in outcomes and e.id not in apart]

    def _receipts(self, ended: Sequence[OutboxEntry]) -> dict[int, Receipt]:
        """Return the receipts of those that were mined, by entry; asked for after a restart."""
        mined = [entry for entry in ended if entry.state is EntryState.MINED]
        found = {entry.id: entry.receipt for entry in mined if entry.receipt is not None}
        forms = [(e.id, "0x" + h.hex()) for e in mined if e.id not in found for h in e.hashes]
        answers = self._rpc.batch([("eth_getTransactionReceipt", form) for _, form in forms])
        for (entry_id, _), raw in zip(forms, answers, strict=True):
            if isinstance(raw, RpcError):
                raise raw
            if raw is not None:
                found[entry_id] = parse_receipt(raw)
        return found
