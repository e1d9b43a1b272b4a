"""What psycopg and sqlite3 do differently, told apart nowhere else.

Part of `db`: it and `units` alone import this. Postgres runs in the driver's autocommit mode with
explicit BEGIN and COMMIT, so that a lone read costs one round trip and a unit's BEGIN brings the
time along. SQLite takes its write lock at BEGIN IMMEDIATE: a lock taken later, by a read that turns
into a write, would fail at once instead of waiting.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

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


class Statement(NamedTuple):
    """A statement's text for one driver, and its binds."""

    text: str
    binds: Mapping[str, Any]


class Driver(Protocol):
    """What `db` needs of a database's driver."""

    name: str
    errors: tuple[type[Exception], ...]

    def create_engine(self, url: str, pool_size: int) -> sa.Engine: ...
    def begin(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]: ...
    def begin_snapshot(
        self, connection: Any, statements: Sequence[Statement]
    ) -> tuple[datetime, list[list[Any]]]: ...
    def batch(
        self, connection: Any, statements: Sequence[Statement], *, commit: bool = False
    ) -> list[list[Any]]: ...
    def rollback(self, connection: Any) -> None: ...
    def is_idle(self, connection: Any) -> bool: ...
    def interrupt(self, connection: Any) -> bool: ...
    def now(self, connection: Any) -> datetime: ...
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
