"""A PostgreSQL for tests: a server of their own, and databases in it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.support.waiting import wait_until

_DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Run a server of our own on a Unix socket; give its connection string."""
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


def create_database(conninfo: str, name: str, template: str = "template1") -> None:
    """Create a database."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


def database_url(conninfo: str, name: str) -> str:
    """Return a database's URL."""
    folder = conninfo.split(maxsplit=1)[0].removeprefix("host=")
    return f"postgresql://postgres@/{name}?host={folder}"


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
