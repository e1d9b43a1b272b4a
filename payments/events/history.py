"""Reading what happened: newest first, or forward from where a reader has got to.

A unit of work dates its events when it begins and shows them when it commits: within 10 s by its
own clock, later where the commit itself is slow. So of the last 15 s, and of all since the oldest
unit that is still open began, nobody can say that all is there: a list that reaches nearer is
provisional, and a follower's place stays before them, or it would pass over one that commits late.
"""

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from payments import clock
from payments.db import Row, Sql
from payments.errors import NotFound

SETTLED_AFTER = timedelta(seconds=15)
"""What lies further back can't change any more (api.md, "Closed times")."""
WRITES_WITHIN = timedelta(seconds=60)
"""By then a unit has written, if it ever will: it is asked at 10 s, its connection may idle for 10
more, a statement takes 5 at most. A transaction that is older and has written nothing only reads.
"""

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last row."""

_FIELDS = "SELECT id, type, body, created_at FROM events WHERE merchant_id = :merchant_id"
_GET = Sql(f"{_FIELDS} AND id = :id")
# A snapshot and a dump only read, however long that takes.
_SETTLED = Sql(
    "SELECT least(now() - make_interval(secs => CAST(:after_s AS float8)), min(xact_start))"
    " AS settled_at FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND application_name NOT IN ('payments snapshot', 'pg_dump') AND (backend_xid IS NOT NULL"
    " OR xact_start > now() - make_interval(secs => CAST(:within_s AS float8)))",
    sqlite="SELECT :latest AS settled_at",
)


def get(merchant_id: str, event_id: str) -> Row:
    """One of the merchant's events. Raises NotFound."""
    row = _GET.one(id=event_id, merchant_id=merchant_id)
    if row is None:
        raise NotFound
    return row


def newest(merchant_id: str, type: str | None, limit: int, before: Place | None) -> list[Row]:
    """A page of the merchant's events, newest first. type: of this type alone."""
    return _read(merchant_id, type, limit, before, forward=False)


def forward(merchant_id: str, type: str | None, limit: int, after: Place | None) -> list[Row]:
    """A page of the merchant's events in the order in which they happened."""
    return _read(merchant_id, type, limit, after, forward=True)


def reaches_into_the_open(before: Place | None, settled_at: datetime) -> bool:
    """Whether a page newest first from this place takes in time in which events may still come.

    settled_at: as it was before the page was read.
    """
    return before is None or before[0] >= settled_at


def settled_at() -> datetime:
    """Before this moment no event can appear any more. Ask it first, then read the events.

    On Postgres it rests on the server's list of open transactions, which shows a role what that
    role, or one it belongs to, does: all processes of the service connect as one. A transaction
    leaves that list after others can see what it committed, and events bear its `xact_start`.
    SQLite has one writer, which dates its events once it holds the lock: they commit in order.
    """
    found: datetime = _SETTLED.scalar(
        after_s=SETTLED_AFTER.total_seconds(),
        within_s=WRITES_WITHIN.total_seconds(),
        latest=clock.now() - SETTLED_AFTER,
    )
    return found


def event_object(row: Row) -> dict[str, Any]:
    """An event as it was sent: the very members of the webhook's body."""
    shown: dict[str, Any] = json.loads(row.body)
    return shown


def _read(
    merchant_id: str, type: str | None, limit: int, place: Place | None, *, forward: bool
) -> list[Row]:
    binds: dict[str, Any] = {"merchant_id": merchant_id, "limit": limit}
    if type is not None:
        binds["type"] = type
    if place is not None:
        binds |= {"place_at": place[0], "place_id": place[1]}
    return _page(type is not None, place is not None, forward).all(**binds)


@lru_cache(maxsize=8)
def _page(typed: bool, placed: bool, forward: bool) -> Sql:
    text = _FIELDS
    if typed:
        text += " AND type = :type"
    if placed:
        text += f" AND (created_at, id) {'>' if forward else '<'} (:place_at, :place_id)"
    if forward:
        return Sql(text + " ORDER BY created_at, id LIMIT :limit")
    return Sql(text + " ORDER BY created_at DESC, id DESC LIMIT :limit")
