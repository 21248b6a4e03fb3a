"""The tables of a gateway, typed; what their rows mean is said in `ticket.py`."""

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from oracle.store.tables import Base, _AutoId, _while


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
    """One accepted request (`oracle.store.ticket.Ticket`)."""

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
Index("ix_tickets_request_id", TicketRow.request_id)
Index("ix_tickets_open", TicketRow.created_at, **_while("open"))
