"""Stores to test against: SQLite in memory and in a file, and a PostgreSQL where there is one."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from oracle.chain.outbox import MemoryOutbox, OutboxStore
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from tests.support.postgresql import create_database, database_url, running_postgresql

_READY = "ready"  # a database whose tables are there


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of our own; give its connection string."""
    with running_postgresql() as conninfo:
        create_database(conninfo, _READY)
        Store.open(database_url(conninfo, _READY)).close()
        yield conninfo


@pytest.fixture(params=["memory", "file", pytest.param("postgresql", marks=pytest.mark.real)])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty store of each kind."""
    return "sqlite://" if request.param == "memory" else make_url(request, tmp_path)


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.real)])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty store that several processes may open."""
    return make_url(request, tmp_path)


@pytest.fixture(params=["memory", "file", pytest.param("postgresql", marks=pytest.mark.real)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give an empty store of each kind, whose clock stands at 1000."""
    memory = request.param == "memory"
    url = "sqlite://" if memory else make_url(request, tmp_path, template=_READY)
    opened = Store.open(url, now=lambda: 1000.0)
    yield opened
    opened.close()


def make_url(request: pytest.FixtureRequest, tmp_path: Path, template: str = "template1") -> str:
    """Give the URL of an empty store for `request.param`, "file" or "postgresql".

    A template that has its tables already saves PostgreSQL most of the time.
    """
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'folder' / 'store.db'}"
    conninfo = request.getfixturevalue("postgresql")
    name = f"store_{uuid4().hex}"
    create_database(conninfo, name, template)
    return database_url(conninfo, name)


@pytest.fixture(params=["memory", "file", pytest.param("postgresql", marks=pytest.mark.real)])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutboxStore]:
    """Give an empty outbox of each kind."""
    if request.param == "memory":
        yield MemoryOutbox()
        return
    opened = Store.open(make_url(request, tmp_path, template=_READY))
    yield SqlOutbox(opened)
    opened.close()
