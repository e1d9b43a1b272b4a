"""The database: one set of statements on SQLite and Postgres, and the one unit of work.

Models (`db.Model`) describe the tables to migrations and tests. What runs at serving time is `Sql`:
a statement written once as text, compiled for each driver at its first use and sent to the driver
as it is, since Python's time per statement is what limits a payment, not the database.

Inside a unit of work every statement belongs to its transaction. Outside, a read runs alone, and a
write is refused: nothing is written that is not committed together with what it belongs to.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import DeclarativeBase

from payments import clock, drivers
from payments.drivers import ConnectionLost, Driver, Duplicate, Transient
from payments.errors import Busy

__all__ = [
    "Base", "Duplicate", "Row", "Sql", "Store", "Unit", "UtcDateTime", "after_commit",
    "current_store", "db", "in_unit", "now", "one_at_a_time", "snapshot", "unit", "unit_of_work",
    "use",
]  # fmt: skip

log = logging.getLogger(__name__)

UNIT_LIMIT_S = 10.0
"""No unit of work outlives this, so what lies 15 s back can't change any more (api.md)."""
UNIT_TRIES = 6
Row = Any
"""One row: a named tuple of the statement's columns, times aware in UTC on both databases."""
T = TypeVar("T")


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


class Store:
    """One database: its pool of driver connections and what its driver does differently."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.driver: Driver = drivers.for_url(url)
        self.engine = self.driver.create_engine(url, pool_size)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the development database. Only the ledger's statement asks."""
        return self.driver.name == "sqlite"

    def checkout(self) -> Any:
        """A pooled driver connection. Raises Busy when none is free within the pool's time."""
        try:
            return self.engine.raw_connection()
        except sa_exc.TimeoutError as full:
            raise Busy from full
        except self.driver.errors as fault:
            raise self.driver.translate(fault) from fault

    def dispose(self) -> None:
        """Close every pooled connection; the next use opens fresh ones."""
        self.engine.dispose()


class Unit:
    """One transaction: all of it or nothing.

    now: the transaction's time by the database's clock, aware, in UTC. Money is dated by it.
    """

    def __init__(self, store: Store, connection: Any, moment: datetime, *, writes: bool) -> None:
        self.store = store
        self.connection = connection
        self.now = moment
        self.writes = writes
        self.started = time.monotonic()
        self.effects: list[Callable[[], object]] = []

    def after_commit(self, effect: Callable[[], object]) -> None:
        """Run this once the commit has happened: never for work that was rolled back.

        Effects are hints and messages (a nudge, an SMS). One that fails is logged; the answer
        stands, since the money has moved.
        """
        self.effects.append(effect)


_store: ContextVar[Store | None] = ContextVar("store", default=None)
_unit: ContextVar[Unit | None] = ContextVar("unit", default=None)


def use(store: Store) -> None:
    """Make this the database of the present context. `payments.app` calls it, nobody else."""
    _store.set(store)


def current_store() -> Store:
    """The database of the present app. Raises RuntimeError outside an app context."""
    store = _store.get()
    if store is None:
        raise RuntimeError("no database here: work inside the context of an app (create_app)")
    return store


def unit() -> Unit:
    """The unit of work that is open. Raises RuntimeError when none is."""
    found = _unit.get()
    if found is None or not found.writes:
        raise RuntimeError("no unit of work is open: the door (api, job, script) opens it")
    return found


def after_commit(effect: Callable[[], object]) -> None:
    """`unit().after_commit`, for short."""
    unit().after_commit(effect)


def now() -> datetime:
    """The database's clock: the unit's time inside one, else asked of the database."""
    found = _unit.get()
    if found is not None:
        return found.now
    return current_store().driver.now(current_store().checkout)


class Sql:
    """A statement written once, for both databases.

    Binds are `:name`. SQLite gets the same text without `FOR UPDATE …`, or the text given as
    `sqlite`. `:now` is bound to the database's time where the caller passes none. `writes` marks a
    SELECT that writes (a call of a function).
    """

    def __init__(self, text: str, *, sqlite: str | None = None, writes: bool = False) -> None:
        self.text = text
        self.writes = writes or drivers.is_write(text)
        self._compiled = {
            "postgresql": drivers.compile_postgres(text),
            "sqlite": drivers.compile_sqlite(sqlite or text),
        }
        self._wants_now = ":now" in (text + (sqlite or ""))

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
            raise driver.translate(fault) from fault

    def stream(self, **binds: Any) -> Iterator[Row]:
        """Rows one by one, flat in memory, inside `snapshot()`."""
        active = _unit.get()
        if active is None:
            raise RuntimeError("stream() needs snapshot(): one moment for all its rows")
        driver = active.store.driver
        with driver.streaming(active.connection) as cursor:
            driver.execute(cursor, self._compiled[driver.name], self._bound(binds))
            yield from driver.each(cursor)

    def _bound(self, binds: dict[str, Any]) -> dict[str, Any]:
        if self._wants_now and "now" not in binds:
            binds["now"] = now()
        return binds

    def _execute(self, binds: dict[str, Any], take: Callable[[Driver, Any], T]) -> T:
        active = _unit.get()
        if active is None:
            return self._alone(self._bound(binds), take)
        if self.writes and not active.writes:
            raise RuntimeError("a write inside snapshot(): it only reads")
        driver = active.store.driver
        try:
            cursor = active.connection.cursor()
            driver.execute(cursor, self._compiled[driver.name], self._bound(binds))
            return take(driver, cursor)
        except driver.errors as fault:
            raise driver.translate(fault) from fault

    def _alone(self, binds: dict[str, Any], take: Callable[[Driver, Any], T]) -> T:
        if self.writes:
            raise RuntimeError("a write outside a unit of work would not be all or nothing")
        store = current_store()
        for last in (False, True):
            connection = store.checkout()
            try:
                cursor = connection.driver_connection.cursor()
                store.driver.execute(cursor, self._compiled[store.driver.name], binds)
                return take(store.driver, cursor)
            except store.driver.errors as fault:
                problem = store.driver.translate(fault)
                if isinstance(problem, ConnectionLost):
                    connection.invalidate()
                    if not last:  # a read may simply be asked again, on a fresh connection
                        store.dispose()
                        continue
                raise problem from fault
            finally:
                connection.close()
        raise AssertionError("unreachable")


_ALONE = Sql(
    "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", sqlite="SELECT 1", writes=True
)


def one_at_a_time(name: str) -> None:
    """Until this unit ends, no other that asks for the same name goes on, in any process.

    For what is counted and then written: two that counted at once would both find room. Take it
    before any row. SQLite has one writer, which is as much. Raises Busy (`lock_timeout`).
    """
    _ALONE.one(name=name)


@contextmanager
def unit_of_work() -> Iterator[Unit]:
    """Open the one transaction; commit at the end, roll back on any exception.

    Raises RuntimeError when one is open already (an inner commit would publish half of its caller's
    work), Busy when the database does not answer in time or the connection is lost, at the commit
    too: then only a retry with the same idempotency key tells what happened.
    """
    if _unit.get() is not None:
        raise RuntimeError("a unit of work is open already; rooms never open one")
    store = current_store()
    connection, moment = _begin(store)
    active = Unit(store, connection.driver_connection, moment, writes=True)
    token = _unit.set(active)
    try:
        try:
            yield active
            _commit(store, active)
        except BaseException:
            _rollback(store, connection)
            raise
    finally:
        _unit.reset(token)
        connection.close()
    _run_effects(active)


def in_unit(work: Callable[[], T]) -> T:
    """Run the work as one unit, the whole again after a deadlock or a serialization failure.

    The work may run several times, so it does nothing outside the database; use `after_commit`.
    Raises Busy after six tries, or when another would outlast the unit's limit.
    """
    begun = time.monotonic()
    for attempt in range(UNIT_TRIES):
        try:
            with unit_of_work():
                return work()
        except Transient:
            if attempt == UNIT_TRIES - 1 or time.monotonic() - begun > UNIT_LIMIT_S / 2:
                raise
            # Jitter, so that two which collided do not collide again in step.
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
    raise AssertionError("unreachable")


@contextmanager
def snapshot() -> Iterator[Unit]:
    """Reads that all see one moment. Nothing can be written; no time limit on a statement."""
    if _unit.get() is not None:
        raise RuntimeError("a unit of work is open already; it sees its own moment")
    store = current_store()
    connection = store.checkout()
    try:
        moment = store.driver.begin_snapshot(connection.driver_connection)
        token = _unit.set(Unit(store, connection.driver_connection, moment, writes=False))
        try:
            yield unit_of_snapshot()
        finally:
            _unit.reset(token)
    except store.driver.errors as fault:
        raise store.driver.translate(fault) from fault
    finally:
        _rollback(store, connection)
        connection.close()


def unit_of_snapshot() -> Unit:
    """The snapshot that is open. Raises RuntimeError when none is."""
    found = _unit.get()
    if found is None:
        raise RuntimeError("no snapshot is open")
    return found


def _begin(store: Store) -> tuple[Any, datetime]:
    for last in (False, True):
        connection = store.checkout()
        try:
            return connection, store.driver.begin(connection.driver_connection)
        except store.driver.errors as fault:
            problem = store.driver.translate(fault)
            if isinstance(problem, ConnectionLost):
                connection.invalidate()
            connection.close()
            if isinstance(problem, ConnectionLost) and not last:
                store.dispose()  # the server restarted: every pooled connection is as dead
                continue
            raise problem from fault
    raise AssertionError("unreachable")


def _commit(store: Store, active: Unit) -> None:
    if time.monotonic() - active.started > UNIT_LIMIT_S:
        raise Busy
    try:
        store.driver.commit(active.connection)
    except store.driver.errors as fault:
        problem = store.driver.translate(fault)
        if isinstance(problem, ConnectionLost):
            log.error("connection lost at the commit; the caller's key settles it")
        raise problem from fault


def _rollback(store: Store, connection: Any) -> None:
    try:
        store.driver.rollback(connection.driver_connection)
    except store.driver.errors:
        log.warning("rollback failed; the connection is dropped", exc_info=True)
        connection.invalidate()


def _run_effects(active: Unit) -> None:
    for effect in active.effects:
        try:
            effect()
        except Exception:
            log.exception("an effect after the commit failed; the commit stands")
