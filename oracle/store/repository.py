"""What the repositories of a transaction share: the session, the clock, and insert-or-replace."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from oracle.store.tables import Base

T = TypeVar("T")
_AT_ONCE = 500  # values that one statement asks for


def portions(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield values in lists that are short enough for an IN of either database."""
    rest = iter(values)
    while portion := list(islice(rest, _AT_ONCE)):
        yield portion


class Repository:
    """One concern of `oracle.store.store.Transaction`."""

    def __init__(self, session: Session, now: Callable[[], float]) -> None:
        self.session = session  # for the repositories and their neighbours in this package
        self._now = now  # unix seconds

    def insert(self, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert new rows that all name the same columns."""
        if rows:
            self.session.connection().execute(_insertion(table), list(rows))

    def upsert(self, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all name the same columns; a known key's columns are replaced."""
        if rows:
            connection = self.session.connection()
            dialect, columns = connection.dialect.name, tuple(rows[0])
            connection.execute(_upsertion(table, dialect, columns), list(rows))


# Statements are built once: to build one, and to find its text again, costs more than to run it.
@functools.cache
def _insertion(table: type[Base]) -> Any:
    return insert(cast(Table, table.__table__))


@functools.cache
def _upsertion(table: type[Base], dialect: str, columns: tuple[str, ...]) -> Any:
    target = cast(Table, table.__table__)
    keys = [column.name for column in target.primary_key]
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(target)
    others = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
