"""The tables of disputes, typed; the rest of the store is in `tables.py`.

```
 written by the watcher     written by the submitter
 ┌─────────┐                ┌────────────┐
 │ replies │ fold of logs   │ statements │ local facts: stay when rewound
 └─────────┘                └────────────┘
```
"""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from oracle.store.tables import Base, Uint256


class ReplyRow(Base):
    """A demand that waits for this operator (`oracle.store.reply.Reply`)."""

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
