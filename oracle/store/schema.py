"""Brings the tables of a store to the version that this code knows.

Safe when several processes start at once: the first takes the writers' lock, migrates, commits;
the others wait in line and find nothing left to do.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from oracle.errors import ConfigInvalid
from oracle.store.engine import wait_in_line

HEAD = "0011"  # the newest file in migrations/versions
MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Create or migrate the tables; nothing when they are current.

    Raises:
        ConfigInvalid: the store was written by a newer version of this program.
    """
    with engine.begin() as connection:
        wait_in_line(connection)
        current = _revision(connection)
        if current != HEAD:
            _run(connection, current)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection, current: str | None) -> None:
    from alembic import command  # noqa: PLC0415 -- 0.3 s that a current store need not pay
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigInvalid(
            f"the store has tables of revision {current}, this program knows {HEAD}: {error}",
            hint="install the newer version again, or move the store away: it is rebuilt from "
            "the chain, but answers and unsent transactions are in it alone",
        ) from error
