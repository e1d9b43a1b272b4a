"""Several units of work at once on Postgres, each led step by step by the test.

So an interleaving is written down and happens the same way each time, instead of being hoped for.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from flask import Flask

from payments import db
from payments.db import Sql
from tests.children import wait_until

ANSWER_WITHIN_S = 10.0

_PID = Sql("SELECT pg_backend_pid()")
_WAITS = Sql("SELECT count(*) FROM pg_locks WHERE pid = :pid AND NOT granted")


class Session:
    """One unit of work, open until `commits` or `rolls_back`. Steps run in its own thread."""

    def __init__(self, app: Flask) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._context = app.app_context()
        self._stack = ExitStack()
        self._step: Future[Any] | None = None
        self.pid = self._run(self._begin).result(ANSWER_WITHIN_S)

    def _run(self, work: Callable[[], Any]) -> Future[Any]:
        return self._thread.submit(work)

    def _begin(self) -> int:
        self._stack.enter_context(self._context)
        self._stack.enter_context(db.unit_of_work())
        return int(_PID.scalar())

    def does(self, work: Callable[[], Any]) -> Any:
        """Run the step to its end, and give its result."""
        return self._run(work).result(ANSWER_WITHIN_S)

    def starts(self, work: Callable[[], Any]) -> "Session":
        """Start a step that has to wait for another's lock; comes back once it does wait."""
        self._step = self._run(work)
        wait_until(self.waits, "the session to wait for a lock", ANSWER_WITHIN_S)
        return self

    def waits(self) -> bool:
        """Whether it waits for a lock just now."""
        assert self._step is not None
        assert not self._step.done(), f"it went through: {self._step!r}"
        return bool(_WAITS.scalar(pid=self.pid))

    def ends(self) -> Any:
        """The result of the step that had to wait; raises what it raised."""
        assert self._step is not None
        step, self._step = self._step, None
        return step.result(ANSWER_WITHIN_S)

    def has_ended(self) -> bool:
        """Whether the step that had to wait is through."""
        return self._step is not None and self._step.done()

    def commits(self) -> None:
        """Commit the unit."""
        self.does(self._stack.close)

    def rolls_back(self) -> None:
        """End the unit as an exception in it would."""
        self.does(lambda: self._stack.__exit__(*_abandoned()))

    def close(self) -> None:
        """Roll back what is left open, and end the thread."""
        self.rolls_back()
        self._thread.shutdown()


def in_turn(*sessions: Session) -> Iterator[Session]:
    """Each once its step is through, in whatever order that comes to pass."""
    left = list(sessions)
    while left:
        wait_until(lambda: any(one.has_ended() for one in left), "a step to end", ANSWER_WITHIN_S)
        through = next(one for one in left if one.has_ended())
        left.remove(through)
        yield through


Open = Callable[[], Session]


class Abandoned(Exception):
    """What rolls a unit back."""


def _abandoned() -> tuple[type[Abandoned], Abandoned, None]:
    return Abandoned, Abandoned(), None
