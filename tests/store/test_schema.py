"""Opening a store: whatever is found there, whoever else opens it."""

import multiprocessing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from oracle.errors import ConfigInvalid, Unavailable
from oracle.store import Store, engine, schema
from oracle.store.tables import Base
from tests.store.samples import job, request_id


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/db", "sqlite+nodriver:///x", "redis://h"]
)
def test_open__not_a_url_that_we_speak__config_invalid_with_an_example(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # SQLite's file is made before its driver is looked for
    with pytest.raises(ConfigInvalid) as caught:
        Store.open(url)
    assert "sqlite:///" in caught.value.hint


@pytest.mark.real
def test_open__server_down__unavailable_without_the_password() -> None:
    with pytest.raises(Unavailable) as caught:
        Store.open("postgresql://user:secret@127.0.0.1:1/store?connect_timeout=2")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_open__file_that_is_no_database__unavailable(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to be read as one" * 100)

    with pytest.raises(Unavailable, match="not a database"):
        Store.open(f"sqlite:///{tmp_path / 'store.db'}")


def test_open__folder_is_a_file__unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="cannot be made"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'store.db'}")


def test_open__tables_of_a_newer_program__config_invalid_and_untouched(shared_url: str) -> None:
    Store.open(shared_url).close()
    connections = engine.connect(shared_url)
    with connections.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigInvalid, match="revision 9999"):
        Store.open(shared_url)

    with connections.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [
            ("9999",)
        ]
    connections.dispose()


def _open_and_write(url: str, name: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    opened = Store.open(url)
    with opened.begin() as tx:
        tx.put_job(job(name))
    opened.close()


def test_open__three_processes_at_once__all_find_the_tables(shared_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    names = ["a", "b", "c"]
    processes = [
        spawn.Process(target=_open_and_write, args=(shared_url, name, start)) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 3
    opened = Store.open(shared_url)
    with opened.read() as tx:
        assert {found.request_id for found in tx.open_jobs()} == set(map(request_id, names))
    opened.close()


def test_open__again__keeps_what_was_there(shared_url: str) -> None:
    for cursor in (None, 5):
        opened = Store.open(shared_url)
        with opened.begin() as tx:
            assert tx.cursor() == cursor
            tx.set_cursor(5)
        opened.close()


def test_migrations__run_to_the_head__make_the_tables_of_the_code(any_url: str) -> None:
    connections = engine.connect(any_url)
    schema.upgrade(connections)
    with connections.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    connections.dispose()


def test_head__constant__is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
