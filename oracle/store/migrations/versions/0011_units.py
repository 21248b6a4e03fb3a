"""How many units an answer of a metered version has."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; older answers were of versions with a flat fee."""
    for table in ("answers", "jobs"):
        column = sa.Column("units", sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, column)
