"""psycopg 3."""

import os
import re
import socket
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from psycopg import generators
from psycopg.adapt import Transformer
from psycopg.pq import Escaping, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
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

# A statement that failed stands in the server's log, with what a BEGIN or COMMIT took along as
# literals, and a duplicate names the value: phones and hashes. A role that may turn that off does;
# for any other the README says what a superuser does once.
_KEEP_OUT_OF_THE_LOG = (
    "SELECT set_config(quiet.name, quiet.value, false)"
    " FROM (VALUES ('log_min_error_statement', 'panic'), ('log_error_verbosity', 'terse'))"
    " AS quiet (name, value) WHERE has_parameter_privilege(quiet.name, 'SET')"
)
_VOID = 2278
"""The type of what a function answers that answers nothing (pg_type.dat)."""
# Which psycopg does not call operational. The first: the server became a replica, and keeps its
# connections.
_GONE = pg.ReadOnlySqlTransaction | pg.IdleInTransactionSessionTimeout | pg.TransactionTimeout


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
                "client_encoding": "utf8",  # literals are quoted as such
                # A server that is gone without a word is noticed within about 12 s, at any moment.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 12_000,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
                f" -c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC"
                f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}"
                " -c log_parameter_max_length_on_error=0",
            },
        )

        @sa.event.listens_for(engine, "do_connect")
        def _named(_dialect: Any, _record: Any, _args: Any, how: dict[str, Any]) -> None:
            """So that on-call sees whose it is in pg_stat_activity; after the fork, not before.

            Of several hosts the one that takes writes is meant, unless the URL says otherwise.
            """
            how["application_name"] = process_name()
            if "," in str(how.get("host")):
                how.setdefault("target_session_attrs", "read-write")

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            connection.rollback()
            connection.autocommit = True
            connection.row_factory = namedtuple_row
            connection.execute(_KEEP_OUT_OF_THE_LOG)

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
            " SET LOCAL statement_timeout = 0; SET LOCAL application_name = 'payments snapshot';"
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
            return [self.rows(cursor) if cursor.description is not None else []]
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

        They are planned at each call: keep them plain. A cursor would cost more time than all of
        them take.
        """
        quoted = Escaping(connection.pgconn).escape_literal
        texts = [_literal_text(text, binds, quoted) for text, binds in statements]
        results = _send(connection, "; ".join([*before, *texts, *after]))
        found = [_rows(connection, result) for result in results]
        if after and results[-1].command_status != b"COMMIT":
            raise psycopg.InternalError("the transaction had failed; nothing was committed")
        return found

    def rollback(self, connection: Any) -> None:
        """End what is open; none open costs no round trip."""
        if connection.closed:
            raise psycopg.OperationalError("the connection is closed")
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.cursor().execute("ROLLBACK")

    def is_idle(self, connection: Any) -> bool:
        """Whether no transaction is open on it. Asks nobody."""
        return bool(connection.pgconn.transaction_status == TransactionStatus.IDLE)

    def interrupt(self, connection: Any) -> bool:
        """End a statement that is still under way, as Ctrl-C leaves it; whether there was one. Then
        no other can be sent on the connection.
        """
        if connection.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return False
        connection.cancel()
        return True

    def now(self, connection: Any) -> datetime:
        """The server's clock."""
        return clock.aware(connection.execute("SELECT clock_timestamp()").fetchone()[0])

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
        if isinstance(fault, psycopg.OperationalError | psycopg.InterfaceError | _GONE):
            return ConnectionLost()
        return fault


def process_name() -> str:
    """Such as `payments gunicorn 12@web-1`: what was started, its process id, its host."""
    program = Path(sys.argv[0]).name or "python"
    return f"payments {program[:20]} {os.getpid()}@{socket.gethostname()[:24]}"


def _send(connection: Any, text: str) -> list[PGresult]:
    """What each statement of the text came to; one that fails is the last."""
    with connection.lock:
        connection.pgconn.send_query(text.encode())
        results: list[PGresult] = connection.wait(generators.execute(connection.pgconn))
    return results


def _rows(connection: Any, result: PGresult) -> list[Any]:
    """The rows of a result, as `namedtuple_row` makes them. Raises psycopg's errors."""
    if result.status == ExecStatus.COMMAND_OK or result.ftype(0) == _VOID:
        return []
    if result.status != ExecStatus.TUPLES_OK:
        raise pg.error_from_result(result, encoding=connection.info.encoding)
    make = _row_type(tuple(result.fname(place) or b"" for place in range(result.nfields)))._make
    loader = Transformer(connection)
    loader.set_pgresult(result)
    return loader.load_rows(0, result.ntuples, make)


@lru_cache(maxsize=256)
def _row_type(names: tuple[bytes, ...]) -> Any:
    return namedtuple("Row", [name.decode() for name in names], rename=True)  # noqa: PYI024


_BIND = re.compile(r"%\((\w+)\)s")


def _literal_text(
    text: str, binds: Mapping[str, Any], quoted: Callable[[bytes], bytes | bytearray | memoryview]
) -> str:
    """The statement with its binds as literals. quoted: libpq's own quoting of a text.

    Raises TypeError for a value that is neither text, whole number, time nor null, and psycopg's
    DataError for a NUL.
    """
    head, *parts = _parts(text)
    found = [head]
    for name, after in parts:
        value = binds[name]
        if isinstance(value, str):
            if "\0" in value:
                raise psycopg.DataError("a text for Postgres can't hold NUL")
            found.append(bytes(quoted(value.encode())).decode())
        elif value is None:
            found.append("NULL")
        elif isinstance(value, int) and not isinstance(value, bool):
            found.append(f"({value})")
        elif isinstance(value, datetime):
            found.append(f"'{clock.aware(value).isoformat()}'::timestamptz")
        else:
            raise TypeError(f"{name} can't be sent with a BEGIN or COMMIT: {type(value)}")
        found.append(after)
    return "".join(found)


@lru_cache(maxsize=512)
def _parts(text: str) -> tuple[Any, ...]:
    """What stands before the first bind; then each bind's name with what stands after it."""
    head, *rest = _BIND.split(text)
    pairs = zip(rest[::2], (after.replace("%%", "%") for after in rest[1::2]), strict=True)
    return head.replace("%%", "%"), *pairs


def _checked(binds: Mapping[str, Any]) -> Mapping[str, Any]:
    """The binds; a naive time among them is refused."""
    for value in binds.values():
        if isinstance(value, datetime):
            clock.aware(value)
    return binds
