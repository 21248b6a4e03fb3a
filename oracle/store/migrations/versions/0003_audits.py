"""The table of audits; what it is for is said in `oracle/store/tables.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "audits",
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("output_root", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "output_root", name="pk_audits"),
    )
