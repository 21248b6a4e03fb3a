"""Connections to SQLite or PostgreSQL that behave alike: writers wait for each other in line.

Every write transaction is alone from its first statement on, so that what it read is still true
when it writes. SQLite: `BEGIN IMMEDIATE`. PostgreSQL: an advisory lock held to the end.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from oracle.errors import ConfigInvalid, DiskUnusable, Unavailable
from oracle.private_files import make_file

BUSY_SECONDS = 30.0  # how long a writer waits for the one before it
_WRITER_LOCK = 0x74616C6C79  # "tally", of PostgreSQL's advisory locks
_WAL_TRIES = 50


def connect(url: str) -> Engine:
    """Return an engine; a SQLite file's folder is made when it is missing.

    Raises:
        ConfigInvalid: the URL is malformed or names a database that is not supported.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return create_engine(_with_driver(parsed), pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigInvalid(f"store URL {_safe(url)}: {error}", hint=_HINT) from error
    raise ConfigInvalid(f"store URL {_safe(url)} is neither SQLite nor PostgreSQL", hint=_HINT)


def reading(connection: Connection) -> Connection:
    """Mark a connection: its transactions only read, and wait for nobody."""
    if connection.dialect.name == "postgresql":
        return connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    return connection.execution_options(tallystick_reading=True)


_HINT = "sqlite:///path/to/store.db or postgresql://user@host/database"


def _sqlite(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    if in_memory:
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        _make_file(Path(str(url.database)))
        engine = create_engine(url)
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _make_file(path: Path) -> None:
    """Make the file before SQLite does: its journals have the same mode."""
    try:
        make_file(path)
    except OSError as error:
        raise DiskUnusable.of(error) or Unavailable(
            f"the store {path} cannot be made: {error.strerror}",
            hint="choose another with TALLYSTICK_STORE_URL or TALLYSTICK_HOME",
        ) from error


def _on_sqlite_connect(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA page_size = 8192")  # of a new file: fewer pages to log and copy
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16000")  # 16 MB: a range of logs fits, nothing spills
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    for attempt in range(_WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # the switch does not wait for busy_timeout
            if "locked" not in str(error) or attempt == _WAL_TRIES - 1:
                raise
            time.sleep(0.02)


def _on_sqlite_begin(connection: Connection) -> None:
    only_reads = connection.get_execution_options().get("tallystick_reading", False)
    forgettable = connection.get_execution_options().get("tallystick_forgettable", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {int(only_reads)}")
    if not only_reads:
        # FULL: a promise once made outlives a power cut, with all that was written before it
        connection.exec_driver_sql(f"PRAGMA synchronous = {'NORMAL' if forgettable else 'FULL'}")
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def wait_in_line(connection: Connection) -> None:
    """Make this transaction the only one that writes, until it ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})
        if connection.get_execution_options().get("tallystick_forgettable"):
            connection.execute(text("SET LOCAL synchronous_commit = off"))


def forgettable(connection: Connection) -> Connection:
    """Mark a connection: a power cut may undo its last transactions; they do not wait for a disk.

    The end of a process undoes none. A later transaction that is not marked makes them durable too.
    """
    return connection.execution_options(tallystick_forgettable=True)


def _with_driver(url: URL) -> URL:
    return url if "+" in url.drivername else url.set(drivername="postgresql+psycopg")


def _safe(url: Any) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(malformed)"
