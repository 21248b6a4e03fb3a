"""The one thread that sends: what was accepted reaches the chain, also after a crash.

The outbox holds signed transactions, so after `kill -9` the same bytes are sent again; tickets
whose transaction ended in that moment are looked up by its hash.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from oracle.chain.batch_sender import BatchSender
from oracle.chain.bindings.inference_market import Requested
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.rpc import Node, RpcError
from oracle.chain.transactions import Receipt, hash_of, parse_receipt
from oracle.errors import TallystickError
from oracle.gateway.notifier import Notifier
from oracle.gateway.sponsor import KIND
from oracle.store import Store
from oracle.store.gateway_repository import TicketState
from oracle.store.outbox import SqlOutbox
from oracle.types import RequestId

_BUSY = 0.004  # seconds between two looks while something is on its way
_IDLE = 1.0
_KEPT = 20_000  # outcomes in memory; the store has all
_TROUBLE = 1.0  # seconds until the node is asked again after it failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a ticket: a request on the chain, or the reason why not."""

    request_id: RequestId | None
    block: int | None
    error: str = ""


class Dispatcher:
    """Sends what the store holds; rings when a ticket has become a request, or failed."""

    def __init__(
        self,
        rpc: Node,
        sender: BatchSender,
        store: Store,
        notifier: Notifier,
        freed: Callable[[int], None],
        *,
        busy: float = _BUSY,
    ) -> None:
        """Take the collaborators.

        Args:
            freed: is told of lanes that failed requests leave free.
            busy: seconds between two looks at the chain while something is on its way.
        """
        self._rpc = rpc
        self._sender = sender
        self._store = store
        self._outbox = SqlOutbox(store)
        self._notifier = notifier
        self._freed = freed
        self._busy = busy
        self._outcomes: OrderedDict[RequestId, Outcome] = OrderedDict()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="gateway-dispatcher", daemon=True)
        self._log: Any = structlog.get_logger("tallystick.gateway")

    def start(self) -> None:
        """Look up what ended when we were not there, and begin."""
        self._recover()
        self._thread.start()

    def outcome(self, ticket_id: RequestId) -> Outcome | None:
        """Return what became of a ticket while this process ran; None = nothing yet."""
        return self._outcomes.get(ticket_id)

    def wake(self) -> None:
        """Say that there is something to send."""
        self._wake.set()

    def stop(self) -> None:
        """End after the step at hand; what is unsent stays in the store."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping:
            self._wake.wait(pause)
            self._wake.clear()
            try:
                self.step()
                pause = self._busy if self._outbox.live() else _IDLE
            except Exception as error:  # one thread that must not die: it says so and goes on
                level = "warning" if isinstance(error, TallystickError) else "exception"
                getattr(self._log, level)("dispatcher.trouble", error=str(error))
                pause = _TROUBLE

    def step(self) -> None:
        """Bring every transaction one step on, and settle the tickets of those that ended."""
        done = self._sender.step_with_receipts()
        self._conclude([(e, receipt) for e, receipt in done if e.kind == KIND])

    def _recover(self) -> None:
        """Settle tickets whose transaction ended without our noticing."""
        with self._store.read() as tx:
            waiting = [t for t in tx.open_tickets() if t.state is TicketState.ACCEPTED]
        for ticket in waiting:
            entries = self._outbox.of(ticket.id)
            if entries and not any(entry.live for entry in entries):
                self._conclude([(entries[-1], None)])

    def _conclude(self, done: Sequence[tuple[OutboxEntry, Receipt | None]]) -> None:
        if not done:
            return
        entries = [entry for entry, _ in done]
        found = {
            entry.id: (receipt.one(Requested).request_id, receipt.block_number)
            for entry, receipt in done
            if receipt is not None
        }
        missing = [e for e in entries if e.state is EntryState.MINED and e.id not in found]
        if missing:
            found |= self._requests(missing)
        outcomes: dict[RequestId, Outcome] = {}
        lanes: list[int | None] = []
        with self._store.begin() as tx:
            for entry in entries:
                (ticket_id,) = entry.request_ids
                if entry.id in found:
                    request_id, block = found[entry.id]
                    tx.ticket_asked(ticket_id, request_id, block)
                    outcomes[ticket_id] = Outcome(request_id, block)
                elif entry.state is EntryState.FAILED:
                    ticket = tx.ticket(ticket_id)
                    outcomes[ticket_id] = Outcome(None, None, entry.error)
                    if tx.ticket_failed(ticket_id, entry.error) and ticket is not None:
                        lanes.append(ticket.lane)
        for lane in lanes:
            if lane is not None:
                self._freed(lane)
        self._outcomes.update(outcomes)
        while len(self._outcomes) > _KEPT:
            self._outcomes.popitem(last=False)
        self._notifier.notify(outcomes)

    def _requests(self, entries: Sequence[OutboxEntry]) -> dict[int, tuple[RequestId, int]]:
        """Return the request that each mined transaction made, and its block."""
        asked = [(entry.id, "0x" + hash_of(raw).hex()) for entry in entries for raw in entry.raws]
        answers = self._rpc.batch([("eth_getTransactionReceipt", h) for _, h in asked])
        found = {}
        for (entry_id, _), raw in zip(asked, answers, strict=True):
            if isinstance(raw, RpcError):
                raise raw
            if raw is not None:
                receipt: Receipt = parse_receipt(raw)
                found[entry_id] = (receipt.one(Requested).request_id, receipt.block_number)
        return found
