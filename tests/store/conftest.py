"""Stores to test against: SQLite in memory and in a file, and a PostgreSQL where there is one."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from oracle.chain.outbox import MemoryOutbox, OutboxStore
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from tests.support.waiting import wait_until

_READY = "ready"  # a database whose tables are there
_DEBIAN = Path("/usr/lib/postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of our own on a Unix socket; give its connection string."""
    tools = _tools()
    if tools is None:
        pytest.skip("no PostgreSQL server here: install Debian's package `postgresql`")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="tally-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
    )
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
    server = subprocess.Popen(
        [tools / "postgres", "-D", data, *options, "-c", "fsync=off"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
    )
    try:
        conninfo = f"host={folder} user=postgres"
        _wait(conninfo, server)
        _create(conninfo, _READY)
        Store.open(_url(conninfo, _READY)).close()
        yield conninfo
    finally:
        server.send_signal(signal.SIGINT)  # do not wait for clients
        try:
            server.wait(120)
        except subprocess.TimeoutExpired:  # a machine that is very busy
            server.send_signal(signal.SIGQUIT)  # at once, and its children with it
            server.wait(20)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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
    _create(conninfo, name, template)
    return _url(conninfo, name)


def _create(conninfo: str, name: str, template: str = "template1") -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


def _url(conninfo: str, name: str) -> str:
    folder = conninfo.split(maxsplit=1)[0].removeprefix("host=")
    return f"postgresql://postgres@/{name}?host={folder}"


@pytest.fixture(params=["memory", "file", pytest.param("postgresql", marks=pytest.mark.real)])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutboxStore]:
    """Give an empty outbox of each kind."""
    if request.param == "memory":
        yield MemoryOutbox()
        return
    opened = Store.open(make_url(request, tmp_path, template=_READY))
    yield SqlOutbox(opened)
    opened.close()


def _tools() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(_DEBIAN.glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _wait(conninfo: str, server: "subprocess.Popen[bytes]") -> None:
    def up() -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(conninfo).close()
            return True
        return False

    wait_until(up, "PostgreSQL to come up", process=server)
