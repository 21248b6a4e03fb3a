"""Tables of disputes; what each is for is said in `oracle/store/tables.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "replies",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("challenger", sa.String(42), nullable=False),
        sa.Column("ask", sa.String(8), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("op", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.String(78), nullable=False),
        sa.Column("second", sa.String(78), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.Float(53), nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "challenger", name="pk_replies"),
    )
    op.create_table(
        "statements",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("trace_root", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_statements"),
    )
