"""What a gateway keeps, as values: API keys, and a ticket for every request that it accepted.

```
 ACCEPTED ──mined──▶ ASKED ──settled, cancelled, convicted, annulled──▶ ENDED
     └──refused by the chain, charge undone──▶ FAILED
```
A ticket is written in one transaction with the charge and the intent to send: what was accepted is
sent, whatever dies in between.
"""

from dataclasses import dataclass
from enum import StrEnum

from oracle.errors import Refused
from oracle.types import Amount, Bytes32, RequestId


class BudgetExhausted(Refused):
    """An API key has not enough left for this request."""


class IdempotencyConflict(Refused):
    """An Idempotency-Key was used before for another request."""


class TicketState(StrEnum):
    """Where an accepted request stands."""

    ACCEPTED = "accepted"
    ASKED = "asked"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do; the secret itself is kept by nobody."""

    id: int
    name: str
    created_at: float  # unix seconds
    revoked_at: float | None
    budget: Amount  # that may be spent in all
    spent: Amount
    per_minute: int  # requests; 0 = unlimited
    models: tuple[int, ...]  # that it may ask; () = all


@dataclass(frozen=True, slots=True)
class Ticket:
    """One accepted request. Its id names it in the outbox before the chain has a name for it."""

    id: RequestId  # 32 random bytes
    key_id: int | None  # whose budget was charged; None = a relayed request of a wallet
    idempotency: str | None  # the client's Idempotency-Key
    digest: Bytes32  # of what was asked: the same Idempotency-Key must mean the same
    model_id: int
    version: int
    lane: int | None  # of the gateway's account; None = relayed
    fee: Amount
    created_at: float  # unix seconds
    state: TicketState = TicketState.ACCEPTED
    request_id: RequestId | None = None
    block: int | None = None  # that has the request
    error: str = ""  # why it failed
