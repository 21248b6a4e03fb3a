"""What a key asked lately: a repeated question is the same request."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_tickets_digest", "tickets", ["key_id", "digest", "created_at"])
