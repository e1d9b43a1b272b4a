"""Results that wait to be written down: together, and one by one where that did not go.

Together they are one unit, so that one row which somebody holds keeps all of them back. After such
a unit each gets one of its own. Where a commit was not heard of, writing again changes nothing: the
attempt has its id already, and the lease is no longer the delivery's.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from payments import db
from payments.errors import Busy, ReadOnly
from payments.webhooks import results
from payments.webhooks.results import Result

log = logging.getLogger(__name__)

PAUSE_S = 0.5
"""After the database did not answer."""
ROUND_S = 3.0
"""How long a drain stays with those that go one by one, before it looks after the others."""

T = TypeVar("T")


class Unwritten:
    """What has landed in one process and is not written down. One thread at a time."""

    def __init__(self) -> None:
        self._fresh: list[Result] = []
        self._stuck: list[Result] = []
        self._again_at = 0.0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._stuck)

    @property
    def has_fresh(self) -> bool:
        """Whether there are results that no unit has been tried for."""
        return bool(self._fresh)

    @property
    def has_stuck_due(self) -> bool:
        """Whether there are some whose turn it is, one by one."""
        return bool(self._stuck) and time.monotonic() >= self._again_at

    def add(self, landed: Iterable[Result]) -> None:
        """These have just ended."""
        self._fresh += landed

    def write(self, also: Callable[[], T]) -> T:
        """Write what is fresh, in one unit with what else belongs there; that one's answer.

        Raises Busy, ReadOnly: the results are kept, for `write_one_by_one`. What else is raised
        comes after those that can be written have been, each by itself.
        """
        fresh = list(self._fresh)
        try:
            answer = db.in_unit(lambda: _written(fresh, also))
        except (Busy, ReadOnly):
            self._set_aside()
            raise
        except Exception:
            self._set_aside()
            self.write_one_by_one()
            raise
        self._fresh.clear()
        return answer

    def write_one_by_one(self) -> None:
        """Give each that was kept back a unit of its own, as far as `ROUND_S` goes.

        What the database has no answer for stays, behind those that had no turn yet; what can't be
        written at all is let go, and its lease runs out.
        """
        ends = time.monotonic() + ROUND_S
        waiting, again = self._stuck, []
        try:
            while waiting:
                if _write_alone(waiting[0]):
                    waiting.pop(0)
                else:
                    again.append(waiting.pop(0))
                if time.monotonic() >= ends:
                    break
        except ReadOnly:
            log.warning("results wait until writes are allowed again")
        self._stuck = waiting + again
        self._again_at = time.monotonic() + PAUSE_S

    def let_go(self) -> None:
        """A last turn for each, then forget the rest: their leases run out, they are sent again."""
        self._set_aside()
        self.write_one_by_one()
        for result in self._stuck:
            log.warning("a result was not written in time", extra=_named(result))
        self._stuck = []

    def _set_aside(self) -> None:
        self._stuck += self._fresh
        self._fresh.clear()
        self._again_at = time.monotonic() + PAUSE_S


def _written(fresh: Sequence[Result], also: Callable[[], T]) -> T:
    results.record(fresh)
    return also()


def _write_alone(result: Result) -> bool:
    """Whether that is done with. Raises ReadOnly."""
    try:
        db.in_unit(lambda: results.record([result]))
    except ReadOnly:
        raise
    except Busy:
        return False
    except Exception:
        log.exception("a result can't be written; its lease will run out", extra=_named(result))
    return True


def _named(result: Result) -> dict[str, str]:
    return {"delivery_id": result.claim.parcel.delivery_id}
