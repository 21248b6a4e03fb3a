"""The part of a transaction that knows disputes: replies that are owed, traces stood by.

A reply is owed as long as its row is there. The demand is a fold of the game's events, written by
the watcher (`oracle/operator/replies.py`); the rest is the watcher's bookkeeping of its messages.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, delete, or_, select, update

from oracle.store.repository import Repository, portions
from oracle.store.tables import ReplyRow, StatementRow
from oracle.types import Address, Bytes32, RequestId, Timestamp


class ReplyKind(StrEnum):
    """What the chain waits for."""

    TRACE = "trace"  # commitTrace; `op`, `first`, `second` are 0
    NODE = "node"  # openNode or revealLeaves: `first` is the level, `second` the index
    STEP = "step"  # answerStep: `first` is the row, `second` the column


@dataclass(frozen=True, slots=True)
class GameTurn:
    """One turn of this operator in one challenger's game."""

    challenger: Address
    ask: ReplyKind
    deadline: Timestamp  # the turn is over at that second
    op: int = 0
    first: int = 0
    second: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A demand, and what was put on the queue for it."""

    request_id: RequestId
    demand: GameTurn
    attempt: int = 0  # messages sent for this demand
    retry_at: float = 0.0  # unix seconds of the wall clock: put it on the queue again
    generation: str = ""  # of the queue that took the message; another one has lost it


@dataclass(frozen=True, slots=True)
class Statement:
    """The one trace that this operator stands by; recorded before it is signed or sent."""

    trace_root: Bytes32
    signature: bytes  # of the receipt, r‖s‖v; empty = not signed yet


class ReplyRepository(Repository):
    """Replies and statements."""

    def owe(self, request_id: RequestId, demands: Collection[GameTurn]) -> None:
        """Owe exactly these replies about a request; what was sent for one that stays is kept."""
        known = {reply.demand.challenger: reply for reply in self.replies_to(request_id)}
        now = {demand.challenger: demand for demand in demands}
        for challenger in known.keys() - now.keys():
            self.session.execute(
                delete(ReplyRow).where(
                    ReplyRow.request_id == request_id, ReplyRow.challenger == challenger
                )
            )
        self.put_replies(
            Reply(request_id, demand)
            for challenger, demand in now.items()
            if challenger not in known or known[challenger].demand != demand
        )

    def owing(self, request_ids: Iterable[RequestId]) -> set[RequestId]:
        """Return those requests about which a reply is owed."""
        return {
            RequestId(row)
            for portion in portions(request_ids)
            for row in self.session.scalars(
                select(ReplyRow.request_id).where(ReplyRow.request_id.in_(portion))
            )
        }

    def replies_to(self, request_id: RequestId) -> list[Reply]:
        """Return what is owed about one request, by challenger."""
        query = select(ReplyRow).where(ReplyRow.request_id == request_id)
        return self._replies(query.order_by(ReplyRow.challenger))

    def reply(self, request_id: RequestId, challenger: Address) -> Reply | None:
        """Return what is owed to one challenger."""
        query = select(ReplyRow).where(
            ReplyRow.request_id == request_id, ReplyRow.challenger == challenger
        )
        found = self._replies(query)
        return found[0] if found else None

    def due_replies(
        self,
        chain_now: Timestamp,
        wall_now: float,
        generation: str,
        limit: int = 1000,
    ) -> list[Reply]:
        """Return replies to put on the queue (again), the most urgent first; none that is over.

        A reply is due when its message is older than `retry_at`, or was taken by another
        generation of the queue, or by none. A `retry_at` beyond the deadline is of a clock that was
        wrong.
        """
        query = (
            select(ReplyRow)
            .where(
                ReplyRow.deadline > chain_now,
                or_(
                    ReplyRow.retry_at <= wall_now,
                    ReplyRow.retry_at > wall_now + (ReplyRow.deadline - chain_now) + 60,
                    ReplyRow.generation != generation,
                ),
            )
            .order_by(ReplyRow.deadline, ReplyRow.request_id, ReplyRow.challenger)
            .limit(limit)
        )
        return self._replies(query)

    def put_replies(self, replies: Iterable[Reply]) -> None:
        """Insert or replace replies."""
        self.upsert(ReplyRow, [_row_of(reply) for reply in replies])

    def statement(self, request_id: RequestId) -> Statement | None:
        """Return the trace that this operator stands by."""
        row = self.session.execute(
            select(StatementRow.trace_root, StatementRow.signature).where(
                StatementRow.request_id == request_id
            )
        ).first()
        return None if row is None else Statement(Bytes32(row[0]), row[1])

    def state(self, request_id: RequestId, trace_root: Bytes32) -> Statement:
        """Stand by a trace unless another is stood by; return the one that stands."""
        if (standing := self.statement(request_id)) is None:
            self.session.add(
                StatementRow(
                    request_id=request_id,
                    trace_root=trace_root,
                    signature=b"",
                    recorded_at=self._now(),
                )
            )
            self.session.flush()
        return standing or Statement(trace_root, b"")

    def sign(self, request_id: RequestId, signature: bytes) -> None:
        """Keep the signature under the receipt of the trace that is stood by."""
        self.session.execute(
            update(StatementRow)
            .where(StatementRow.request_id == request_id)
            .values(signature=signature)
        )

    def _replies(self, query: Select[ReplyRow]) -> list[Reply]:
        rows = self.session.scalars(query, execution_options={"populate_existing": True})
        return [_reply_of(row) for row in rows]


def _reply_of(row: ReplyRow) -> Reply:
    demand = GameTurn(
        Address(row.challenger), ReplyKind(row.ask), Timestamp(row.deadline),
        row.op, row.first, row.second,
    )  # fmt: skip
    return Reply(RequestId(row.request_id), demand, row.attempt, row.retry_at, row.generation)


def _row_of(reply: Reply) -> dict[str, object]:
    demand = reply.demand
    return {
        "request_id": reply.request_id,
        "challenger": demand.challenger,
        "ask": demand.ask.value,
        "deadline": demand.deadline,
        "op": demand.op,
        "first": demand.first,
        "second": demand.second,
        "attempt": reply.attempt,
        "retry_at": reply.retry_at,
        "generation": reply.generation,
    }
