"""Times: aware, in UTC, and written as RFC 3339 with `Z`.

Money is dated by the database's clock (`db.Unit.now`); this clock is for what never decides about
money: deadlines of sockets, log lines, the expiry inside a token.
"""

import re
from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def now() -> datetime:
    """The present moment, aware, in UTC, by this machine's clock."""
    return datetime.now(UTC)


def aware(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError for a naive one: nobody can say when that was."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError("a time without an offset from UTC is not a moment")
    return moment.astimezone(UTC)


def to_rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`; microseconds are kept, and left out when there are none."""
    return aware(moment).replace(tzinfo=None).isoformat() + "Z"


def parse_rfc3339(text: str) -> datetime:
    """A moment from RFC 3339 text, in UTC; digits past the microsecond are cut.

    Raises ValueError for anything else, a time without an offset included.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-03-01T09:00:00Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as far:
        raise ValueError("the time lies outside the years 1 to 9999") from far
