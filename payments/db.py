"""The database: one set of statements on SQLite and Postgres, and the one unit of work.

Models (`db.Model`) describe the tables to migrations and tests. What runs at serving time is `Sql`:
a statement written once as text, compiled for each driver at its first use and sent to the driver
as it is, since Python's time per statement is what limits a payment, not the database.

Inside a unit of work every statement belongs to its transaction. Outside, a read runs alone, and a
write is refused: nothing is written that is not committed together with what it belongs to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, mapped_column

from payments import clock, drivers
from payments.drivers import ConnectionLost, Driver, Duplicate, Statement
from payments.units import (
    CLOSED_AFTER,
    UNIT_LIMIT_S,
    Row,
    Store,
    Unit,
    after_commit,
    current_store,
    in_unit,
    is_in_unit,
    open_unit,
    snapshot,
    unit,
    unit_of_work,
    use,
)

__all__ = [
    "BROUGHT", "CLOSED_AFTER", "UNIT_LIMIT_S", "Base", "Duplicate", "Long", "Row", "Sql",
    "Statement", "Store", "Unit", "UtcDateTime", "Version", "after_commit", "at_commit", "brought",
    "current_store", "db", "in_unit", "is_in_unit", "now", "one_at_a_time", "snapshot", "together",
    "unit", "unit_of_work", "use",
]  # fmt: skip

T = TypeVar("T")


Long = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text of any length, such as JSON. Like all text it is compared byte by byte on both databases."""
Version = Annotated[int, mapped_column(sa.BigInteger)]
"""Grows with each change of its row. A restore raises it past any that was ever shown, by time."""


class Base(DeclarativeBase):
    """All tables. Constraints are named by rule, so that migrations can name them too."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


Base.registry.update_type_annotation_map(
    {str: sa.String().with_variant(sa.String(collation="C"), "postgresql")}
)
db = SQLAlchemy(model_class=Base)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware time, kept in UTC: timestamptz on Postgres, text that sorts by time on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a naive time: nobody can say later when that was."""
        if value is None:
            return None
        moment = clock.aware(value)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """SQLite knows no offsets: what it gives back is UTC, since only UTC went in."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else clock.aware(value)


BROUGHT = "substr(request_id, 1, 4) <> 'rid_'"
"""SQL: the request's id is one that its caller brought. Ours bear their time and need no index."""


def brought(name: str) -> sa.Index:
    """An index of the request ids that callers brought, in time order: one may be of many rows."""
    where = sa.text(BROUGHT)
    return sa.Index(
        name, "request_id", "created_at", "id", postgresql_where=where, sqlite_where=where
    )


def now() -> datetime:
    """The database's clock: the unit's time inside one, else asked of the database."""
    found = open_unit()
    if found is not None:
        return found.now
    return _alone(lambda store, connection: store.driver.now(connection))


_TIMES = {"now": timedelta(0), "closed": CLOSED_AFTER}


class Sql:
    """A statement written once, for both databases.

    Binds are `:name`. SQLite gets the same text without `FOR UPDATE …`, or the text given as
    `sqlite`. `:now` is bound to the database's time where the caller passes none, and `:closed` to
    `CLOSED_AFTER` before it. `writes` marks a SELECT that writes (a call of a function).
    """

    def __init__(self, text: str, *, sqlite: str | None = None, writes: bool = False) -> None:
        self.text = text
        self.writes = writes or drivers.is_write(text)
        self._compiled = {
            "postgresql": drivers.compile_postgres(text),
            "sqlite": drivers.compile_sqlite(sqlite or text),
        }
        self._wants = {
            driver: {name for name in _TIMES if f":{name}" in wanted}
            for driver, wanted in (("postgresql", text), ("sqlite", sqlite or text))
        }

    def all(self, **binds: Any) -> list[Row]:
        """Every row."""
        return self._execute(binds, lambda driver, cursor: driver.rows(cursor))

    def one(self, **binds: Any) -> Row | None:
        """The first row, or None."""
        return self._execute(binds, lambda driver, cursor: driver.row(cursor))

    def scalar(self, **binds: Any) -> Any:
        """The first column of the first row, or None."""
        found = self.one(**binds)
        return None if found is None else found[0]

    def run(self, **binds: Any) -> int:
        """Execute and say how many rows it touched."""
        return self._execute(binds, lambda driver, cursor: int(cursor.rowcount))

    def many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once for each mapping of binds."""
        if not rows:
            return
        active = unit()
        driver = active.store.driver
        try:
            driver.execute_many(active.connection, self._compiled[driver.name], rows)
        except driver.errors as fault:
            raise active.translated(fault) from fault

    def stream(self, **binds: Any) -> Iterator[Row]:
        """Rows one by one, flat in memory, inside `snapshot()`."""
        active = open_unit()
        if active is None:
            raise RuntimeError("stream() needs snapshot(): one moment for all its rows")
        driver = active.store.driver
        with driver.streaming(active.connection) as cursor:
            driver.execute(cursor, self._compiled[driver.name], self._bound(binds))
            yield from driver.each(cursor)

    def given(self, **binds: Any) -> Statement:
        """With its binds, for `together` and `at_commit`."""
        return Statement(self._compiled[current_store().driver.name], self._bound(binds))

    def _bound(self, binds: dict[str, Any]) -> dict[str, Any]:
        missing = self._wants[current_store().driver.name] - binds.keys()
        if missing:
            moment = now()
            binds |= {name: moment - _TIMES[name] for name in missing}
        return binds

    def _execute(self, binds: dict[str, Any], take: Callable[[Driver, Any], T]) -> T:
        active = open_unit()
        if active is None:
            return self._outside(self._bound(binds), take)
        if self.writes and not active.writes:
            raise RuntimeError("a write inside snapshot(): it only reads")
        driver = active.store.driver
        try:
            cursor = active.connection.cursor()
            try:
                driver.execute(cursor, self._compiled[driver.name], self._bound(binds))
                return take(driver, cursor)
            except driver.errors:
                cursor.close()  # whoever keeps the error keeps the cursor, and SQLite its file open
                raise
        except driver.errors as fault:
            raise active.translated(fault) from fault

    def _outside(self, binds: dict[str, Any], take: Callable[[Driver, Any], T]) -> T:
        if self.writes:
            raise RuntimeError("a write outside a unit of work would not be all or nothing")

        def asked(store: Store, connection: Any) -> T:
            cursor = connection.cursor()
            store.driver.execute(cursor, self._compiled[store.driver.name], binds)
            return take(store.driver, cursor)

        return _alone(asked)


def _alone(ask: Callable[[Store, Any], T]) -> T:
    """Ask on a connection outside any unit; once more on a fresh one where it turns out dead."""
    store = current_store()
    for last in (False, True):
        connection = store.checkout()
        try:
            return ask(store, connection.driver_connection)
        except store.driver.errors as fault:
            problem = store.driver.translate(fault)
            if isinstance(problem, ConnectionLost):
                connection.invalidate()
                if not last:
                    store.dispose()
                    continue
            raise problem from fault
        finally:
            connection.close()
    raise AssertionError("unreachable")


_ONE_AT_A_TIME = Sql(
    "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", sqlite="SELECT 1", writes=True
)


def one_at_a_time(name: str) -> None:
    """Until this unit ends, no other that asks for the same name goes on, in any process.

    For what is counted and then written: two that counted at once would both find room. Take it
    before any row. SQLite has one writer, which is as much. Raises Busy (`lock_timeout`).
    """
    _ONE_AT_A_TIME.one(name=name)


def together(*statements: Statement) -> list[list[Row]]:
    """The rows of each (`Sql.given`), in one round trip in the open unit of work.

    With its BEGIN where they come first. On Postgres they are planned at each call.
    """
    return unit().together(statements)


def at_commit(statement: Statement, then: Callable[[list[Row]], object] | None = None) -> None:
    """`unit().at_commit`, for short: run it in one round trip with the COMMIT."""
    unit().at_commit(statement, then)
