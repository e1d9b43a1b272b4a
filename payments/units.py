"""The unit of work, and the store whose connections it uses. Part of `db`, which gives it out.

A unit begins with its first statement: what is asked `together` travels with the BEGIN, and what is
written `at_commit` travels with the COMMIT, since Python's time per round trip limits a payment.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import exc as sa_exc

from payments import config, drivers
from payments.drivers import ConnectionLost, Driver, Statement, Transient
from payments.errors import Busy, ReadOnly

log = logging.getLogger(__name__)

UNIT_LIMIT_S = 10.0
"""No unit of work outlives this, so what lies 15 s back can't change any more (api.md)."""
CLOSED_AFTER = timedelta(seconds=15)
"""With the commit's own time: what lies this far back no unit can change any more."""
UNIT_TRIES = 6
# Whether an operator has stopped writes. On Postgres a function, so that it is planned once.
STOPPED = {
    "postgresql": Statement("SELECT writes_are_stopped()", {}),
    "sqlite": Statement(
        "SELECT EXISTS (SELECT 1 FROM runtime_settings"
        " WHERE name = 'read_only' AND value_json IS NOT NULL)",
        {},
    ),
}
Row = Any
"""One row: a named tuple of the statement's columns, times aware in UTC on both databases."""
T = TypeVar("T")


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
        except sa_exc.DBAPIError as fault:  # of what SQLAlchemy asks on its first connection
            if not isinstance(fault.orig, self.driver.errors):
                raise
            raise self.driver.translate(fault.orig) from fault
        except self.driver.errors as fault:
            raise self.driver.translate(fault) from fault

    def dispose(self) -> None:
        """Close every pooled connection; the next use opens fresh ones."""
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class Later:
    """A statement that waits for the commit. then: called with its rows once it has run."""

    statement: Statement
    then: Callable[[list[Row]], object] | None


class Unit:
    """One transaction: all of it or nothing. writes: False for a snapshot.

    in_read_only: it may write while all else is stopped (an operator's settings). grown: what
    `totals` counts, once it does.
    """

    def __init__(self, store: Store, *, writes: bool, in_read_only: bool = False) -> None:
        self.store = store
        self.writes = writes
        self._asks_switch = writes and not in_read_only
        self.started = time.monotonic()
        self.effects: list[Callable[[], object]] = []
        self.grown: dict[tuple[str, str], int] | None = None
        self._last: list[Callable[[], object]] = []
        self._pooled: Any = None
        self._now: datetime | None = None
        self._later: list[Later] = []
        self._broken = False
        self._lost = False

    @property
    def now(self) -> datetime:
        """The transaction's time by the database's clock, aware, in UTC. Money is dated by it."""
        if self._now is None:
            self._begin(())
        assert self._now is not None  # noqa: S101 (the begin set it)
        return self._now

    @property
    def connection(self) -> Any:
        """The driver's connection, with the transaction open and all that was queued done."""
        if self._now is None:
            self._begin(())
        if self._later:
            self._flush(commit=False)
        return self._pooled.driver_connection

    def together(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each, in one round trip; with the BEGIN where they come first."""
        if self._now is None:
            return self._begin(statements)
        with self._faults():
            return self.store.driver.batch(self.connection, statements)

    def at_commit(
        self, statement: Statement, then: Callable[[list[Row]], object] | None = None
    ) -> None:
        """Run this in one round trip with the COMMIT, or before the unit's next statement.

        then: called with its rows, before the effects.
        """
        self._later.append(Later(statement, then))

    def before_commit(self, prepare: Callable[[], object]) -> None:
        """Call this when nothing but the COMMIT is left, to queue what closes the unit."""
        self._last.append(prepare)

    def after_commit(self, effect: Callable[[], object]) -> None:
        """Run this once the commit has happened: never for work that was rolled back.

        Effects are hints and messages (a nudge, an SMS). One that fails is logged; the answer
        stands, since the money has moved.
        """
        self.effects.append(effect)

    def commit(self) -> None:
        """Make it true. Raises Busy for a unit past its time, RuntimeError where what waited for
        the commit had failed before and somebody made nothing of it.
        """
        if self._broken:
            raise RuntimeError("a statement of this unit failed: a part of it can't be committed")
        for prepare in self._last:
            prepare()
        if self._now is None and not self._later:
            return
        if self._now is None:
            self._begin(())
        if time.monotonic() - self.started > UNIT_LIMIT_S:
            raise Busy
        try:
            self._flush(commit=True)
        except ConnectionLost:
            log.error("connection lost at the commit; the caller's key settles it")
            raise

    def rollback(self) -> None:
        """Undo all of it; a connection that can't even do that is dropped."""
        self._later.clear()
        if self._now is None:
            return
        connection = self._pooled.driver_connection
        try:
            if self.store.driver.interrupt(connection):
                self._pooled.invalidate()  # the server undoes what was open on it
            else:
                self.store.driver.rollback(connection)
        except self.store.driver.errors:
            log.warning("rollback failed; the connection is dropped", exc_info=True)
            self._pooled.invalidate()

    def close(self) -> None:
        """Give the connection back; one on which a transaction is still open is dropped, since the
        next unit would commit it. So are all of them where the database was lost.
        """
        if self._pooled is None:
            return
        if self._lost:
            if self._pooled.is_valid:
                self._pooled.invalidate()
            self.store.dispose()
        if self._pooled.is_valid and not self.store.driver.is_idle(self._pooled.driver_connection):
            log.error("a transaction was left open; its connection is dropped")
            self._pooled.invalidate()
        self._pooled.close()

    def _flush(self, *, commit: bool) -> None:
        waiting, self._later = self._later, []
        self._broken = True  # until it has gone well: what fails here is no longer in the queue
        with self._faults():
            answers = self.store.driver.batch(
                self._pooled.driver_connection, [one.statement for one in waiting], commit=commit
            )
        self._broken = False
        for one, rows in zip(waiting, answers, strict=True):
            if one.then is not None:
                one.then(rows)

    def _begin(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """BEGIN, on a connection that lives: once more on a fresh one, for nothing is done yet."""
        driver = self.store.driver
        for last in (False, True):
            pooled = self.store.checkout()
            begin = driver.begin if self.writes else driver.begin_snapshot
            try:
                self._now, answers = begin(pooled.driver_connection, self._opening(statements))
            except driver.errors as fault:
                problem = driver.translate(fault)
                try:
                    self._give_up(pooled, problem)
                    if isinstance(problem, ConnectionLost) and not last:
                        self.store.dispose()  # the server restarted: every pooled one is as dead
                        continue
                    raise problem from fault
                finally:
                    del problem  # its traceback holds this frame: the two would keep the cursor
            except BaseException as fault:  # a value that can't be sent: nothing was, or all was
                self._give_up(pooled, fault)
                raise
            self._pooled = pooled
            return self._admitted(answers)
        raise AssertionError("unreachable")

    def _opening(self, statements: Sequence[Statement]) -> Sequence[Statement]:
        """The switch is read in each unit's own transaction: once it is committed, and those that
        began before have ended, nothing writes any more, in whichever process.
        """
        return [STOPPED[self.store.driver.name], *statements] if self._asks_switch else statements

    def _admitted(self, answers: list[list[Row]]) -> list[list[Row]]:
        if not self._asks_switch:
            return answers
        ((stopped,),), *others = answers
        if stopped or config.current().read_only:
            raise ReadOnly("The service takes no writes just now. Reads go on.")
        return others

    def _give_up(self, pooled: Any, problem: BaseException) -> None:
        try:
            if isinstance(problem, ConnectionLost):
                pooled.invalidate()
            else:
                self.store.driver.rollback(pooled.driver_connection)
        except self.store.driver.errors:
            pooled.invalidate()
        finally:
            pooled.close()

    def translated(self, fault: Exception) -> Exception:
        """The driver's error as the house's: to be raised."""
        problem = self.store.driver.translate(fault)
        self._lost = self._lost or isinstance(problem, ConnectionLost)
        return problem

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except self.store.driver.errors as fault:
            raise self.translated(fault) from fault


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


def open_unit() -> Unit | None:
    """The unit or snapshot that is open, or None."""
    return _unit.get()


def is_in_unit() -> bool:
    """Whether a unit or a snapshot is open here."""
    return _unit.get() is not None


def unit() -> Unit:
    """The unit of work that is open. Raises RuntimeError when none is."""
    found = _unit.get()
    if found is None or not found.writes:
        raise RuntimeError("no unit of work is open: the door (api, job, script) opens it")
    return found


def after_commit(effect: Callable[[], object]) -> None:
    """`unit().after_commit`, for short."""
    unit().after_commit(effect)


@contextmanager
def unit_of_work(*, in_read_only: bool = False) -> Iterator[Unit]:
    """Open the one transaction; commit at the end, roll back on any exception.

    in_read_only: it may write while all else is stopped. Else it raises ReadOnly then.
    Raises RuntimeError when one is open already (an inner commit would publish half of its caller's
    work), Busy when the database does not answer in time or the connection is lost, at the commit
    too: then only a retry with the same idempotency key tells what happened.
    """
    if _unit.get() is not None:
        raise RuntimeError("a unit of work is open already; rooms never open one")
    active = Unit(current_store(), writes=True, in_read_only=in_read_only)
    token = _unit.set(active)
    try:
        try:
            yield active
            active.commit()
        except BaseException:
            active.rollback()
            raise
    finally:
        _unit.reset(token)
        active.close()
    _run_effects(active)


def in_unit(work: Callable[[], T], *, in_read_only: bool = False) -> T:
    """Run the work as one unit, the whole again after a deadlock or a serialization failure.

    The work may run several times, so it does nothing outside the database; use `after_commit`.
    Raises Busy after six tries, or when another would outlast the unit's limit.
    """
    begun = time.monotonic()
    for attempt in range(UNIT_TRIES):
        try:
            with unit_of_work(in_read_only=in_read_only):
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
    active = Unit(current_store(), writes=False)
    token = _unit.set(active)
    try:
        _ = active.now  # the moment is now, not the first read's
        yield active
    except active.store.driver.errors as fault:
        raise active.translated(fault) from fault
    finally:
        _unit.reset(token)
        active.rollback()
        active.close()


def _run_effects(active: Unit) -> None:
    for effect in active.effects:
        try:
            effect()
        except Exception:
            log.exception("an effect after the commit failed; the commit stands")
