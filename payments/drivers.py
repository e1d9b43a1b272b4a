"""What psycopg and sqlite3 do differently, told apart nowhere else.

Part of `db`: it alone imports this. Postgres runs in the driver's autocommit mode with explicit
BEGIN and COMMIT, so that a lone read costs one round trip and a unit's BEGIN brings the time along.
SQLite takes its write lock at BEGIN IMMEDIATE: a lock taken later, by a read that turns into a
write, would fail at once instead of waiting.
"""

import re
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row

from payments import clock
from payments.errors import Busy

STATEMENT_TIMEOUT_MS = 5_000
LOCK_TIMEOUT_MS = 2_000
IDLE_TIMEOUT_MS = 10_000
POOL_TIMEOUT_S = 2
CONNECT_TIMEOUT_S = 2

_BIND = re.compile(r"'[^']*'|(?<![:\w]):([a-z_][a-z0-9_]*)")
_LOCKING = re.compile(r"\bFOR\s+(NO\s+KEY\s+)?UPDATE(\s+OF\s+\w+)?(\s+SKIP\s+LOCKED)?", re.I)
_WRITE = re.compile(r"\b(INSERT|UPDATE|DELETE)\b", re.I)


class Transient(Busy):
    """Deadlock, serialization failure or a busy SQLite: the whole unit may run again."""


class ConnectionLost(Busy):
    """The connection is gone. What it had not committed is undone; a commit may have happened."""


class Duplicate(Exception):
    """A unique constraint refused the row. On Postgres the unit is lost with it: let it pass up."""


class LockTimeout(Busy):
    """A lock was not to be had within `lock_timeout`."""


class Driver(Protocol):
    """What `db` needs of a database's driver."""

    name: str
    errors: tuple[type[Exception], ...]

    def create_engine(self, url: str, pool_size: int) -> sa.Engine: ...
    def begin(self, connection: Any) -> datetime: ...
    def begin_snapshot(self, connection: Any) -> datetime: ...
    def commit(self, connection: Any) -> None: ...
    def rollback(self, connection: Any) -> None: ...
    def now(self, checkout: Callable[[], Any]) -> datetime: ...
    def execute(self, cursor: Any, text: str, binds: Mapping[str, Any]) -> None: ...
    def execute_many(
        self, connection: Any, text: str, rows: Sequence[Mapping[str, Any]]
    ) -> None: ...
    def rows(self, cursor: Any) -> list[Any]: ...
    def row(self, cursor: Any) -> Any | None: ...
    def each(self, cursor: Any) -> Iterator[Any]: ...
    def streaming(self, connection: Any) -> Any: ...
    def translate(self, fault: Exception) -> Exception: ...


def is_write(text: str) -> bool:
    """Whether the statement writes or locks."""
    return _WRITE.search(text) is not None


def compile_postgres(text: str) -> str:
    """`:name` as psycopg spells it; a literal % doubled."""
    return _BIND.sub(
        lambda m: f"%({m.group(1)})s" if m.group(1) else m.group(0), text.replace("%", "%%")
    )


def compile_sqlite(text: str) -> str:
    """SQLite reads `:name` as it stands; its one writer needs no row locks."""
    return _LOCKING.sub("", text)


def for_url(url: str) -> Driver:
    """The driver of a database URL."""
    return SqliteDriver() if sa.make_url(url).get_backend_name() == "sqlite" else PostgresDriver()


class PostgresDriver:
    """psycopg 3 on Postgres 15 or newer."""

    name = "postgresql"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def create_engine(self, url: str, pool_size: int) -> sa.Engine:
        """A pool of autocommit connections with the service's time limits."""
        engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            pool_reset_on_return=None,  # db ends every transaction itself
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
                f" -c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC"
                f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}",
            },
        )

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            connection.rollback()
            connection.autocommit = True
            connection.row_factory = namedtuple_row

        return engine

    def begin(self, connection: Any) -> datetime:
        """BEGIN, and the transaction's time in the same round trip."""
        return self._begin(connection, "BEGIN; SELECT now()")

    def begin_snapshot(self, connection: Any) -> datetime:
        """One moment for many reads, however long they take."""
        return self._begin(
            connection,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            " SET LOCAL statement_timeout = 0;"
            " SET LOCAL idle_in_transaction_session_timeout = 0; SELECT now()",
        )

    def _begin(self, connection: Any, text: str) -> datetime:
        cursor = connection.cursor()
        cursor.execute(text)
        while cursor.nextset():
            pass
        return clock.aware(cursor.fetchone()[0])

    def commit(self, connection: Any) -> None:
        """COMMIT; an aborted transaction answers it with ROLLBACK, which is no success."""
        cursor = connection.cursor()
        cursor.execute("COMMIT")
        if cursor.statusmessage != "COMMIT":
            raise psycopg.InternalError("the transaction had failed; nothing was committed")

    def rollback(self, connection: Any) -> None:
        """End what is open; none open costs no round trip."""
        if connection.closed:
            raise psycopg.OperationalError("the connection is closed")
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.cursor().execute("ROLLBACK")

    def now(self, checkout: Callable[[], Any]) -> datetime:
        """The server's clock."""
        with closing(checkout()) as connection:
            return clock.aware(
                connection.driver_connection.execute("SELECT clock_timestamp()").fetchone()[0]
            )

    def execute(self, cursor: Any, text: str, binds: Mapping[str, Any]) -> None:
        """One round trip. A naive time is refused."""
        for value in binds.values():
            if isinstance(value, datetime):
                clock.aware(value)
        cursor.execute(text, binds)

    def execute_many(self, connection: Any, text: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """All rows in one round trip (the driver pipelines them)."""
        connection.cursor().executemany(text, rows)

    def rows(self, cursor: Any) -> list[Any]:
        """All rows."""
        return list(cursor.fetchall())

    def row(self, cursor: Any) -> Any | None:
        """The first row."""
        return cursor.fetchone()

    def each(self, cursor: Any) -> Iterator[Any]:
        """Row by row."""
        yield from cursor

    @contextmanager
    def streaming(self, connection: Any) -> Iterator[Any]:
        """A server-side cursor: the client holds one batch at a time."""
        with connection.cursor(name="stream") as cursor:
            cursor.itersize = 2_000
            yield cursor

    def translate(self, fault: Exception) -> Exception:
        """The driver's error as what the unit of work does about it."""
        if isinstance(fault, pg.DeadlockDetected | pg.SerializationFailure):
            return Transient()
        if isinstance(fault, pg.UniqueViolation):
            return Duplicate(fault.diag.constraint_name or "")
        if isinstance(fault, pg.LockNotAvailable):
            return LockTimeout()
        if isinstance(fault, pg.QueryCanceled | pg.TooManyConnections):
            return Busy()
        if isinstance(fault, psycopg.OperationalError | psycopg.InterfaceError):
            return ConnectionLost()
        return fault


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

    def begin(self, connection: Any) -> datetime:
        """Take the write lock first; the time is read once it is held."""
        connection.execute("BEGIN IMMEDIATE")
        return clock.now()

    def begin_snapshot(self, connection: Any) -> datetime:
        """A plain BEGIN: readers and the writer do not meet under WAL."""
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        return clock.now()

    def commit(self, connection: Any) -> None:
        """COMMIT."""
        connection.execute("COMMIT")

    def rollback(self, connection: Any) -> None:
        """End what is open."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def now(self, checkout: Callable[[], Any]) -> datetime:
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
