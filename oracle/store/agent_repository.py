"""The repository of agents: what they committed to, and what they hold.

Nothing in it can be read from the chain again: losing it loses bonds.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, update

from oracle.store.repository import Repository
from oracle.store.tables import CaseRow, CommitmentRow, ReceiptRow, TensorRow
from oracle.types import Bytes32, RequestId

_WORD = 32  # bytes


@dataclass(frozen=True, slots=True)
class Commitment:
    """What an agent hides behind a hash and has to open later."""

    salt: Bytes32
    content: str


class CaseState(StrEnum):
    """What a challenger knows of a delivery that was picked."""

    DUE = "due"  # not looked at yet, or could not be
    RIGHT = "right"
    WRONG = "wrong"  # to be disputed, or in dispute
    OVER = "over"


@dataclass(frozen=True, slots=True)
class DeliveryCase:
    """One delivery that was picked."""

    request_id: RequestId
    output_root: Bytes32
    state: CaseState
    note: str = ""


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """One statement that an operator signed; `leaves` are those of its trace, () = unknown."""

    output_root: Bytes32
    trace_root: Bytes32
    signature: bytes
    leaves: tuple[Bytes32, ...] = ()


class AgentRepository(Repository):
    """Commitments of all agents; deliveries, receipts and tensors of a challenger."""

    # ── Commitments ─────────────────────────────────────────────────────────────────────────────

    def keep_commitment(self, subject: bytes, content: str = "") -> Commitment:
        """Keep what is committed to, with a random salt; the first about a subject stands.

        Returns:
            What stands.
        """
        if self.session.get(CommitmentRow, subject) is None:
            self.session.add(
                CommitmentRow(
                    subject=subject,
                    salt=secrets.token_bytes(32),
                    content=content,
                    recorded_at=self._now(),
                )
            )
        kept = self.commitment(subject)
        assert kept is not None
        return kept

    def commitment(self, subject: bytes) -> Commitment | None:
        """Return what was committed to; None when nothing was."""
        row = self.session.get(CommitmentRow, subject)
        return None if row is None else Commitment(Bytes32(row.salt), row.content)

    # ── Deliveries ──────────────────────────────────────────────────────────────────────────────

    def add_case(
        self, request_id: RequestId, output_root: Bytes32, state: CaseState = CaseState.DUE
    ) -> None:
        """Note a delivery, unless it is known."""
        if self.session.get(CaseRow, (request_id, output_root)) is None:
            self.session.add(
                CaseRow(
                    request_id=request_id,
                    output_root=output_root,
                    state=state.value,
                    note="",
                    recorded_at=self._now(),
                )
            )

    def put_case(self, case: DeliveryCase) -> None:
        """Replace what is known of a delivery that was noted."""
        self.session.execute(
            update(CaseRow)
            .where(CaseRow.request_id == case.request_id, CaseRow.output_root == case.output_root)
            .values(state=case.state.value, note=case.note)
        )

    def reopen_cases(self) -> None:
        """Make due what was over: the chain has other blocks now."""
        over = CaseRow.state == CaseState.OVER.value
        self.session.execute(update(CaseRow).where(over).values(state=CaseState.DUE.value))

    def cases(self, states: Collection[CaseState] = tuple(CaseState)) -> list[DeliveryCase]:
        """Return the deliveries in these states, oldest first."""
        rows = self.session.scalars(
            select(CaseRow)
            .where(CaseRow.state.in_([state.value for state in states]))
            .order_by(CaseRow.recorded_at, CaseRow.request_id, CaseRow.output_root)
        )
        return [
            DeliveryCase(
                RequestId(row.request_id), Bytes32(row.output_root), CaseState(row.state), row.note
            )
            for row in rows
        ]

    # ── What operators said and served ──────────────────────────────────────────────────────────

    def keep_receipt(self, request_id: RequestId, receipt: KeptReceipt) -> None:
        """Keep what an operator signed, or add its leaves; nothing signed is ever dropped."""
        leaves = b"".join(receipt.leaves)
        key = (request_id, receipt.output_root, receipt.trace_root)
        row = self.session.get(ReceiptRow, key)
        if row is None:
            row = ReceiptRow(
                request_id=request_id,
                output_root=receipt.output_root,
                trace_root=receipt.trace_root,
                signature=receipt.signature,
                leaves=leaves,
                recorded_at=self._now(),
            )
            self.session.add(row)
        row.leaves = leaves or row.leaves

    def receipts(self, request_id: RequestId) -> list[KeptReceipt]:
        """Return everything that was signed for a request, oldest first."""
        rows = self.session.scalars(
            select(ReceiptRow)
            .where(ReceiptRow.request_id == request_id)
            .order_by(ReceiptRow.recorded_at, ReceiptRow.output_root, ReceiptRow.trace_root)
        )
        return [
            KeptReceipt(
                Bytes32(row.output_root), Bytes32(row.trace_root), row.signature, _split(row.leaves)
            )
            for row in rows
        ]

    def keep_tensor(self, request_id: RequestId, op: int, leaf: Bytes32, record: bytes) -> None:
        """Keep bytes that an operator served; what is known stays."""
        if self.session.get(TensorRow, (request_id, op, leaf)) is None:
            self.session.add(TensorRow(request_id=request_id, op=op, leaf=leaf, record=record))

    def tensor(self, request_id: RequestId, op: int, leaf: Bytes32) -> bytes | None:
        """Return the record behind a tensor's leaf."""
        row = self.session.get(TensorRow, (request_id, op, leaf))
        return None if row is None else row.record


def _split(leaves: bytes) -> tuple[Bytes32, ...]:
    return tuple(Bytes32(leaves[at : at + _WORD]) for at in range(0, len(leaves), _WORD))
