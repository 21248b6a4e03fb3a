"""Accepts a client's request: everything is checked, then one commit makes it ours to keep.

```
 input on IPFS ┬▶ ┌ one transaction ───────────────┐ ─▶ dispatcher
 simulated ────┘  │ budget charged, ticket, intent │
 (refused free)   └────────────────────────────────┘
```
"""

import hashlib
import heapq
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.errors import DigestMismatch, Refused, TransientError
from oracle.gateway.catalogue import AskableVersion
from oracle.services.inputs import PreparedInput
from oracle.services.network import Network
from oracle.services.quoting import LIFETIME, PRIORITY
from oracle.store import Store, Transaction
from oracle.store.gateway_repository import ApiKey, IdempotencyConflict, Ticket, TicketState
from oracle.store.outbox import add_in
from oracle.types import Address, Amount, Bytes32, Order, RequestId

KIND = "request"  # of the outbox entries
PUBLISHING = 8  # inputs at a time
REPEATED = 600.0  # seconds in which the same question of the same key is the same request
_LANES = 16  # that are tried before we give up


@dataclass(frozen=True, slots=True)
class Question:
    """What one client asks."""

    listing: AskableVersion
    prepared: PreparedInput
    params: Bytes32
    idempotency: str | None = None

    @property
    def digest(self) -> Bytes32:
        """What tells this question from another one."""
        served = self.listing.served
        text = f"{served.model_id}@{served.version}".encode()
        return Bytes32(hashlib.sha256(text + self.prepared.root + self.params).digest())


class Lanes:
    """The lanes of one account that its live requests do not hold. Safe for threads."""

    def __init__(self, taken: Iterable[int]) -> None:
        """Take the lanes that are held already."""
        held = set(taken)
        self._next = max(held, default=-1) + 1
        self._free = sorted(set(range(self._next)) - held)
        self._lock = threading.Lock()

    def take(self) -> int:
        """Return the lowest free lane: one that was used before costs less gas."""
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._next += 1
            return self._next - 1

    def free(self, lane: int) -> None:
        """Give a lane back; one that is free already stays so."""
        with self._lock:
            if lane not in self._free:
                heapq.heappush(self._free, lane)


class Sponsor:
    """Asks with the gateway's own account for whoever has an API key."""

    def __init__(
        self,
        network: Network,
        account: Address,
        store: Store,
        lanes: Lanes,
        *,
        simulate: Callable[[Call], int],
        accepted: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the collaborators.

        Args:
            account: whose prepaid balance pays.
            simulate: returns a call's gas, or raises the ContractError that it would meet.
            accepted: is told when there is something to send.
        """
        self._network = network
        self._account = account
        self._store = store
        self._lanes = lanes
        self._simulate = simulate
        self._accepted = accepted
        self._clock = clock
        # A pool of its own: who waits in the gateway's for a place in it would wait for himself
        self._publishing = ThreadPoolExecutor(PUBLISHING, "gateway-publishing")

    def close(self) -> None:
        """Stop publishing."""
        self._publishing.shutdown(wait=True, cancel_futures=True)

    def require_budget(self, key: ApiKey, questions: Sequence[Question]) -> None:
        """Refuse questions of which the budget covers only some: half an answer is worth nothing.

        Raises:
            BudgetExhausted: it has not so much left.
        """
        with self._store.read() as tx:
            fees = [
                one.listing.terms.fee for one in questions if not self._asked_before(tx, key, one)
            ]
            tx.require_budget(key.id, Amount(sum(fees)))

    def check(self, question: Question) -> None:
        """Refuse what the market would refuse now; nothing is kept.

        Raises:
            ContractError: it would.
        """
        _, lane, _ = self._possible(self._order(question))
        self._lanes.free(lane)

    def accept(self, key: ApiKey, question: Question) -> Ticket:
        """Take a request on; from here on it is sent, whatever dies.

        Raises:
            Refused: the key may not ask this model.
            ContractError: the market would refuse; nothing is charged.
            BudgetExhausted: the key has not so much left.
            IdempotencyConflict: the Idempotency-Key was used for another question.
        """
        self._require_allowed(key, question)
        with self._store.read() as tx:
            if (known := self._asked_before(tx, key, question)) is not None:
                return known
            tx.require_budget(key.id, question.listing.terms.fee)
        call, lane, gas = self._published(question)
        ticket = self._ticket(key, question, lane)
        try:
            kept = self._commit(key, question, ticket, call, gas)
        except BaseException:
            self._lanes.free(lane)
            raise
        if kept.id != ticket.id:  # the same question was faster
            self._lanes.free(lane)
            return kept
        self._accepted()
        return ticket

    def call_out(self, key: ApiKey, question: Question) -> Ticket:
        """Charge for a question that is asked over a channel; return what it was before, if it was.

        Raises:
            ModelNotAllowed, BudgetExhausted, IdempotencyConflict: as `accept`.
        """
        self._require_allowed(key, question)
        ticket = replace(self._ticket(key, question, None), state=TicketState.CALLED)

        def commit(tx: Transaction) -> Ticket:
            if (known := self._asked_before(tx, key, question)) is not None:
                return known
            tx.charge(key.id, ticket.fee)
            tx.add_ticket(ticket)
            return ticket

        return self._store.write(commit)

    def put_on_chain(self, ticket: Ticket, question: Question) -> None:
        """Send a question that was called out in vain; it was charged, and is not again.

        Raises:
            What `accept` raises when the market would refuse; the charge is undone.
        """
        try:
            call, lane, gas = self._published(question)
        except BaseException:
            with self._store.begin() as tx:
                tx.drop_called_tickets(ticket.id)
            raise

        def commit(tx: Transaction) -> None:
            tx.ticket_accepted(ticket.id, lane)
            add_in(tx, KIND, [ticket.id], call, gas=gas, estimated_at=self._clock())

        try:
            self._store.write(commit)
        except BaseException:
            self._lanes.free(lane)
            raise
        self._accepted()

    def _require_allowed(self, key: ApiKey, question: Question) -> None:
        served = question.listing.served
        if key.models and served.model_id not in key.models:
            raise ModelNotAllowed(
                f"the API key {key.name!r} may not ask model {served.model_id}",
                hint="it may ask: " + ", ".join(map(str, key.models)),
            )

    def _ticket(self, key: ApiKey, question: Question, lane: int | None) -> Ticket:
        served = question.listing.served
        return Ticket(
            id=RequestId(secrets.token_bytes(32)),
            key_id=key.id,
            idempotency=question.idempotency,
            digest=question.digest,
            model_id=served.model_id,
            version=served.version,
            lane=lane,
            fee=question.listing.terms.fee,
            created_at=self._clock(),
        )

    def _published(self, question: Question) -> tuple[Call, int, int]:
        """Publish an input; return the call that asks about it, its lane and its gas."""
        publishing = self._publishing.submit(
            self._network.ipfs.publish_bytes, question.prepared.data
        )
        call, lane, gas = self._possible(self._order(question))
        try:
            published = publishing.result()
            if question.prepared.locator not in (bytes(32), published.sha256):
                raise DigestMismatch("the IPFS node names another digest for the input")
        except BaseException:
            self._lanes.free(lane)
            raise
        return call, lane, gas

    def _commit(
        self, key: ApiKey, question: Question, ticket: Ticket, call: Call, gas: int
    ) -> Ticket:
        def commit(tx: Transaction) -> Ticket:
            if (known := self._asked_before(tx, key, question)) is not None:
                return known
            tx.charge(key.id, ticket.fee)
            tx.add_ticket(ticket)
            add_in(tx, KIND, [ticket.id], call, gas=gas, estimated_at=ticket.created_at)
            return ticket

        return self._store.write(commit)

    def _asked_before(self, tx: Transaction, key: ApiKey, question: Question) -> Ticket | None:
        """Return the request that a repeated question is, so that a retry costs nothing.

        With an Idempotency-Key that is what the key was used for, whenever it was; without one,
        the same question of the last ten minutes.

        Raises:
            IdempotencyConflict: the Idempotency-Key was used for another question.
        """
        if question.idempotency is None:
            return tx.ticket_like(key.id, question.digest, self._clock() - REPEATED)
        found = tx.ticket_for(key.id, question.idempotency)
        return _same(found, question) if found else None

    def _order(self, question: Question) -> Order:
        listing = question.listing
        return Order(
            model_id=listing.served.model_id,
            version=listing.served.version,
            lane=0,
            input_root=question.prepared.root,
            input_cid=question.prepared.locator,
            params=question.params,
            max_fee=listing.terms.fee,
            priority_window=PRIORITY,
            lifetime=LIFETIME,
            operator=listing.operator,
        )

    def _possible(self, order: Order) -> tuple[Call, int, int]:
        """Return the call on a lane that is free, the lane, and the call's gas."""
        for _ in range(_LANES):
            lane = self._lanes.take()
            call = self._network.market.request(replace(order, lane=lane))
            try:
                gas = self._simulate(call)
            except ContractError as error:
                if error.name == "LaneBusy":  # taken before our store began: it is left alone
                    continue
                self._lanes.free(lane)
                raise
            except BaseException:
                self._lanes.free(lane)
                raise
            return call, lane, gas
        raise TransientError(
            f"the account {self._account} is used by somebody else as well",
            hint="give the gateway an account of its own",
        )


class ModelNotAllowed(Refused):
    """An API key may not ask this model."""


def _same(known: Ticket, question: Question) -> Ticket:
    if known.digest != question.digest:
        raise IdempotencyConflict(
            "this Idempotency-Key was used for another request",
            hint="use a new one for every request; repeat one only with the very same body",
        )
    return known
