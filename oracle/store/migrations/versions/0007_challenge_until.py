"""Until when bytes that were posted on chain can be challenged."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of older deliveries the challenge window says it."""
    column = sa.Column("challenge_until", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("jobs", column)
