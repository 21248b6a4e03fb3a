"""Brings x402 payments to their end: served, or paid back to their payers, once each.

What a payment waits for is read from outbox, tickets and chain alone, so a restart goes on where
the last process stopped. Refunds come out of the prepaid balance; now and then what the gateway's
wallet received is deposited there.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from oracle.chain.bindings.inference_market import Convicted
from oracle.chain.contract import Call, split_signature
from oracle.chain.outbox import AlreadyPending, EntryState, OutboxEntry
from oracle.chain.revert import ContractError
from oracle.chain.rpc import quantity
from oracle.chain.wallet import Wallet
from oracle.errors import TallystickError, Unavailable
from oracle.gateway.facilitator import Facilitator
from oracle.gateway.notifier import Notifier
from oracle.gateway.repeating import Repeating
from oracle.services import balances
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.store import Store, Transaction
from oracle.store.gateway_repository import Ticket, TicketState
from oracle.store.outbox import SqlOutbox, add_in
from oracle.store.payment_repository import Payment, PaymentState
from oracle.types import ZERO32, Amount, Bytes32, RequestId

REFUND, DEPOSIT = "x402-refund", "x402-deposit"  # kinds of the outbox entries
EVERY = 5.0  # seconds between two looks
PATIENCE = 120.0  # seconds for a transfer of somebody else's, and for who is to ask for an answer
DEPOSIT_EVERY = 30.0  # seconds
_AGAIN = 60.0  # seconds until a refund that the chain refused is tried again
_MOVING = (PaymentState.SETTLING, PaymentState.OWED, PaymentState.REFUNDING)
_WAITING = (PaymentState.SETTLED, PaymentState.REFUSED)


class PaymentFollower:
    """Follows the payments of one gateway."""

    def __init__(
        self,
        network: Network,
        wallet: Wallet,
        store: Store,
        notifier: Notifier,
        facilitator: Facilitator,
        *,
        simulate: Callable[[Call], int],
        accepted: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the collaborators.

        Args:
            wallet: of the gateway; it signs the permits of deposits.
            simulate: returns a call's gas, or raises the ContractError that it would meet.
            accepted: is told when there is something to send.
        """
        self._network = network
        self._wallet = wallet
        self._store = store
        self._outbox = SqlOutbox(store)
        self._notifier = notifier
        self._facilitator = facilitator
        self._transfers = facilitator.transfers
        self._simulate = simulate
        self._accepted = accepted
        self._clock = clock
        self._look_at = self._deposit_at = 0.0
        self._tried: dict[RequestId, float] = {}
        self._loop = Repeating("payments", self._once)
        self.start, self.stop, self.wake = self._loop.start, self._loop.stop, self._loop.wake

    def _once(self) -> float:
        self.step()
        return EVERY

    def count(self) -> dict[str, int]:
        """Return how many payments are in each state that is no end."""
        with self._store.read() as tx:
            return {state.value: count for state, count in tx.count_payments().items()}

    def step(self) -> None:
        """Bring every payment one step on.

        Raises:
            TallystickError: of the first payment that could not be; the others were.
        """
        with self._store.read() as tx:
            moving = tx.payments(_MOVING)
        steps = {
            PaymentState.SETTLING: self._conclude,
            PaymentState.OWED: self._refund,
            PaymentState.REFUNDING: self._conclude_refund,
        }
        todo: list[Callable[[], None]] = [partial(steps[one.state], one) for one in moving]
        if self._clock() >= self._look_at:
            todo.append(self.look)
        _take_all(todo)

    # ── Settled, or not ─────────────────────────────────────────────────────────────────────────
    def _conclude(self, payment: Payment) -> None:
        if (entry := self._ended(payment)) is None:
            return
        if entry.state is EntryState.MINED:
            transaction: Bytes32 | None = self._hash_of(entry)
        else:  # whoever saw the transfer may have sent it first
            young = self._clock() - payment.created_at < PATIENCE
            if young and self._transfers.waits(payment.payer, payment.nonce):
                return
            used = self._use_of(payment)
            if used is not None and used.block > self._final():
                return
            transaction = self._transfer_of(payment, used)
        if transaction is not None:
            self._move(payment, PaymentState.SETTLED, transaction=transaction)
        else:
            self._move(payment, PaymentState.REFUSED, error=entry.error)
        self._notifier.notify([payment.id])

    def _hash_of(self, entry: OutboxEntry) -> Bytes32:
        """Return which form of a mined transaction is in a block."""
        for form in entry.hashes:
            if self._network.rpc.call("eth_getTransactionReceipt", "0x" + form.hex()) is not None:
                return form
        raise Unavailable("the node does not show the receipt of a transaction that is mined")

    def _use_of(self, payment: Payment) -> Happened | None:
        return self._transfers.use_of(payment.payer, payment.nonce, payment.block)

    def _transfer_of(self, payment: Payment, used: Happened | None) -> Bytes32 | None:
        return self._transfers.that_used(used, payment.payer, payment.amount)

    def _final(self) -> int:
        """Return the number of the newest block that is final."""
        head = quantity(self._network.rpc.call("eth_blockNumber"))
        return max(0, head - self._network.settings.finality_depth)

    # ── Served, or owed ─────────────────────────────────────────────────────────────────────────
    def look(self) -> None:
        """Look what became of paid questions and of refused transfers."""
        self._look_at = self._clock() + EVERY
        with self._store.read() as tx:
            waiting = tx.payments(_WAITING)
            if not waiting:
                return
            names = [payment.id.hex() for payment in waiting]
            tickets = tx.tickets_for(self._facilitator.key.id, names)
        settled = [one for one in waiting if one.state is PaymentState.SETTLED]
        refused = [one for one in waiting if one.state is PaymentState.REFUSED]
        _take_all(
            [
                *(partial(self._follow, one, tickets.get(one.id.hex())) for one in settled),
                partial(self._expire, refused),
                self._deposit,
            ]
        )

    def _follow(self, payment: Payment, ticket: Ticket | None) -> None:
        if ticket is None:
            if payment.question == ZERO32:
                self._facilitator.give_up(payment, payment.error)
            elif self._clock() - payment.changed_at >= PATIENCE:
                self._facilitator.give_up(payment, "nobody asked for the answer in time")
        elif ticket.state is TicketState.ENDED:
            self._move(payment, PaymentState.SERVED)
        elif ticket.state is TicketState.FAILED:
            self._owe(payment, payment.amount, error=ticket.error)
        elif ticket.state is TicketState.REFUNDED:
            more = self._compensation(ticket)
            self._owe(payment, payment.amount + more, error="the answer did not stand")

    def _compensation(self, ticket: Ticket) -> int:
        """Return what a conviction paid besides the fee."""
        assert ticket.request_id is not None
        assert ticket.block is not None
        market, read = self._network.market.address, self._network.history.read
        found = read(market, (Convicted,), topic(ticket.request_id), since=ticket.block)
        return sum(h.event.compensation for h in found if isinstance(h.event, Convicted))

    def _expire(self, refused: Sequence[Payment]) -> None:
        """Give back what somebody sent after it was refused; forget what nobody can send."""
        if not refused:
            return
        block = self._network.rpc.call("eth_getBlockByNumber", hex(self._final()), False)
        now = quantity(block["timestamp"])
        _take_all([partial(self._settle_late, one) for one in refused if now >= one.valid_before])

    def _settle_late(self, payment: Payment) -> None:
        if (transaction := self._transfer_of(payment, self._use_of(payment))) is None:
            self._move(payment, PaymentState.VOID)
        else:
            self._owe(payment, payment.amount, transaction=transaction)

    # ── Paid back ───────────────────────────────────────────────────────────────────────────────
    def _refund(self, payment: Payment) -> None:
        if payment.refund == 0:
            self._move(payment, PaymentState.REFUNDED)
            return
        if self._clock() - self._tried.get(payment.id, -_AGAIN) < _AGAIN:
            return
        call = self._network.market.withdraw(payment.payer, Amount(payment.refund))
        try:
            gas = self._simulate(call)
        except ContractError as error:
            self._tried[payment.id] = self._clock()
            log = structlog.get_logger("tallystick.gateway")
            log.warning("x402.refund_refused", payment=payment.id.hex(), error=str(error))
            return

        def commit(tx: Transaction) -> None:
            if tx.move_payment(payment.id, PaymentState.OWED, PaymentState.REFUNDING):
                add_in(tx, REFUND, [payment.id], call, gas=gas, estimated_at=self._clock())

        self._store.write(commit)
        self._accepted()

    def _conclude_refund(self, payment: Payment) -> None:
        if (entry := self._ended(payment)) is None:
            return
        if entry.state is EntryState.MINED:
            self._move(payment, PaymentState.REFUNDED)
            self._tried.pop(payment.id, None)
        else:
            self._tried[payment.id] = self._clock()
            self._move(payment, PaymentState.OWED)

    def _deposit(self) -> None:
        """Mean to move what the wallet holds into the prepaid balance, which pays for requests."""
        if self._clock() < self._deposit_at:
            return
        self._deposit_at = self._clock() + DEPOSIT_EVERY
        held = self._network.token.balance_of(self._wallet.address)
        if held == 0:
            return
        market = self._network.market
        signature, deadline = balances.permit(self._network, self._wallet, market.address, held)
        call = market.deposit_with_permit(held, deadline, *split_signature(signature))
        try:
            self._outbox.add(DEPOSIT, [RequestId(ZERO32)], call)
        except AlreadyPending:
            return
        self._accepted()

    # ── In the store ────────────────────────────────────────────────────────────────────────────
    def _ended(self, payment: Payment) -> OutboxEntry | None:
        """Return the payment's last transaction, when it has ended."""
        entry = self._outbox.of(payment.id)[-1]
        return None if entry.live else entry

    def _move(self, payment: Payment, new: PaymentState, **values: Any) -> None:
        self._store.write(lambda tx: tx.move_payment(payment.id, payment.state, new, **values))

    def _owe(self, payment: Payment, refund: int, **values: Any) -> None:
        self._move(payment, PaymentState.OWED, refund=int(refund), **values)
        self.wake()


def _take_all(steps: Sequence[Callable[[], None]]) -> None:
    """Take every step: an error about one payment keeps no other one waiting.

    Raises:
        TallystickError: of the first step that failed.
    """
    trouble: TallystickError | None = None
    for step in steps:
        try:
            step()
        except TallystickError as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble
