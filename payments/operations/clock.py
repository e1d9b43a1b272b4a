"""The clock: what happens from time to time, driven by rows, so that nothing lives in one process.

`periodic_tasks` says when each task is next due. Every clock that runs (one beside each worker; in
the web processes where there is no Redis) looks there; one conditional UPDATE decides which of them
runs the task. A clock that dies in the middle leaves a lease that runs out.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from payments import db, origin, settings
from payments.db import Sql
from payments.errors import Busy, ReadOnly
from payments.events import nudges

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often a clock looks whether something is due."""
LEASE_S = 60.0
"""How long a task may be silent before another clock takes it over; each is much shorter."""

# A task that has come to be due more often is not held to the time it had before.
_ADD = Sql(
    "INSERT INTO periodic_tasks (name, next_run_at) VALUES (:name, :now)"
    " ON CONFLICT (name) DO UPDATE SET next_run_at = :latest"
    " WHERE periodic_tasks.next_run_at > :latest"
)
_KNOWN = Sql("SELECT name, next_run_at, lease_until FROM periodic_tasks")
# A time further ahead than any that is ever written now was written while the database's clock was
# ahead. It is due: else sweep, expiry and all else stood still for as long as the clock was wrong.
_CLAIM = Sql(
    "UPDATE periodic_tasks SET lease_until = :until, lease_token = :token WHERE name = :name"
    " AND (next_run_at <= :now OR next_run_at > :latest)"
    " AND (lease_until IS NULL OR lease_until <= :now OR lease_until > :until)"
)
_FINISH = Sql(
    "UPDATE periodic_tasks SET next_run_at = :next, lease_until = NULL, lease_token = NULL,"
    " last_run_at = :now, last_error = :error WHERE name = :name AND lease_token = :token"
)


@dataclass(frozen=True, slots=True)
class Task:
    """Something to be done about every so many seconds, in the context of the app, outside a unit.

    It may run twice, and in two processes at once where a lease ran out: it must be safe to.
    hears: it also runs as soon as something in this process asked for it (`events.nudges`).
    lease_s: for so long a clock that was killed in the middle of it keeps the task from the others.
    apart: it takes long, so it has a thread of its own and keeps nothing else waiting; a process
    that ends does not wait for it, so it must only read, or write at its end in one unit.
    """

    name: str
    every_s: float
    run: Callable[[], object]
    hears: bool = False
    lease_s: float = LEASE_S
    apart: bool = False

    def is_due(self, row: db.Row, moment: datetime) -> bool:
        """Whether its time has come and nobody has it; also where a clock that was ahead wrote a
        time that none would write now. row: its `next_run_at` and `lease_until`.
        """
        due = not moment < row.next_run_at <= moment + timedelta(seconds=self.every_s)
        until = row.lease_until
        return due and (
            until is None or not moment < until <= moment + timedelta(seconds=self.lease_s)
        )


class Clock:
    """A thread that runs what is due. context: opens the app's context, once for each look."""

    def __init__(
        self, context: Callable[[], AbstractContextManager[object]], tasks: Sequence[Task]
    ) -> None:
        self._context = context
        self._tasks = {task.name: task for task in tasks}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._apart: list[threading.Thread] = []

    def start(self) -> None:
        """Begin. After a fork, never before: threads do not survive it."""
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Run nothing more, and return when what runs has ended, or is given up."""
        ends = time.monotonic() + timeout_s
        self._stopping.set()
        nudges.heard.set()
        for thread in (self._thread, *self._apart):
            thread.join(max(0.0, ends - time.monotonic()))

    def tick(self) -> int:
        """Run what is due, one after the other; gives how many ran. Nothing while read-only."""
        if settings.is_read_only():
            return 0
        due = self._due()
        return sum(self._claimed(task) for task in due if not self._stopping.is_set())

    def _run(self) -> None:
        known = False
        while not self._stopping.is_set():
            try:
                with self._context(), origin.acting("job:clock"):
                    if not known and not settings.is_read_only():
                        db.in_unit(self._introduce)
                        known = True
                    self._listen()
                    self.tick()
            except ReadOnly:  # switched on between a look and what it led to
                self._stopping.wait(LOOK_S)
            except Busy:
                log.warning("the clock can't reach the database; it goes on trying")
                self._stopping.wait(LOOK_S)
            except Exception:
                log.exception("the clock stumbled; it goes on")
                self._stopping.wait(LOOK_S)
            nudges.heard.wait(LOOK_S)

    def _introduce(self) -> None:
        for name, task in sorted(self._tasks.items()):
            _ADD.run(name=name, latest=_later(task.every_s))

    def _listen(self) -> None:
        """A nudge of this very process: run what hears it, without waiting for its time."""
        if not nudges.heard.is_set() or settings.is_read_only():
            return
        nudges.heard.clear()
        for task in self._tasks.values():
            if task.hears and not self._stopping.is_set():
                self._do(task)

    def _due(self) -> list[Task]:
        """What a claim would find just now."""
        known = [row for row in _KNOWN.all() if row.name in self._tasks]
        moment = db.now()
        return [self._tasks[row.name] for row in known if self._tasks[row.name].is_due(row, moment)]

    def _claimed(self, task: Task) -> bool:
        token = secrets.token_hex(8)
        claimed = db.in_unit(
            lambda: _CLAIM.run(
                name=task.name,
                token=token,
                until=_later(task.lease_s),
                latest=_later(task.every_s),
            )
        )
        if claimed and task.apart:
            self._apart = [thread for thread in self._apart if thread.is_alive()]
            self._apart.append(
                threading.Thread(target=self._do_apart, args=(task, token), name=task.name)
            )
            self._apart[-1].daemon = True
            self._apart[-1].start()
        elif claimed:
            self._do_and_finish(task, token)
        return bool(claimed)

    def _do_apart(self, task: Task, token: str) -> None:
        try:
            with self._context():
                self._do_and_finish(task, token)
        except Exception:
            log.exception("a periodic task could not be finished", extra={"task": task.name})

    def _do_and_finish(self, task: Task, token: str) -> None:
        error = self._do(task)
        db.in_unit(
            lambda: _FINISH.run(
                name=task.name,
                token=token,
                error=error,
                next=_later(task.every_s),
            )
        )

    def _do(self, task: Task) -> str | None:
        """Run it; gives the name of what it failed with. A failure waits for its next time."""
        try:
            with origin.acting(f"job:{task.name}"):
                task.run()
        except ReadOnly:
            return ReadOnly.__name__
        except Exception as fault:
            log.exception("a periodic task failed", extra={"task": task.name})
            return type(fault).__name__
        return None


def _later(seconds: float) -> datetime:
    return db.unit().now + timedelta(seconds=seconds)
