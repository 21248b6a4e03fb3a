"""The part of a transaction that knows audits: answers of others that fell to us to re-execute.

```
 challenger draws ─▶ asked ─queue─▶ responder re-executes ─▶ right | wrong ─▶ challenger disputes
```
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select

from oracle.store.repository import Repository
from oracle.store.tables import AuditRow
from oracle.types import Bytes32, RequestId


class AuditState(StrEnum):
    """What is known of an audited answer."""

    ASKED = "asked"
    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Audit:
    """One delivery, and what re-executing it said."""

    request_id: RequestId
    output_root: Bytes32  # as delivered
    state: AuditState = AuditState.ASKED
    message: str = ""


class AuditRepository(Repository):
    """Audits."""

    def ask_audit(self, request_id: RequestId, output_root: Bytes32) -> bool:
        """Note a delivery to re-execute; return whether it is new."""
        if self.session.get(AuditRow, (request_id, output_root)) is not None:
            return False
        self.record_audit(Audit(request_id, output_root))
        return True

    def record_audit(self, audit: Audit) -> None:
        """Insert or replace what is known of a delivery."""
        row = {
            "request_id": audit.request_id,
            "output_root": audit.output_root,
            "state": audit.state.value,
            "message": audit.message,
            "recorded_at": self._now(),
        }
        self.upsert(AuditRow, [row])

    def audits(self, state: AuditState) -> list[Audit]:
        """Return the audits in this state, oldest first."""
        query = select(AuditRow).where(AuditRow.state == state.value)
        rows = self.session.scalars(query.order_by(AuditRow.recorded_at))
        return [
            Audit(RequestId(r.request_id), Bytes32(r.output_root), AuditState(r.state), r.message)
            for r in rows
        ]
