"""What the repositories of a transaction share: the session, the clock, and insert-or-replace."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Table
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

    def _upsert(self, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all name the same columns; a known key's columns are replaced."""
        if not rows:
            return
        dialect = self.session.connection().dialect.name
        target = cast(Table, table.__table__)
        keys = [column.name for column in target.primary_key]
        statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(target)
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        self.session.connection().execute(
            statement.on_conflict_do_update(index_elements=keys, set_=others), list(rows)
        )
