"""Lists: newest first, by keyset, with a signed cursor that belongs to one caller and one filter.

`{"data": [...], "next_cursor": "..." or null}`. A cursor holds the last row's time and id; its
signature covers whose list it is and how it is filtered, so another's, or one for other filters, is
as good as a forged one.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field

from payments import clock, config, origin
from payments.api import requests
from payments.api.bodies import Body, WholeNumber
from payments.counters import OLD_SECRET_USES
from payments.errors import InvalidCursor

Before = tuple[datetime, str]
"""The place a page starts after: `created_at` and `id` of the last row shown."""


class PageQuery(Body):
    """Query of a list; a list with filters adds its own fields."""

    limit: Annotated[WholeNumber, Field(ge=1, le=100, description="How many at most.")] = 20
    cursor: Annotated[
        str | None,
        Field(max_length=1024, description="`next_cursor` of the page before."),
    ] = None

    def filters(self) -> dict[str, Any]:
        """What was asked beside the page: part of what a cursor is bound to."""
        return self.model_dump(exclude={"limit", "cursor"}, exclude_none=True, mode="json")


def listing(
    query: PageQuery,
    fetch: Callable[[int, Before | None], Sequence[Any]],
    show: Callable[[Any], dict[str, Any]],
    *,
    bound: Sequence[str] = (),
) -> dict[str, Any]:
    """One page. Raises InvalidCursor.

    fetch: at most that many rows after that place, newest first; rows have `created_at` and `id`.
    show: a row as its object. bound: what else the list depends on, such as an id in the path,
    where the path is not enough.
    """
    tie = _tie(query, bound)
    before = _read(query.cursor, tie) if query.cursor is not None else None
    rows = list(fetch(query.limit + 1, before))
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return {
        "data": [show(row) for row in shown],
        "next_cursor": cursor_after(shown[-1], tie) if more else None,
    }


def following(
    query: PageQuery,
    fetch: Callable[[int, Before | None], Sequence[Any]],
    show: Callable[[Any], dict[str, Any]],
    *,
    is_settled: Callable[[Any], bool],
) -> dict[str, Any]:
    """One page forward, oldest first, with a cursor to go on from, always. Raises InvalidCursor.

    is_settled: whether all that came before a row is there. The cursor stays before the first row
    that is not, so that nothing is passed over; such rows come again, and the page is provisional.
    """
    tie = _tie(query, ())
    after = _read(query.cursor, tie) if query.cursor is not None else (clock.EPOCH, "")
    rows = list(fetch(query.limit, after))
    settled = [row for row in rows if is_settled(row)]
    place = (settled[-1].created_at, settled[-1].id) if settled else after
    return {
        "data": [show(row) for row in rows],
        "next_cursor": _cursor(place, tie),
        "provisional": len(settled) < len(rows),
    }


def _tie(query: PageQuery, bound: Sequence[str]) -> str:
    """The list a cursor belongs to, as a hash: path, caller, filters."""
    request = requests.current()
    whole = [request.path, origin.current().actor, query.filters(), *bound]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:22]


@lru_cache(maxsize=8)
def _signer(keys: tuple[str, ...]) -> URLSafeSerializer:
    # itsdangerous signs with the last of a list and reads with all; ours begins with the signer.
    return URLSafeSerializer(list(reversed(keys)), salt="cursor")


def cursor_after(row: Any, tie: str) -> str:
    """The cursor for what follows this row."""
    return _cursor((row.created_at, row.id), tie)


def _cursor(place: Before, tie: str) -> str:
    whole = [tie, clock.to_rfc3339(place[0]), place[1]]
    return str(_signer(config.current().secret_key).dumps(whole))


def _read(cursor: str, tie: str) -> Before:
    try:
        place = _loaded(cursor, config.current().secret_key)
    except BadData:
        raise InvalidCursor from None
    if place[0] != tie:
        raise InvalidCursor
    return clock.parse_rfc3339(place[1]), place[2]


def _loaded(cursor: str, keys: tuple[str, ...]) -> Any:
    """What was signed; counted where it was not by the first key. Raises BadData."""
    try:
        return _signer(keys[:1]).loads(cursor)
    except BadData:
        place = _signer(keys).loads(cursor)
    OLD_SECRET_USES.labels("SECRET_KEY").inc()
    return place
