"""What psycopg and sqlite3 do differently, told apart for `db` and `units` only."""

import sqlalchemy as sa

from payments.drivers.base import (
    ConnectionLost,
    Driver,
    Duplicate,
    LockTimeout,
    Statement,
    Transient,
    compile_postgres,
    compile_sqlite,
    is_write,
)
from payments.drivers.postgres import PostgresDriver
from payments.drivers.sqlite import SqliteDriver, learn_columns

__all__ = [
    "ConnectionLost", "Driver", "Duplicate", "LockTimeout", "Statement", "Transient",
    "compile_postgres", "compile_sqlite", "for_url", "is_write", "learn_columns",
]  # fmt: skip


def for_url(url: str) -> Driver:
    """The driver of a database URL."""
    return SqliteDriver() if sa.make_url(url).get_backend_name() == "sqlite" else PostgresDriver()
