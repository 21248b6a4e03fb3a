"""The index that finds the highest nonce, and who used one."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_index("ix_outbox_nonce", "outbox", ["nonce"])
