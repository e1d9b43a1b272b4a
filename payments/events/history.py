"""Reading what happened: newest first, or forward from where a reader has got to.

A unit of work dates its events when it begins and shows them when it commits, at most 10 s later.
So of the last 15 s nobody can say that all is there: a list that reaches nearer is provisional,
and a follower's place stays before them, or it would pass over one that commits late.
"""

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from payments import db
from payments.db import Row, Sql
from payments.errors import NotFound

SETTLED_AFTER = timedelta(seconds=15)
"""What lies further back can't change any more (api.md, "Closed times")."""

Place = tuple[datetime, str]
"""Where a page ended: the `created_at` and `id` of its last row."""

_FIELDS = "SELECT id, type, body, created_at FROM events WHERE merchant_id = :merchant_id"
_GET = Sql(f"{_FIELDS} AND id = :id")


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


def reaches_into_the_open(before: Place | None) -> bool:
    """Whether a page newest first from this place takes in time in which events may still come."""
    return before is None or before[0] > settled_at()


def settled_at() -> datetime:
    """Up to this moment no event can appear any more."""
    return db.now() - SETTLED_AFTER


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
