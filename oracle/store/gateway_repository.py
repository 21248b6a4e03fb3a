"""The part of a transaction that knows a gateway: API keys, their budgets, accepted requests.

Every accepted request has a ticket:
```
 ACCEPTED ──mined──▶ ASKED ──settled──▶ ENDED
     │                 └──cancelled, convicted, annulled: charge undone──▶ REFUNDED
     └──refused by the chain, charge undone──▶ FAILED
```
A ticket is written in one transaction with the charge and the intent to send: what was accepted is
sent, whatever dies in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, insert, select, update

from oracle.errors import InputInvalid, Refused
from oracle.store.repository import Repository, portions
from oracle.store.tables import ApiKeyRow, TicketRow
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
    REFUNDED = "refunded"
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


class GatewayRepository(Repository):
    """Keys and tickets."""

    # ── Keys ────────────────────────────────────────────────────────────────────────────────────
    def add_api_key(
        self, name: str, digest: bytes, budget: Amount, per_minute: int, models: Iterable[int]
    ) -> ApiKey:
        """Keep a new key.

        Raises:
            InputInvalid: the name is taken.
        """
        if self.session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.name == name)) is not None:
            raise InputInvalid(f"there is an API key {name!r} already", hint="choose another name")
        row = ApiKeyRow(
            name=name,
            digest=digest,
            created_at=self._now(),
            revoked_at=None,
            budget=int(budget),
            spent=0,
            per_minute=per_minute,
            models=",".join(map(str, models)),
        )
        self.session.add(row)
        self.session.flush()
        return _key_of(row)

    def api_key(self, digest: bytes) -> ApiKey | None:
        """Return the key whose secret has this digest, revoked or not."""
        row = self.session.scalar(select(ApiKeyRow).where(ApiKeyRow.digest == digest))
        return _key_of(row) if row else None

    def api_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        return [
            _key_of(row) for row in self.session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))
        ]

    def revoke_api_key(self, name: str) -> bool:
        """Let a key do nothing any more; False when there is none of this name in use."""
        found = self.session.scalar(
            update(ApiKeyRow)
            .where(ApiKeyRow.name == name, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=self._now())
            .returning(ApiKeyRow.id)
        )
        return found is not None

    def require_budget(self, key_id: int, fees: Amount) -> None:
        """Check that a key can pay so much in all.

        Raises:
            BudgetExhausted: there is not so much left, or the key was revoked.
        """
        row = self.session.get(ApiKeyRow, key_id)
        if row is None or row.revoked_at is not None or row.spent + fees > row.budget:
            raise _exhausted(fees)

    def charge(self, key_id: int, fee: Amount) -> None:
        """Take a fee from a key's budget, or nothing.

        Raises:
            BudgetExhausted: there is not so much left, or the key was revoked.
        """
        found = self.session.scalar(
            update(ApiKeyRow)
            .where(
                ApiKeyRow.id == key_id,
                ApiKeyRow.revoked_at.is_(None),
                ApiKeyRow.spent + int(fee) <= ApiKeyRow.budget,
            )
            .values(spent=ApiKeyRow.spent + int(fee))
            .returning(ApiKeyRow.id)
        )
        if found is None:
            raise _exhausted(fee)

    # ── Tickets ─────────────────────────────────────────────────────────────────────────────────
    def add_ticket(self, ticket: Ticket) -> None:
        """Keep a newly accepted request."""
        values = {name: getattr(ticket, name) for name in Ticket.__slots__}
        values |= {"state": ticket.state.value, "open": True, "fee": int(ticket.fee)}
        self.session.execute(insert(TicketRow).values(values))

    def ticket(self, any_id: RequestId) -> Ticket | None:
        """Return a ticket by its own id, or by that of its request."""
        found = self._tickets(select(TicketRow).where(TicketRow.id == any_id))
        found = found or self._tickets(select(TicketRow).where(TicketRow.request_id == any_id))
        return found[0] if found else None

    def ticket_for(self, key_id: int, idempotency: str) -> Ticket | None:
        """Return what a client's Idempotency-Key was used for."""
        query = select(TicketRow).where(
            TicketRow.key_id == key_id, TicketRow.idempotency == idempotency
        )
        found = self._tickets(query)
        return found[0] if found else None

    def ticket_like(self, key_id: int, digest: Bytes32, since: float) -> Ticket | None:
        """Return what a client asked without an Idempotency-Key from a time on.

        What failed or came back is none: it was not paid for.
        """
        query = (
            select(TicketRow)
            .where(
                TicketRow.key_id == key_id,
                TicketRow.digest == digest,
                TicketRow.created_at > since,
                TicketRow.idempotency.is_(None),
                TicketRow.state.in_(_PAID),
            )
            .order_by(TicketRow.created_at.desc())
            .limit(1)
        )
        found = self._tickets(query)
        return found[0] if found else None

    def open_tickets(self) -> list[Ticket]:
        """Return those that have not come to an end, oldest first."""
        return self._tickets(select(TicketRow).where(TicketRow.open).order_by(TicketRow.created_at))

    def ticket_asked(self, ticket_id: RequestId, request_id: RequestId, block: int) -> None:
        """Note that the chain has the request."""
        self.session.execute(
            update(TicketRow)
            .where(TicketRow.id == ticket_id, TicketRow.open)
            .values(state=TicketState.ASKED.value, request_id=request_id, block=block)
        )

    def ticket_failed(self, ticket_id: RequestId, error: str) -> bool:
        """Note that the chain refused the request, and undo the charge; once."""
        row = self.session.execute(
            update(TicketRow)
            .where(TicketRow.id == ticket_id, TicketRow.state == TicketState.ACCEPTED.value)
            .values(state=TicketState.FAILED.value, open=False, error=error)
            .returning(TicketRow.key_id, TicketRow.fee)
        ).one_or_none()
        if row is None:
            return False
        self._give_back(row.key_id, row.fee)
        return True

    def tickets_ended(self, request_ids: Iterable[RequestId], *, refunded: bool = False) -> None:
        """Note that requests are over; `refunded` gives their fees back to the budgets."""
        state = TicketState.REFUNDED if refunded else TicketState.ENDED
        for portion in portions(request_ids):
            rows = self.session.execute(
                update(TicketRow)
                .where(TicketRow.request_id.in_(portion), TicketRow.open)
                .values(state=state.value, open=False)
                .returning(TicketRow.key_id, TicketRow.fee)
            ).all()
            for row in rows if refunded else ():
                self._give_back(row.key_id, row.fee)

    def _give_back(self, key_id: int | None, fee: int) -> None:
        self.session.execute(
            update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(spent=ApiKeyRow.spent - fee)
        )

    def _tickets(self, query: Select[TicketRow]) -> list[Ticket]:
        rows = self.session.scalars(query, execution_options={"populate_existing": True})
        return [_ticket_of(row) for row in rows]


_PAID = (TicketState.ACCEPTED.value, TicketState.ASKED.value, TicketState.ENDED.value)


def _exhausted(fees: int) -> BudgetExhausted:
    return BudgetExhausted(
        f"the budget of this API key does not cover the fee of this request, ${fees / 10**6:.6g}",
        hint="ask who gave you the key for another one: `tallystick key create`",
    )


def _key_of(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        budget=Amount(row.budget),
        spent=Amount(row.spent),
        per_minute=row.per_minute,
        models=tuple(int(part) for part in row.models.split(",") if part),
    )


def _ticket_of(row: TicketRow) -> Ticket:
    return Ticket(
        id=RequestId(row.id),
        key_id=row.key_id,
        idempotency=row.idempotency,
        digest=Bytes32(row.digest),
        model_id=row.model_id,
        version=row.version,
        lane=row.lane,
        fee=Amount(row.fee),
        created_at=row.created_at,
        state=TicketState(row.state),
        request_id=None if row.request_id is None else RequestId(row.request_id),
        block=row.block,
        error=row.error,
    )
