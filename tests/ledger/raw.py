"""The database as its owner meets it, past triggers and checks: to break what must be true."""

import sqlite3
from collections.abc import Sequence

import psycopg
import sqlalchemy as sa


def execute(url: str, *statements: str, guarded: bool = False) -> Sequence[tuple[object, ...]]:
    """Run the statements as one transaction; gives the rows of the last one.

    guarded: leave triggers, foreign keys and checks in force.
    """
    parts = sa.make_url(url)
    if parts.get_backend_name() == "sqlite":
        return _on_sqlite(str(parts.database), statements, guarded)
    connection = psycopg.connect(
        host=str(parts.query["host"]),
        port=str(parts.query.get("port", "")) or None,
        user=parts.username,
        dbname=parts.database,
    )
    with connection:
        if not guarded:
            connection.execute("SET session_replication_role = replica")
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _on_sqlite(path: str, statements: Sequence[str], guarded: bool) -> Sequence[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        if guarded:
            connection.execute("PRAGMA foreign_keys=ON")
        else:
            connection.execute("PRAGMA ignore_check_constraints=ON")
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows
    finally:
        connection.close()
