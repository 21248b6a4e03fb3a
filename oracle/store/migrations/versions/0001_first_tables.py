"""The first tables; what each is for is said in `oracle/store/tables.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_AUTO_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "answers",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("output_root", sa.LargeBinary(), nullable=False),
        sa.Column("output_cid", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_answers"),
    )
    op.create_table(
        "authorizations",
        sa.Column("model_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("operator", sa.String(42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("authorized", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model_id", "operator", "block_number", "log_index", name="pk_authorizations"
        ),
    )
    op.create_table(
        "blocks",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_blocks"),
    )
    op.create_table(
        "failures",
        sa.Column("id", _AUTO_ID, nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("report", sa.String(160), nullable=True),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
        sa.UniqueConstraint("report", name="uq_failures_report"),
    )
    op.create_index("ix_failures_request_id", "failures", ["request_id"])
    op.create_table(
        "jobs",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("model_id", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("claim_operator", sa.String(42), nullable=False),
        sa.Column("claim_until", sa.BigInteger(), nullable=False),
        sa.Column("delivery_operator", sa.String(42), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("output_root", sa.LargeBinary(), nullable=True),
        sa.Column("output_cid", sa.LargeBinary(), nullable=False),
        sa.Column("disputes", sa.BigInteger(), nullable=False),
        sa.Column("demand_until", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("failures_seen", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.Float(53), nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_expires_at", "jobs", ["expires_at"])
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["wake_at", "step", "retry_at", "generation"],
        sqlite_where=sa.text("open = 1"),
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "logs",
        sa.Column("block_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.String(42), nullable=False),
        sa.Column("topics", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=True),
        sa.Column("model_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("block_number", "log_index", name="pk_logs"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_logs_model_id",
        "logs",
        ["model_id"],
        sqlite_where=sa.text("model_id IS NOT NULL"),
        postgresql_where=sa.text("model_id IS NOT NULL"),
    )
    op.create_index(
        "ix_logs_request_id",
        "logs",
        ["request_id"],
        sqlite_where=sa.text("request_id IS NOT NULL"),
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _AUTO_ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("to", sa.String(42), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.String(78), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("gas", sa.BigInteger(), nullable=False),
        sa.Column("max_fee", sa.String(78), nullable=False),
        sa.Column("priority_fee", sa.String(78), nullable=False),
        sa.Column("sent_at", sa.Float(53), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index(
        "ix_outbox_live_nonce",
        "outbox",
        ["nonce"],
        unique=True,
        sqlite_where=sa.text("live = 1"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "outbox_items",
        sa.Column("outbox_id", _AUTO_ID, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name="fk_outbox_items_outbox_id"),
        sa.PrimaryKeyConstraint("outbox_id", "position", name="pk_outbox_items"),
    )
    op.create_index(
        "ix_outbox_items_live",
        "outbox_items",
        ["request_id", "kind"],
        unique=True,
        sqlite_where=sa.text("live = 1"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "outbox_raws",
        sa.Column("outbox_id", _AUTO_ID, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name="fk_outbox_raws_outbox_id"),
        sa.PrimaryKeyConstraint("outbox_id", "position", name="pk_outbox_raws"),
    )
