"""What a period covers, as people type it: up to and including the last second they name."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from payments import clock

CLOSED_AFTER = timedelta(seconds=15)
"""No unit of work outlives 10 s, so what lies this far back can't change (api.md)."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` (inclusive) up to `end` (exclusive), both aware. last: the end as it was named.

    Months named as 09-01T00:00:00 to 09-30T23:59:59 and 10-01T00:00:00 to 10-31T23:59:59 meet.
    """

    start: datetime
    end: datetime
    last: datetime

    def is_provisional(self, now: datetime) -> bool:
        """Whether what is in it may still change."""
        return self.end > now - CLOSED_AFTER

    def named(self) -> dict[str, str]:
        """`from` and `to` as they were named, in UTC."""
        return dict(_named(self.start, self.last))


def period(start: datetime, last: datetime) -> Period:
    """The period from `start` to `last`, which is in it whole: its second, or where it names
    milliseconds or microseconds, that one.

    Raises ValueError where it would be empty, or beyond what time there is.
    """
    try:
        end = clock.aware(last) + _unit(last)
    except OverflowError:
        raise ValueError("the end lies beyond the year 9999") from None
    if end <= start:
        raise ValueError("the end lies before the beginning")
    return Period(clock.aware(start), end, clock.aware(last))


@lru_cache(maxsize=8)
def _named(start: datetime, last: datetime) -> tuple[tuple[str, str], ...]:
    """Asked for each row of a report."""
    return ("from", clock.to_rfc3339(start)), ("to", clock.to_rfc3339(last))


def _unit(moment: datetime) -> timedelta:
    """How much time the moment names."""
    if moment.microsecond == 0:
        return timedelta(seconds=1)
    if moment.microsecond % 1000 == 0:
        return timedelta(milliseconds=1)
    return timedelta(microseconds=1)
