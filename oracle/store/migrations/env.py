"""Runs inside alembic: applies the revisions on the connection that was handed over."""

from alembic import context

from oracle.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=True,  # all or nothing: `engine` begins SQLite's transactions itself
)
context.run_migrations()
