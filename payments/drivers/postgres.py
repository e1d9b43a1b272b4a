"""psycopg 3."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from psycopg.pq import Escaping, TransactionStatus
from psycopg.rows import namedtuple_row

from payments import clock
from payments.drivers.base import (
    CONNECT_TIMEOUT_S,
    IDLE_TIMEOUT_MS,
    LOCK_TIMEOUT_MS,
    POOL_TIMEOUT_S,
    STATEMENT_TIMEOUT_MS,
    ConnectionLost,
    Duplicate,
    LockTimeout,
    Statement,
    Transient,
)
from payments.errors import Busy


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

    def begin(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]:
        """BEGIN, the transaction's time, and the statements, in one round trip."""
        return self._begin(connection, "BEGIN; SELECT now()", statements)

    def begin_snapshot(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]:
        """One moment for many reads, however long they take."""
        return self._begin(
            connection,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            " SET LOCAL statement_timeout = 0;"
            " SET LOCAL idle_in_transaction_session_timeout = 0; SELECT now()",
            statements,
        )

    def _begin(
        self, connection: Any, opening: str, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]:
        found = self._in_one_trip(connection, [opening], statements, [])
        answers = found[len(found) - len(statements) :]
        return clock.aware(found[-len(statements) - 1][0][0]), answers

    def batch(
        self, connection: Any, statements: Sequence[Statement], *, commit: bool = False
    ) -> list[list[Any]]:
        """The rows of each. With commit, an aborted transaction's ROLLBACK is no success."""
        if not commit and len(statements) == 1:
            cursor = connection.cursor()
            self.execute(cursor, *statements[0])
            return [self._rows_of(cursor)]
        return self._in_one_trip(connection, [], statements, ["COMMIT"] if commit else [])[
            : len(statements)
        ]

    def _in_one_trip(
        self,
        connection: Any,
        before: list[str],
        statements: Sequence[Statement],
        after: list[str],
    ) -> list[list[Any]]:
        """By the simple protocol, which takes several statements at once, their values as literals.

        They are planned at each call: keep them plain.
        """
        cursor = psycopg.ClientCursor(connection)
        quoted = Escaping(connection.pgconn).escape_literal
        texts = [_literal_text(text, binds, quoted) for text, binds in statements]
        cursor.execute("; ".join([*before, *texts, *after]))
        found = [self._rows_of(cursor)]
        while cursor.nextset():
            found.append(self._rows_of(cursor))
        if after and cursor.statusmessage != "COMMIT":
            raise psycopg.InternalError("the transaction had failed; nothing was committed")
        return found

    def _rows_of(self, cursor: Any) -> list[Any]:
        return [] if cursor.description is None else list(cursor.fetchall())

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
        cursor.execute(text, _checked(binds))

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


_PART = re.compile(r"%\((\w+)\)s|%%")


def _literal_text(
    text: str, binds: Mapping[str, Any], quoted: Callable[[bytes], bytes | bytearray | memoryview]
) -> str:
    """The statement with its binds as literals. quoted: libpq's own quoting of a text.

    Raises TypeError for a value that is neither text, whole number, time nor null, and psycopg's
    DataError for a NUL.
    """

    def literal(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%"
        value = binds[match[1]]
        if value is None:
            return "NULL"
        if isinstance(value, int) and not isinstance(value, bool):
            return f"({value})"
        if isinstance(value, datetime):
            return f"'{clock.aware(value).isoformat()}'::timestamptz"
        if not isinstance(value, str):
            raise TypeError(f"{match[1]} can't be sent with a BEGIN or COMMIT: {type(value)}")
        if "\0" in value:
            raise psycopg.DataError("a text for Postgres can't hold NUL")
        return bytes(quoted(value.encode())).decode()

    return _PART.sub(literal, text)


def _checked(binds: Mapping[str, Any]) -> Mapping[str, Any]:
    """The binds; a naive time among them is refused."""
    for value in binds.values():
        if isinstance(value, datetime):
            clock.aware(value)
    return binds
