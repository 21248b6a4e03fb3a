"""Books of one endpoint: a SQLite file of its own, so that no other writer is waited for.

The process that opened it has it alone: two would give one index twice.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from oracle.errors import ConfigInvalid
from oracle.private_files import make_file, make_folder
from worker.endpoint.books import SCHEMA, ReceiptBooks

_VERSION = 2
_SOME = 100  # rows: an answer may have megabytes
_FROM_1 = (  # what files of version 1 lack
    "ALTER TABLE channel ADD COLUMN agreed_until INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE IF NOT EXISTS answer (channel BLOB NOT NULL, number INTEGER NOT NULL, "
    "until INTEGER NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL, "
    "PRIMARY KEY (channel, number))",
    "ALTER TABLE answer ADD COLUMN question BLOB NOT NULL DEFAULT x''",
    "CREATE INDEX IF NOT EXISTS answer_until ON answer (until)",
    "CREATE TABLE IF NOT EXISTS agreed (channel BLOB PRIMARY KEY, until INTEGER NOT NULL)",
    "UPDATE channel SET agreed_until = agreed.until FROM agreed WHERE agreed.channel = channel.id",
    "DROP TABLE agreed",
)


class FileBooks(ReceiptBooks):
    """An endpoint's file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            ConfigInvalid: another process has it, or it is of another version.
            sqlite3.Error: the disk is full or broken.
        """
        make_folder(path.parent)
        make_file(path)
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN IMMEDIATE")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            made = [sql.format(bytes="BLOB", number="INTEGER") for sql in SCHEMA]
            for statement in {0: made, 1: _FROM_1}.get(version, ()):
                self._db.execute(statement)
            if version <= _VERSION:
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" not in str(error):
                raise
            raise ConfigInvalid(
                f"{path} belongs to another process",
                hint="several endpoints of one operator need TALLYSTICK_BOOKS_URL",
            ) from error
        if version > _VERSION:
            self._db.close()
            raise ConfigInvalid(f"{path} is of version {version}, this program's is {_VERSION}")

    def dump(self, table: str) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
        """Yield a table's columns and rows, some at a time."""
        cursor = self._db.execute(f"SELECT * FROM {table}")  # noqa: S608 - one of ours
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(_SOME):
            yield names, rows

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _each(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        done = self._db.executemany(sql, rows).rowcount == len(rows)
        return [done] * len(rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite did it, or cannot
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()
