"""How migrations run: through the app, on a connection of their own, each in one transaction.

The app's own connections do not serve: on Postgres they are in autocommit mode, and a migration
that fails half-way has to leave nothing behind. Two releases at once wait for each other.
"""

from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import exc as sa_exc

from payments import config

# Any number that no other lock of this database has.
RELEASE_LOCK = 7_296_012_873
RELEASE_WAIT = "60s"
# Shorter than the service's own (2 s): requests queue behind a migration that waits for a lock, and
# none of them may be refused. A migration that does not get its lock fails whole and is run again.
LOCK_TIMEOUT = "1s"
SQLITE_WAIT_MS = 10_000


def run() -> None:
    """Do what the command asks, on the database of the app's settings."""
    if context.is_offline_mode():
        raise CommandError(
            "migrations run against a live database only: they look at it, and SQLite's tables are"
            " rebuilt by reading them, so a script made without one would be wrong"
        )
    engine = _engine(config.current().db_url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                _wait_for_other_releases(connection)
            _migrate(connection)
    finally:
        engine.dispose()


def _migrate(connection: sa.Connection) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    extension = current_app.extensions["migrate"]
    arguments: dict[str, Any] = {
        **extension.configure_args,
        "compare_type": True,
        "compare_server_default": True,
        "render_as_batch": on_sqlite,  # SQLite rebuilds a table where it can't alter it
        "transaction_per_migration": True,
        "transactional_ddl": True,  # true of SQLite as well, once BEGIN is ours
        "on_version_apply": [_check_references] if on_sqlite else [],
    }
    context.configure(connection=connection, target_metadata=extension.db.metadata, **arguments)
    with context.begin_transaction():
        context.run_migrations()


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name != "sqlite":
        return engine

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA busy_timeout={SQLITE_WAIT_MS}")
        # A rebuilt table is dropped for a moment; references are checked at each step's end.
        connection.execute("PRAGMA foreign_keys=OFF")

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _check_references(*, ctx: Any, **_step: Any) -> None:
    broken = ctx.connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({row[0] for row in broken}))
        raise CommandError(f"the migration left rows that refer to nothing, in: {tables}")


def _wait_for_other_releases(connection: sa.Connection) -> None:
    """Hold the release lock until the connection ends, then keep waits for table locks short."""
    try:
        connection.exec_driver_sql(f"SET statement_timeout = '{RELEASE_WAIT}'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({RELEASE_LOCK})")
    except sa_exc.OperationalError as fault:
        if isinstance(fault.orig, psycopg.errors.QueryCanceled):
            raise CommandError(
                f"another migration of this database has been running for {RELEASE_WAIT}"
            ) from fault
        raise
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()


run()
