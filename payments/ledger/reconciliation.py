"""Run the whole list of invariants and say all that was found, however much there is.

The database counts and compares; what comes to this process is the findings alone, and of each
invariant at most so many. So memory does not grow with the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from payments import clock, db, successes
from payments.db import Sql
from payments.ledger import invariants
from payments.ledger.invariants import Invariant

SHOWN = 100
"""Findings of each invariant that are shown; all are counted."""

_IN_ALL = "breakers_in_all"
# What serves requests sorts little; with Postgres's 4 MB, sums over all postings go by files on its
# disk, at nearly twice the time.
_ROOMY = Sql("SELECT set_config('work_mem', '32MB', true)", sqlite="SELECT 1")


@dataclass(frozen=True, slots=True)
class Checked:
    """An invariant after its check. count: how many rows break it. shown: the first of them."""

    invariant: Invariant
    count: int
    shown: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """What held and what did not, all at one moment."""

    at: datetime
    checked: list[Checked]

    @property
    def findings(self) -> int:
        """How many rows break an invariant."""
        return sum(each.count for each in self.checked)

    def broken(self) -> dict[str, int]:
        """By the invariant's name how many rows break it, where any does."""
        return {each.invariant.name: each.count for each in self.checked if each.count}


def run(
    shown: int = SHOWN, began: Callable[[int, int, Invariant], object] = lambda *_place: None
) -> Report:
    """Check every invariant over one snapshot, so that a running service causes no false alarm.

    shown: findings to keep of each. began: called before each check with its place, how many there
    are, and which it is. Opens the snapshot itself.
    """
    every = list(invariants.INVARIANTS)
    checked = []
    with db.snapshot() as moment:
        at = moment.now
        _ROOMY.one()
        for place, invariant in enumerate(every, start=1):
            began(place, len(every), invariant)
            checked.append(_check(invariant, shown))
    return Report(at, checked)


def note(report: Report, repaired: int = 0) -> None:
    """Write down that the list was run, in the open unit of work: metrics and alerts read it."""
    detail = {
        "at": clock.to_rfc3339(report.at),
        "invariants": len(report.checked),
        "broken": report.broken(),
        "repaired": repaired,
    }
    successes.record(successes.RECONCILE, findings=report.findings, detail=detail)


def _check(invariant: Invariant, shown: int) -> Checked:
    # The window is counted over all of them before the limit; a cursor would be planned for its
    # first rows, and without parallel workers.
    statement = Sql(
        f"SELECT breakers.*, count(*) OVER () AS {_IN_ALL} FROM ({invariant.sql}) AS breakers"
        " LIMIT :shown"
    )
    rows = [row._asdict() for row in statement.all(shown=shown)]
    count = rows[0][_IN_ALL] if rows else 0
    facts = [{name: _plain(row[name]) for name in row if name != _IN_ALL} for row in rows]
    return Checked(invariant, count, facts)


def _plain(value: Any) -> Any:
    """As JSON has it: sums are whole, whatever type the database gives them."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, datetime):
        return clock.to_rfc3339(value)
    return value
