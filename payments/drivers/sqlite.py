"""sqlite3 of the standard library."""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from payments import clock
from payments.drivers.base import (
    LOCK_TIMEOUT_MS,
    POOL_TIMEOUT_S,
    Duplicate,
    Statement,
    Transient,
)
from payments.errors import Busy

_SQLITE_FILE_FAULTS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def sqlite_time(moment: datetime) -> str:
    """A moment as SQLite keeps it: UTC, microseconds, so that text order is time order."""
    return clock.aware(moment).replace(tzinfo=None).isoformat(" ", "microseconds")


def _from_sqlite_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _from_sqlite_bool(value: int | None) -> bool | None:
    return None if value is None else bool(value)


@lru_cache(maxsize=1024)
def _shape(columns: tuple[str, ...]) -> tuple[Any, tuple[tuple[int, Callable[[Any], Any]], ...]]:
    """The named tuple of a statement's columns, and which of them SQLite gives back untyped."""
    kinds = column_kinds()
    converters: list[tuple[int, Callable[[Any], Any]]] = []
    for index, name in enumerate(columns):
        if kinds.get(name) == "time" or name.endswith(("_at", "_until")):
            converters.append((index, _from_sqlite_time))
        elif kinds.get(name) == "bool":
            converters.append((index, _from_sqlite_bool))
    return namedtuple("Row", columns, rename=True), tuple(converters)  # noqa: PYI024


_kinds: dict[str, str] = {}


def learn_columns(metadata: sa.MetaData) -> None:
    """Note which column names are times and booleans. Called once all tables are registered.

    A name has one meaning in all tables. Raises ValueError where two tables disagree.
    """
    found: dict[str, str] = {}
    for table in metadata.tables.values():
        for column in table.columns:
            kind = {"UtcDateTime": "time", "Boolean": "bool"}.get(type(column.type).__name__, "")
            if found.setdefault(column.name, kind) != kind:
                raise ValueError(f"column {column.name} is a time or boolean in one table only")
    if found != _kinds:
        _kinds.clear()
        _kinds.update(found)
        _shape.cache_clear()


def column_kinds() -> dict[str, str]:
    """Column name to `time`, `bool` or nothing."""
    return _kinds


class SqliteDriver:
    """sqlite3 from the standard library: WAL, `synchronous=FULL`, one writer at a time."""

    name = "sqlite"
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def create_engine(self, url: str, pool_size: int) -> sa.Engine:
        """A pool of connections in the driver's manual mode, so that BEGIN is ours."""
        engine = sa.create_engine(
            url,
            poolclass=sa.QueuePool,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            pool_reset_on_return=None,  # db ends every transaction itself
            connect_args={"check_same_thread": False, "cached_statements": 512},
        )

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            for pragma in (
                "journal_mode=WAL",
                "foreign_keys=ON",
                f"busy_timeout={LOCK_TIMEOUT_MS}",
                "synchronous=FULL",
            ):
                connection.execute(f"PRAGMA {pragma}")

        return engine

    def begin(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]:
        """Take the write lock first; the time is read once it is held."""
        connection.execute("BEGIN IMMEDIATE")
        return clock.now(), self.batch(connection, statements)

    def begin_snapshot(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]:
        """A plain BEGIN: readers and the writer do not meet under WAL."""
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        return clock.now(), self.batch(connection, statements)

    def batch(
        self, connection: Any, statements: Sequence[Statement], *, commit: bool = False
    ) -> list[list[Any]]:
        """One after the other: there is no network between."""
        found = []
        for text, binds in statements:
            cursor = connection.cursor()
            self.execute(cursor, text, binds)
            found.append(self.rows(cursor))
        if commit:
            connection.execute("COMMIT")
        return found

    def rollback(self, connection: Any) -> None:
        """End what is open."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def is_idle(self, connection: Any) -> bool:
        """Whether no transaction is open on it."""
        return not connection.in_transaction

    def interrupt(self, connection: Any) -> bool:
        """Never: a statement has ended when its call has."""
        return False

    def now(self, connection: Any) -> datetime:
        """The file's machine is this one."""
        return clock.now()

    def execute(self, cursor: Any, text: str, binds: Mapping[str, Any]) -> None:
        """Run it, with times as text."""
        cursor.execute(text, _sqlite_binds(binds))

    def execute_many(self, connection: Any, text: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each row."""
        connection.executemany(text, [_sqlite_binds(row) for row in rows])

    def rows(self, cursor: Any) -> list[Any]:
        """All rows."""
        return list(self.each(cursor))

    def row(self, cursor: Any) -> Any | None:
        """The first row; the rest is read and dropped, so that a RETURNING runs to its end."""
        found = self.rows(cursor)
        return found[0] if found else None

    def each(self, cursor: Any) -> Iterator[Any]:
        """Row by row, times and booleans as such."""
        if cursor.description is None:
            return
        make, converters = _shape(tuple(column[0] for column in cursor.description))
        for values in cursor:
            if not converters:
                yield make._make(values)
                continue
            row = list(values)
            for index, convert in converters:
                row[index] = convert(row[index])
            yield make._make(row)

    @contextmanager
    def streaming(self, connection: Any) -> Iterator[Any]:
        """SQLite's cursor steps as it is read."""
        with closing(connection.cursor()) as cursor:
            yield cursor

    def translate(self, fault: Exception) -> Exception:
        """The driver's error as what the unit of work does about it."""
        if isinstance(fault, sqlite3.IntegrityError) and "UNIQUE constraint" in str(fault):
            return Duplicate(str(fault).rpartition(": ")[2])
        code = getattr(fault, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Transient()
        if code is not None and code & 0xFF in _SQLITE_FILE_FAULTS:
            return Busy()
        return fault


def _sqlite_binds(binds: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: sqlite_time(value) if isinstance(value, datetime) else value
        for name, value in binds.items()
    }
