"""The tables, typed. What each holds and who writes it; nothing about how they are used.

```
 written by the watcher                                  written by the submitter
 ┌───────┐ ┌────────┐ ┌──────┐ ┌────────────────┐        ┌─────────┐ ┌──────────┐
 │ meta  │ │ blocks │ │ logs │ │ authorizations │        │ answers │ │ failures │
 └───────┘ └────────┘ └──┬───┘ └────────────────┘        └────┬────┘ └────┬─────┘
      chain facts: gone  │ fold                    local facts: stay      │
      when rewound       ▼                         when rewound           │
                      ┌──────┐                                            │
                      │ jobs │ ◀── read together ─────────────────────────┘
                      └──────┘            ┌────────┐ 1  n ┌──────────────┐ ┌─────────────┐
                                          │ outbox ├──────┤ outbox_items │ │ outbox_raws │
                                          └────────┘      └──────────────┘ └─────────────┘
 disputes: replies (fold of logs, by the watcher), statements (local facts, by the submitter)
 audits (local facts, by the challenger) · gateway: api_keys, tickets, payments
 agents: commitments; of a challenger cases, receipts, tensors (local facts)
```
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

_AutoId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER alone


class Uint256(TypeDecorator[int]):
    """A uint256 as decimal text: wider than any integer column."""

    impl = String(78)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


def _where(condition: str) -> dict[str, Any]:
    """Make an index partial, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _while(flag: str) -> dict[str, Any]:
    """Make an index partial in the words that SQLAlchemy asks with: SQLite compares them."""
    return {"sqlite_where": text(f"{flag} = 1"), "postgresql_where": text(flag)}


class Base(DeclarativeBase):
    """Python types to column types; names for constraints, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy reads it so
        bytes: LargeBinary,
        int: BigInteger,
        str: Text,
        float: Float(53),
        bool: Boolean,
    }


class MetaRow(Base):
    """One fact about the store itself: `cursor`, `identity`, leases."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str]


class BlockRow(Base):
    """A block whose hash is remembered, so that a reorg is seen."""

    __tablename__ = "blocks"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes]
    parent_hash: Mapped[bytes]
    timestamp: Mapped[int]


class LogRow(Base):
    """A log of our contracts, raw; what else is known of the chain can be rebuilt from these."""

    __tablename__ = "logs"
    __table_args__ = (
        Index("ix_logs_request_id", "request_id", **_where("request_id IS NOT NULL")),
        Index("ix_logs_model_id", "model_id", **_where("model_id IS NOT NULL")),
        {"sqlite_with_rowid": False},  # kept in the order of the chain; one index less
    )

    block_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    block_hash: Mapped[bytes]
    tx_hash: Mapped[bytes]
    address: Mapped[str] = mapped_column(String(42))
    topics: Mapped[bytes]  # up to four, one after the other
    data: Mapped[bytes]
    request_id: Mapped[bytes | None]
    model_id: Mapped[int | None]


class AuthorizationRow(Base):
    """From this log on an operator is authorised for a model, or no longer."""

    __tablename__ = "authorizations"

    model_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    operator: Mapped[str] = mapped_column(String(42), primary_key=True)
    block_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    authorized: Mapped[bool]


class JobRow(Base):
    """One request that concerns the operator (`oracle.store.job.Job` without its local half)."""

    __tablename__ = "jobs"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    model_id: Mapped[int]
    expires_at: Mapped[int]  # unix seconds
    request: Mapped[str]  # JSON
    phase: Mapped[str] = mapped_column(String(16))
    claim_operator: Mapped[str] = mapped_column(String(42))
    claim_until: Mapped[int]
    delivery_operator: Mapped[str | None] = mapped_column(String(42))
    delivered_at: Mapped[int | None]
    output_root: Mapped[bytes | None]
    units: Mapped[int] = mapped_column(server_default="0")  # as delivered
    output_cid: Mapped[bytes]
    disputes: Mapped[int]
    demand_until: Mapped[int]
    challenge_until: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    failures_seen: Mapped[int]
    retry_at: Mapped[float]
    generation: Mapped[str] = mapped_column(String(64))
    wake_at: Mapped[int]
    open: Mapped[bool]  # state is not final


Index(  # all that `due` asks of a job: a look at ten thousand waiting ones reads no row
    "ix_jobs_open",
    JobRow.wake_at,
    JobRow.step,
    JobRow.retry_at,
    JobRow.generation,
    **_while("open"),
)
Index("ix_jobs_expires_at", JobRow.expires_at)


class AnswerRow(Base):
    """The one answer this operator stands by; never changed."""

    __tablename__ = "answers"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    output_root: Mapped[bytes]
    output_cid: Mapped[bytes]
    units: Mapped[int] = mapped_column(server_default="0")
    recorded_at: Mapped[float]  # unix seconds


class FailureRow(Base):
    """One attempt that failed, as the worker reported it."""

    __tablename__ = "failures"
    __table_args__ = (
        UniqueConstraint("report"),
        Index("ix_failures_request_id", "request_id"),
    )

    id: Mapped[int] = mapped_column(_AutoId, primary_key=True)
    request_id: Mapped[bytes]
    error: Mapped[str] = mapped_column(String(64))
    message: Mapped[str]
    permanent: Mapped[bool]
    report: Mapped[str | None] = mapped_column(String(160))  # so that one told twice counts once
    recorded_at: Mapped[float]  # unix seconds


class OutboxRow(Base):
    """One transaction this operator means to send (`oracle.chain.outbox.Entry`)."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(_AutoId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    to: Mapped[str] = mapped_column(String(42))
    data: Mapped[bytes]
    value: Mapped[int] = mapped_column(Uint256)  # wei
    label: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    live: Mapped[bool]  # neither mined nor failed
    nonce: Mapped[int | None]
    gas: Mapped[int]  # limit
    max_fee: Mapped[int] = mapped_column(Uint256)  # wei per gas
    priority_fee: Mapped[int] = mapped_column(Uint256)  # wei per gas
    sent_at: Mapped[float]  # unix seconds of the last signature; before it, of the estimate
    error: Mapped[str]
    permanent: Mapped[bool]
    block_number: Mapped[int | None]


Index(
    "ix_outbox_live_nonce",
    OutboxRow.nonce,
    unique=True,
    **_while("live"),
)
Index("ix_outbox_nonce", OutboxRow.nonce)


class OutboxItemRow(Base):
    """One request that a transaction serves; at most one live transaction of a kind does."""

    __tablename__ = "outbox_items"

    outbox_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    request_id: Mapped[bytes]
    kind: Mapped[str] = mapped_column(String(16))
    live: Mapped[bool]


Index(
    "ix_outbox_items_live",
    OutboxItemRow.request_id,
    OutboxItemRow.kind,
    unique=True,
    **_while("live"),
)


class OutboxRawRow(Base):
    """One signed form of a transaction: the first, or a replacement at a higher price."""

    __tablename__ = "outbox_raws"

    outbox_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    raw: Mapped[bytes]


class ApiKeyRow(Base):
    """One API key; `digest` is the SHA-256 of the secret, 256 random bits."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("name", name="uq_api_keys_name"),
        UniqueConstraint("digest", name="uq_api_keys_digest"),
    )

    id: Mapped[int] = mapped_column(_AutoId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[bytes]
    created_at: Mapped[float]  # unix seconds
    revoked_at: Mapped[float | None]
    budget: Mapped[int]  # token units
    spent: Mapped[int]
    per_minute: Mapped[int]  # requests; 0 = unlimited
    models: Mapped[str]  # ids by comma; "" = all


class TicketRow(Base):
    """One accepted request (`oracle.store.gateway_repository.Ticket`)."""

    __tablename__ = "tickets"

    id: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[int | None]
    idempotency: Mapped[str | None] = mapped_column(String(128))
    digest: Mapped[bytes]
    model_id: Mapped[int]
    version: Mapped[int]
    lane: Mapped[int | None]
    fee: Mapped[int]  # token units
    created_at: Mapped[float]  # unix seconds
    state: Mapped[str] = mapped_column(String(16))
    open: Mapped[bool]  # neither ended nor failed
    request_id: Mapped[bytes | None]
    block: Mapped[int | None]
    error: Mapped[str]


Index("ix_tickets_idempotency", TicketRow.key_id, TicketRow.idempotency, unique=True)


Index("ix_tickets_digest", TicketRow.key_id, TicketRow.digest, TicketRow.created_at)


Index("ix_tickets_request_id", TicketRow.request_id)


Index("ix_tickets_open", TicketRow.created_at, **_while("open"))


class CalledAnswerRow(Base):
    """An answer over a channel (`oracle.store.gateway_repository.CalledAnswer`)."""

    __tablename__ = "called_answers"

    ticket_id: Mapped[bytes] = mapped_column(primary_key=True)
    receipt: Mapped[str]
    folder: Mapped[str]


class PaymentRow(Base):
    """One x402 payment (`oracle.store.payment_repository.Payment`)."""

    __tablename__ = "payments"

    id: Mapped[bytes] = mapped_column(primary_key=True)
    payer: Mapped[str] = mapped_column(String(42))
    nonce: Mapped[bytes]
    amount: Mapped[int]  # token units
    valid_before: Mapped[int]  # unix seconds
    digest: Mapped[bytes]
    question: Mapped[bytes]
    model_id: Mapped[int]
    version: Mapped[int]
    block: Mapped[int]
    created_at: Mapped[float]  # unix seconds
    state: Mapped[str] = mapped_column(String(16))
    open: Mapped[bool]  # something is still to be done
    changed_at: Mapped[float]  # unix seconds
    transaction: Mapped[bytes | None]
    refund: Mapped[int]  # token units
    error: Mapped[str]


Index("ix_payments_open", PaymentRow.created_at, **_while("open"))


class ReplyRow(Base):
    """A demand that waits for this operator (`oracle.store.reply_repository.Reply`)."""

    __tablename__ = "replies"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    challenger: Mapped[str] = mapped_column(String(42), primary_key=True)
    ask: Mapped[str] = mapped_column(String(8))
    deadline: Mapped[int]  # unix seconds
    op: Mapped[int]
    first: Mapped[int] = mapped_column(Uint256)
    second: Mapped[int] = mapped_column(Uint256)
    attempt: Mapped[int]
    retry_at: Mapped[float]
    generation: Mapped[str] = mapped_column(String(64))


class StatementRow(Base):
    """The one trace this operator stands by; its root is never changed."""

    __tablename__ = "statements"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    trace_root: Mapped[bytes]
    signature: Mapped[bytes]  # of the receipt; empty = not signed yet
    recorded_at: Mapped[float]  # unix seconds


class AuditRow(Base):
    """One delivery of another operator (local facts: they stay when the chain is rewound)."""

    __tablename__ = "audits"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    output_root: Mapped[bytes] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    message: Mapped[str]
    recorded_at: Mapped[float]  # unix seconds


class CommitmentRow(Base):
    """What an agent commits to; never changed."""

    __tablename__ = "commitments"

    subject: Mapped[bytes] = mapped_column(primary_key=True)
    salt: Mapped[bytes]
    content: Mapped[str]  # in the words of the agent that wrote it
    recorded_at: Mapped[float]  # unix seconds


class CaseRow(Base):
    """One delivery that a challenger looks at."""

    __tablename__ = "cases"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    output_root: Mapped[bytes] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    note: Mapped[str]
    recorded_at: Mapped[float]  # unix seconds


Index("ix_cases_state", CaseRow.state, CaseRow.recorded_at)


class ReceiptRow(Base):
    """One statement that an operator signed."""

    __tablename__ = "receipts"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    output_root: Mapped[bytes] = mapped_column(primary_key=True)
    trace_root: Mapped[bytes] = mapped_column(primary_key=True)
    signature: Mapped[bytes]
    leaves: Mapped[bytes]  # of the trace, one after the other; empty = not known
    recorded_at: Mapped[float]  # unix seconds


class TensorRow(Base):
    """Bytes of a trace that an operator served."""

    __tablename__ = "tensors"

    request_id: Mapped[bytes] = mapped_column(primary_key=True)
    op: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leaf: Mapped[bytes] = mapped_column(primary_key=True)
    record: Mapped[bytes]
