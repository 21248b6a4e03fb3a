"""The tables of an agent; what they are for is said in `oracle/store/agent_repository.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "commitments",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_commitments"),
    )
    op.create_table(
        "cases",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("output_root", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "output_root", name="pk_cases"),
    )
    op.create_index("ix_cases_state", "cases", ["state", "recorded_at"])
    op.create_table(
        "receipts",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("output_root", sa.LargeBinary(), nullable=False),
        sa.Column("trace_root", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "output_root", "trace_root", name="pk_receipts"),
    )
    op.create_table(
        "tensors",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("op", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "op", "leaf", name="pk_tensors"),
    )
