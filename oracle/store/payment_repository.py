"""The part of a transaction that knows x402 payments: from a signed transfer to an answer, or back.

```
 SETTLING ──mined──▶ SETTLED ──answer final──▶ SERVED
     │ refused           └─no answer─▶ OWED ⇄ REFUNDING ──mined──▶ REFUNDED
     ▼                                  ▲
  REFUSED ──sent by somebody else───────┘
     └─expired unsent─▶ VOID
```
A row is written in one transaction with the intent to send what it needs, so each transfer is meant
once, whatever dies in between. What a refusal leaves can be sent by anyone until it expires. What
somebody sent before its payer brought it here is kept as well; it goes back if it pays no question.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Table, func, select, update

from oracle.store.repository import Repository
from oracle.store.tables import PaymentRow
from oracle.types import Address, Amount, Bytes32, RequestId


class PaymentState(StrEnum):
    """Where a payment stands."""

    SETTLING = "settling"
    SETTLED = "settled"
    REFUSED = "refused"
    VOID = "void"
    SERVED = "served"
    OWED = "owed"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


OVER = frozenset({PaymentState.VOID, PaymentState.SERVED, PaymentState.REFUNDED})


@dataclass(frozen=True, slots=True)
class Payment:
    """One x402 payment for one question."""

    id: RequestId  # `Authorization.id`
    payer: Address
    nonce: Bytes32
    amount: Amount
    valid_before: int  # unix seconds
    digest: Bytes32  # of what the payer signed
    question: Bytes32  # `Question.digest`; 0 = it came unasked and pays none
    model_id: int
    version: int
    block: int  # from which on the transfer can be on the chain
    created_at: float  # unix seconds
    state: PaymentState = PaymentState.SETTLING
    changed_at: float = 0.0  # unix seconds
    transaction: Bytes32 | None = None  # that paid
    refund: int = 0  # token units: the amount, and a compensation where there is one
    error: str = ""  # why nothing was paid, or served


class PaymentRepository(Repository):
    """Payments."""

    def add_payment(self, payment: Payment) -> None:
        """Keep a new payment."""
        values = {name: getattr(payment, name) for name in Payment.__slots__}
        values |= {"state": payment.state.value, "open": True, "changed_at": self._now()}
        self.insert(PaymentRow, [values])

    def payment(self, payment_id: RequestId) -> Payment | None:
        """Return a payment."""
        query = select(_payments).where(_payments.c.id == payment_id)
        row = self.session.connection().execute(query).one_or_none()
        return None if row is None else _payment_of(row)

    def payments(
        self, states: Iterable[PaymentState] = tuple(PaymentState), *, payer: Address | None = None
    ) -> list[Payment]:
        """Return the payments in these states, oldest first; None = of every payer."""
        wanted = frozenset(states)
        query = select(_payments).order_by(_payments.c.created_at)
        if wanted.isdisjoint(OVER):
            query = query.where(PaymentRow.open)  # the index
        query = query.where(_payments.c.state.in_([state.value for state in wanted]))
        if payer is not None:
            query = query.where(_payments.c.payer == payer)
        return [_payment_of(row) for row in self.session.connection().execute(query)]

    def count_payments(self) -> dict[PaymentState, int]:
        """Return how many payments are in each state that is no end."""
        state = _payments.c.state
        query = select(state, func.count()).where(PaymentRow.open).group_by(state)
        counted = {PaymentState(row[0]): row[1] for row in self.session.execute(query)}
        return {one: counted.get(one, 0) for one in PaymentState if one not in OVER}

    def move_payment(
        self, payment_id: RequestId, old: PaymentState, new: PaymentState, **values: Any
    ) -> bool:
        """Bring a payment from one state into another; False when it is not in the first."""
        moved = self.session.execute(
            update(PaymentRow)
            .where(PaymentRow.id == payment_id, PaymentRow.state == old.value)
            .values(state=new.value, open=new not in OVER, changed_at=self._now(), **values)
            .returning(PaymentRow.id)
        )
        return moved.one_or_none() is not None


_payments = cast(Table, PaymentRow.__table__)


def _payment_of(row: Any) -> Payment:
    values = {name: getattr(row, name) for name in Payment.__slots__}
    return Payment(**{**values, "state": PaymentState(row.state)})
