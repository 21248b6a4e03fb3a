"""The operator's memory: opened by URL, used in transactions.

Knows neither contracts nor queues. Several processes may open the same store.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from oracle.errors import DiskUnusable, Unavailable
from oracle.grouping import Grouping
from oracle.store import engine as engines
from oracle.store import schema
from oracle.store.agent_repository import AgentRepository
from oracle.store.audit_repository import AuditRepository
from oracle.store.chain_repository import ChainRepository
from oracle.store.gateway_repository import GatewayRepository
from oracle.store.job_repository import JobRepository
from oracle.store.payment_repository import PaymentRepository
from oracle.store.reply_repository import ReplyRepository
from oracle.types import Bytes32, OperatorAnswer, RequestId

T = TypeVar("T")


class Transaction(
    ChainRepository,
    JobRepository,
    ReplyRepository,
    AuditRepository,
    GatewayRepository,
    PaymentRepository,
    AgentRepository,
):
    """What `Store.begin` and `Store.read` hand out; of no use after their block."""


class Store:
    """Where an operator keeps what it has seen, decided and promised."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        """Take an engine whose tables are current; use `Store.open` for a URL."""
        self._engine = engine
        self._now = now
        # One connection that threads share (":memory:") cannot hold two transactions.
        self._one_at_a_time = RLock() if isinstance(engine.pool, StaticPool) else None
        self._together: Grouping[Callable[[Transaction], Any], Any] = Grouping(self._commit_all)

    @classmethod
    def open(cls, url: str, now: Callable[[], float] = time.time) -> "Store":
        """Connect, create or migrate the tables, and return the store.

        Args:
            url: of SQLAlchemy: `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`.
            now: clock for rows that are dated, unix seconds.

        Raises:
            ConfigInvalid: the URL is wrong, or the tables are of a newer program.
            Unavailable: the database cannot be reached.
            DiskUnusable: it is corrupt, or its disk full or read-only.
        """
        engine = engines.connect(url)
        with _translated(engine):
            schema.upgrade(engine)
        return cls(engine, now)

    @contextmanager
    def begin(self, *, forgettable: bool = False) -> Iterator[Transaction]:
        """Give a transaction that may write; it commits at the end, or vanishes on an exception.

        Writers of all processes wait for each other, so what was read in it stays true until it
        ends. Keep it short: no network, no inference inside.

        Args:
            forgettable: what is written can be had again from the chain or the queue. A power cut
                may undo it (the end of a process does not), and nobody waits for the disk.

        Raises:
            Unavailable: the database cannot be reached, or other writers took above 30 seconds.
        """
        with (
            self._alone(),
            _translated(self._engine),
            self._engine.connect() as connection,
            Session(
                engines.forgettable(connection) if forgettable else connection,
                expire_on_commit=False,
            ) as session,
            session.begin(),
        ):
            engines.wait_in_line(session.connection())
            yield Transaction(session, self._now)

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Make a change that is durable when this returns; one commit for all threads that wait.

        Each change is undone alone when it raises. It must not hold on to its transaction, nor wait
        for another thread.

        Raises:
            What `change` raised, or what `begin` raises: then nothing of the group is kept.
        """
        done: T = self._together.do(change)
        return done

    def _commit_all(self, changes: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
        outcomes: list[Any] = []
        with self.begin() as tx:
            for change in changes:
                try:
                    with tx.session.begin_nested():
                        outcomes.append(change(tx))
                except Exception as error:
                    # A database in trouble may have undone the others as well
                    if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
                        raise
                    outcomes.append(error)
        return outcomes

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Give a transaction that only reads: one snapshot, waiting for nobody.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with (
            self._alone(),
            _translated(self._engine),
            self._engine.connect() as connection,
            Session(engines.reading(connection)) as session,
        ):
            yield Transaction(session, self._now)

    def record_answer(
        self, request_id: RequestId, output_root: Bytes32, output_cid: Bytes32
    ) -> OperatorAnswer:
        """Record an answer in a transaction of its own; the first one stands and is returned."""
        with self.begin() as tx:
            return tx.record_answer(request_id, OperatorAnswer(output_root, output_cid))

    def record_failure(
        self,
        request_id: RequestId,
        error: str,
        message: str,
        permanent: bool,
        report: str | None = None,
    ) -> None:
        """Record a failure in a transaction of its own (see `Transaction.record_failure`)."""
        with self.begin() as tx:
            tx.record_failure(request_id, error, message, permanent, report)

    def close(self) -> None:
        """Close all connections; the store may be used again and will reconnect."""
        self._engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._one_at_a_time is None:
            yield
            return
        with self._one_at_a_time:
            yield


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        trouble = _trouble(engine, error)
        passing = isinstance(error, OperationalError | InterfaceError)
        if passing or error.connection_invalidated or isinstance(trouble, DiskUnusable):
            raise trouble from error
        raise


def _trouble(engine: Engine, error: DBAPIError) -> Unavailable:
    said = f"store {engine.url.render_as_string(hide_password=True)}: {error.orig}"
    if any(words in said for words in _CORRUPT):
        return DiskUnusable(
            said,
            hint="restore a backup, or move the file away: the chain's part is read again, but "
            "answers and transactions that were not final are in it alone",
        )
    if any(words in said for words in _NO_ROOM):
        return DiskUnusable(said, hint="free or mend the disk; nothing stored is lost")
    return Unavailable(
        said, hint="check that the folder is writable and the database runs; `tallystick doctor`"
    )


# Of SQLite and PostgreSQL
_CORRUPT = (
    "malformed",
    "not a database",
    "unsupported file format",
    "Could not decode to UTF-8",
    "invalid page",
)
_NO_ROOM = ("is full", "disk I/O error", "readonly", "No space left", "read-only file system")
