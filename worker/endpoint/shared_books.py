"""Books of several endpoints of one operator: a schema in a PostgreSQL database.

```
 endpoint 1 ─ voucher 8 ─┐  UPDATE channel … WHERE answered = 7      1 row: receipt 8 leaves
 endpoint 2 ─ voucher 8 ─┘  UPDATE channel … WHERE answered = 7      0 rows: it reads, and refuses
```
A connection that breaks loses nothing: whether its last commit was done the next one reads. One
endpoint leads, as long as its connection lives: it alone sends transactions of claims and defence.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.errors import ConfigInvalid, Unavailable
from oracle.types import Address
from worker.endpoint.books import SCHEMA, ReceiptBooks
from worker.endpoint.file_books import FileBooks

if TYPE_CHECKING:
    import psycopg

_VERSION = 1
_NAME = "endpoint"  # of the schema: beside an operator's store there is room for it
_LEADS, _MAKES = 0x74616C6C7901, 0x74616C6C7902  # advisory locks
_WINDOW = """CREATE TABLE rate_window (
  model BIGINT NOT NULL, payer TEXT NOT NULL, begins BIGINT NOT NULL, used BIGINT NOT NULL,
  PRIMARY KEY (model, payer)
)"""
_COUNT = """
INSERT INTO rate_window AS w VALUES (%(model)s, %(payer)s, %(now)s, 1)
ON CONFLICT (model, payer) DO UPDATE SET
  begins = CASE WHEN %(now)s >= w.begins + %(length)s THEN %(now)s ELSE w.begins END,
  used = CASE WHEN %(now)s >= w.begins + %(length)s THEN 1 ELSE w.used + 1 END
RETURNING begins, used"""
_SETTINGS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    # A promise once made outlives a power cut; who is stopped in the middle holds nobody up
    "options": f"-c search_path={_NAME} -c synchronous_commit=on -c lock_timeout=5s "
    "-c statement_timeout=10s -c idle_in_transaction_session_timeout=5s",
}  # fmt: skip


class SharedBooks(ReceiptBooks):
    """The books of all endpoints of an operator, over one connection."""

    shared = True

    def __init__(self, url: str) -> None:
        """Connect, and make the tables where there are none.

        Raises:
            ConfigInvalid: no such URL, no driver, or tables of another version.
            Unavailable: the database cannot be reached.
        """
        try:
            import psycopg  # noqa: PLC0415 - an extra of the package
        except ModuleNotFoundError as error:
            raise ConfigInvalid(
                "the books are in PostgreSQL, and its driver is missing",
                hint='pip install "tallystick[postgresql]"',
            ) from error
        if not url.startswith(("postgresql://", "postgres://")):
            raise ConfigInvalid(
                "TALLYSTICK_BOOKS_URL is no PostgreSQL", hint="postgresql://user@host/database"
            )
        self._driver, self._url = psycopg, url
        self._open: psycopg.Connection[Any] | None = None
        self._leading = False
        with self._transaction():
            self._make()

    def _make(self) -> None:
        self._rows("SELECT pg_advisory_xact_lock(?)", _MAKES)
        self._rows(f"CREATE SCHEMA IF NOT EXISTS {_NAME}")
        self._rows("CREATE TABLE IF NOT EXISTS version (number INTEGER NOT NULL)")
        found = self._rows("SELECT number FROM version")
        if not found:
            for sql in (*SCHEMA, _WINDOW):
                self._rows(sql.format(bytes="BYTEA", number="BIGINT"))
            self._rows("INSERT INTO version VALUES (?)", _VERSION)
        elif found != [(_VERSION,)]:
            raise ConfigInvalid(
                f"the books are of version {found[0][0]}, this program's is {_VERSION}"
            )

    def take_over(self, path: Path) -> bool:
        """Move an endpoint's file into the database; whether there was one.

        Raises:
            ConfigInvalid: a process has it.
        """
        if not path.exists():
            return False
        file = FileBooks(path)
        with self._transaction():
            for table in ("channel", "receipt", "answer"):
                for names, rows in file.dump(table):
                    into = f"INSERT INTO {table} ({','.join(names)}) "
                    places = f"VALUES ({','.join('?' * len(names))}) ON CONFLICT DO NOTHING"
                    self._each(into + places, rows)
        file.close()
        path.rename(path.with_suffix(".moved"))
        return True

    def leads(self) -> bool:
        self._rows("SELECT 1")  # with a connection that broke the lock is gone
        if not self._leading:
            ((self._leading,),) = self._rows("SELECT pg_try_advisory_lock(?)", _LEADS)
        return self._leading

    def count_question(
        self, model_id: int, payer: Address, now: int, length: int
    ) -> tuple[int, int]:
        with self._translated() as connection:
            values = {"model": model_id, "payer": payer, "now": now, "length": length}
            begins, used = connection.execute(_COUNT, values).fetchone() or (now, 1)
        return begins, used

    # ── The database ────────────────────────────────────────────────────────────────────────────
    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._translated() as connection:
            cursor = connection.execute(sql.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []

    def _each(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Do them one after another on the server, without waiting in between."""
        with self._translated() as connection:
            with connection.pipeline():
                query = sql.replace("?", "%s").encode()
                done = [connection.execute(query, row) for row in rows]
            return [cursor.rowcount == 1 for cursor in done]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated() as connection, connection.transaction():
            yield

    @contextmanager
    def _translated(self) -> Iterator["psycopg.Connection[Any]"]:
        try:
            if self._open is None or self._open.closed:
                self._leading = False
                self._open = self._driver.connect(self._url, autocommit=True, **_SETTINGS)
            yield self._open
        except self._driver.Error as error:
            raise Unavailable(
                f"the endpoint's books: {error}", hint="does the database run? ask again"
            ) from error

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
