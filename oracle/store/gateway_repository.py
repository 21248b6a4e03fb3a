"""The part of a transaction that knows a gateway: API keys, their budgets, accepted requests.

Every accepted request has a ticket:
```
 ACCEPTED ──mined──▶ ASKED ──settled──▶ ENDED
   ▲ │                 └──cancelled, convicted, annulled: charge undone──▶ REFUNDED
   │ └──refused by the chain, charge undone──▶ FAILED
   └── no answer ── CALLED ──a receipt is kept──▶ ANSWERED
```
CALLED is asked over a channel. One that a dead process left is removed, with its charge.

A ticket is written in one transaction with the charge and the intent to send: what was accepted is
sent, whatever dies in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Table, bindparam, delete, select, update

from oracle.errors import InputInvalid, Refused
from oracle.store.repository import Repository, portions
from oracle.store.tables import ApiKeyRow, CalledAnswerRow, TicketRow
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
    CALLED = "called"
    ANSWERED = "answered"


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


@dataclass(frozen=True, slots=True)
class CalledAnswer:
    """Where an answer over a channel is."""

    receipt: str  # file of schema `tallystick/receipt/1`, without bytes
    folder: str  # of the channel: question and answer are in it


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

    def api_key_digest(self, name: str) -> bytes | None:
        """Return the digest of the secret that the key of this name has now."""
        return self.session.scalar(select(ApiKeyRow.digest).where(ApiKeyRow.name == name))

    def replace_api_key_digest(self, name: str, old: bytes, new: bytes) -> bool:
        """Give a key another secret; False when it is not in use, or has another than `old`."""
        found = self.session.scalar(
            update(ApiKeyRow)
            .where(ApiKeyRow.name == name, ApiKeyRow.digest == old, ApiKeyRow.revoked_at.is_(None))
            .values(digest=new)
            .returning(ApiKeyRow.id)
        )
        return found is not None

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
        found = self.session.connection().execute(_COVERED, {"key_id": key_id, "fee": int(fees)})
        if found.scalar() is None:
            raise _exhausted(fees)

    def charge(self, key_id: int, fee: Amount) -> None:
        """Take a fee from a key's budget, or nothing.

        Raises:
            BudgetExhausted: there is not so much left, or the key was revoked.
        """
        found = self.session.connection().execute(_CHARGE, {"key_id": key_id, "fee": int(fee)})
        if found.scalar() is None:
            raise _exhausted(fee)

    # ── Tickets ─────────────────────────────────────────────────────────────────────────────────
    def add_ticket(self, ticket: Ticket) -> None:
        """Keep a newly accepted request."""
        values = {name: getattr(ticket, name) for name in Ticket.__slots__}
        still = ticket.state is not TicketState.FAILED
        values |= {"state": ticket.state.value, "open": still, "fee": int(ticket.fee)}
        self.insert(TicketRow, [values])

    def ticket(self, any_id: RequestId) -> Ticket | None:
        """Return a ticket by its own id, or by that of its request."""
        found = self._tickets(_TICKETS.where(TicketRow.id == any_id))
        found = found or self._tickets(_TICKETS.where(TicketRow.request_id == any_id))
        return found[0] if found else None

    def ticket_for(self, key_id: int, idempotency: str) -> Ticket | None:
        """Return what a client's Idempotency-Key was used for."""
        query = _TICKETS.where(TicketRow.key_id == key_id, TicketRow.idempotency == idempotency)
        found = self._tickets(query)
        return found[0] if found else None

    def tickets_for(self, key_id: int, names: Iterable[str]) -> dict[str, Ticket]:
        """Return the tickets of Idempotency-Keys of one client, by them."""
        found: dict[str, Ticket] = {}
        for portion in portions(names):
            query = TicketRow.key_id == key_id, TicketRow.idempotency.in_(portion)
            of = self._tickets(_TICKETS.where(*query))
            found |= {t.idempotency: t for t in of if t.idempotency is not None}
        return found

    def ticket_like(self, key_id: int, digest: Bytes32, since: float) -> Ticket | None:
        """Return what a client asked without an Idempotency-Key from a time on.

        What failed or came back is none: it was not paid for.
        """
        found = self._tickets(_TICKET_LIKE, {"key": key_id, "digest": digest, "since": since})
        return found[0] if found else None

    def open_tickets(self) -> list[Ticket]:
        """Return those that have not come to an end, oldest first."""
        return self._tickets(_TICKETS.where(TicketRow.open).order_by(TicketRow.created_at))

    def ticket_asked(self, ticket_id: RequestId, request_id: RequestId, block: int) -> None:
        """Note that the chain has the request."""
        self.session.connection().execute(
            _ASKED, {"ticket": ticket_id, "request": request_id, "in_block": block}
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

    def ticket_accepted(self, ticket_id: RequestId, lane: int) -> None:
        """Note that a question that was called out goes to the chain."""
        self.session.execute(
            update(TicketRow)
            .where(TicketRow.id == ticket_id, TicketRow.state == TicketState.CALLED.value)
            .values(state=TicketState.ACCEPTED.value, lane=lane)
        )

    def ticket_answered(
        self, ticket_id: RequestId, request_id: RequestId, answer: CalledAnswer
    ) -> None:
        """Note that a question that was called out is answered, and where its answer is."""
        self.session.execute(
            update(TicketRow)
            .where(TicketRow.id == ticket_id, TicketRow.state == TicketState.CALLED.value)
            .values(state=TicketState.ANSWERED.value, open=False, request_id=request_id)
        )
        values = {"ticket_id": ticket_id, "receipt": answer.receipt, "folder": answer.folder}
        self.insert(CalledAnswerRow, [values])

    def called_answer(self, ticket_id: RequestId) -> CalledAnswer | None:
        """Return where the answer of a ticket is that was given over a channel."""
        row = self.session.get(CalledAnswerRow, ticket_id)
        return CalledAnswer(row.receipt, row.folder) if row else None

    def drop_called_tickets(self, ticket_id: RequestId | None = None) -> int:
        """Remove one or all that are called out, undo their charges, and return how many."""
        which = TicketRow.state == TicketState.CALLED.value
        if ticket_id is not None:
            which &= TicketRow.id == ticket_id
        rows = self.session.execute(
            delete(TicketRow).where(which).returning(TicketRow.key_id, TicketRow.fee)
        ).all()
        for row in rows:
            self._give_back(row.key_id, row.fee)
        return len(rows)

    def tickets_ended(
        self,
        request_ids: Iterable[RequestId],
        *,
        refunded: bool = False,
        returned: Mapping[RequestId, Amount] | None = None,
    ) -> None:
        """Note that requests are over, and give back to the budgets what came back of their fees.

        Args:
            refunded: all of it did.
            returned: what their units left of it, where that is known.
        """
        state = TicketState.REFUNDED if refunded else TicketState.ENDED
        for portion in portions(request_ids):
            rows = self.session.execute(
                update(TicketRow)
                .where(TicketRow.request_id.in_(portion), TicketRow.open)
                .values(state=state.value, open=False)
                .returning(TicketRow.key_id, TicketRow.fee, TicketRow.request_id)
            ).all()
            for row in rows:
                rest = row.fee if refunded else (returned or {}).get(row.request_id, 0)
                if rest:
                    self._give_back(row.key_id, rest)

    def _give_back(self, key_id: int | None, fee: int) -> None:
        self.session.execute(
            update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(spent=ApiKeyRow.spent - fee)
        )

    def _tickets(self, query: Any, given: Mapping[str, Any] | None = None) -> list[Ticket]:
        return [_ticket_of(row) for row in self.session.connection().execute(query, given)]


_PAID = tuple(
    state.value for state in TicketState if state not in (TicketState.REFUNDED, TicketState.FAILED)
)
# Built once: each accepted request runs some of them
_keys, _tickets = (cast(Table, kind.__table__) for kind in (ApiKeyRow, TicketRow))
_TICKETS = select(_tickets)
_TICKET_LIKE = (
    _TICKETS.where(
        _tickets.c.key_id == bindparam("key"),
        _tickets.c.digest == bindparam("digest"),
        _tickets.c.created_at > bindparam("since"),
        _tickets.c.idempotency.is_(None),
        _tickets.c.state.in_(_PAID),
    )
    .order_by(_tickets.c.created_at.desc())
    .limit(1)
)
_ASKED = (
    update(_tickets)
    .where(_tickets.c.id == bindparam("ticket"), TicketRow.open)
    .values(
        state=TicketState.ASKED.value,
        request_id=bindparam("request"),
        block=bindparam("in_block"),
    )
)
_COVERING = (
    _keys.c.id == bindparam("key_id"),
    _keys.c.revoked_at.is_(None),
    _keys.c.spent + bindparam("fee") <= _keys.c.budget,
)
_COVERED = select(_keys.c.id).where(*_COVERING)
_CHARGE = (
    update(_keys)
    .where(*_COVERING)
    .values(spent=_keys.c.spent + bindparam("fee"))
    .returning(_keys.c.id)
)


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


def _ticket_of(row: Any) -> Ticket:
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
