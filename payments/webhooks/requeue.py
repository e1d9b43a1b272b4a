"""On-call makes deliveries that have ended due again, many at once and never all at once.

Each keeps its id, which receivers dedupe by, and gets a full new schedule, as by `resend`; their
first attempts are spread over time by a rate. Whoever asks twice, or is stopped half way, does no
harm: what was requeued is `pending` and is not found again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from payments import audit, clock, db, origin
from payments.db import Row, Sql, after_commit
from payments.events import nudges
from payments.webhooks.deliveries import REVIVED

STATUSES = ("failed", "canceled", "delivered")
"""What may be requeued; `pending` is due as it is."""
RATE = 10
"""First attempts a second."""
AT_ONCE = 500
"""Deliveries of one unit of work."""
GROUPS = 200
"""Lines of a preview: the largest ones."""

_FILTERS = {
    "endpoint": "d.endpoint_id = :endpoint",
    "event_type": "ev.type = :event_type",
    "since": "d.created_at >= :since",
    "until": "d.created_at <= :until",
}
_FROM = (
    "FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id{events}"
    " WHERE d.status = :status{filters}"
)
_AGE = (
    "CASE WHEN d.created_at > :hour THEN 'under an hour' WHEN d.created_at > :day THEN"
    " 'under a day' WHEN d.created_at > :week THEN 'under a week' ELSE 'older' END"
)
_PREVIEW = (
    "SELECT endpoint, endpoint_status, age, last_outcome, count(*) AS deliveries,"
    " CAST(sum(count(*)) OVER () AS bigint) AS matched, CAST(sum(CASE WHEN endpoint_status ="
    " 'enabled' THEN 0 ELSE count(*) END) OVER () AS bigint) AS unsendable"
    " FROM (SELECT d.endpoint_id AS endpoint, e.status AS endpoint_status,"
    f" {_AGE} AS age, d.last_outcome {{from_}}) AS wanted"
    " GROUP BY endpoint, endpoint_status, age, last_outcome"
    " ORDER BY deliveries DESC, endpoint, age, last_outcome LIMIT :limit"
)
_CHOOSE = (
    "SELECT d.id, d.created_at {from_} AND e.status = 'enabled'"
    " AND (d.created_at, d.id) > (:after_at, :after_id) ORDER BY d.created_at, d.id LIMIT :limit"
)
# Locked as an event's deliveries and a disable lock it, in the order that results are written in:
# endpoints by id, then deliveries. Who is disabled meanwhile is passed over, or waits for this.
_ENDPOINTS = (
    "SELECT id FROM webhook_endpoints WHERE status = 'enabled' AND id IN"
    " (SELECT endpoint_id FROM deliveries WHERE id IN ({ids})) ORDER BY id FOR NO KEY UPDATE"
)
_STANDING = (
    "SELECT id FROM deliveries WHERE id IN ({ids}) AND endpoint_id IN ({endpoints})"
    " AND status = :status ORDER BY created_at, id FOR NO KEY UPDATE"
)
_POSTGRES = "SELECT json_array_elements_text(CAST(:{} AS json))"
_SQLITE = "SELECT value FROM json_each(:{})"
_REVIVE = Sql(f"UPDATE deliveries SET next_attempt_at = :due_at, {REVIVED} WHERE id = :id")


def _listed(text: str) -> Sql:
    """The statement with its lists of ids as each database takes them."""
    names = ("ids", "endpoints")
    return Sql(
        text.format(**{name: _POSTGRES.format(name) for name in names}),
        sqlite=text.format(**{name: _SQLITE.format(name) for name in names}),
    )


_LOCK_ENDPOINTS, _LOCK_STANDING = _listed(_ENDPOINTS), _listed(_STANDING)

Place = tuple[datetime, str]
"""Where a choice ended: the `created_at` and `id` of its last delivery."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries. since, until: when they were created, both inclusive."""

    status: str = "failed"
    endpoint: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def filters(self) -> dict[str, Any]:
        """What was asked beside the status."""
        given = {name: getattr(self, name) for name in _FILTERS}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Preview:
    """What is wanted, by endpoint, age and last answer. unsendable: their endpoint is not enabled,
    so they stay as they are. groups: endpoint, endpoint_status, age, last_outcome, deliveries; the
    largest `GROUPS`.
    """

    matched: int
    unsendable: int
    groups: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Requeued:
    """How many are due again, and when the first and the last of them are."""

    count: int
    first_at: datetime | None
    last_at: datetime | None


def preview(wanted: Wanted) -> Preview:
    """What `choose` would give in the end, and what it would not. A pass over the deliveries."""
    now = db.now()
    ages = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
    rows = _statement(_PREVIEW, tuple(wanted.filters())).all(
        status=wanted.status,
        limit=GROUPS,
        **wanted.filters(),
        **{name: now - age for name, age in ages.items()},
    )
    if not rows:
        return Preview(0, 0, [])
    names = ("endpoint", "endpoint_status", "age", "last_outcome", "deliveries")
    groups = [{name: getattr(row, name) for name in names} for row in rows]
    return Preview(rows[0].matched, rows[0].unsendable, groups)


def choose(wanted: Wanted, limit: int, after: Place | None = None) -> list[Row]:
    """At most so many that are wanted and can be sent, the oldest first: `id`, `created_at`.

    after: those that follow that one.
    """
    after_at, after_id = after or (clock.EPOCH, "")
    return _statement(_CHOOSE, tuple(wanted.filters())).all(
        status=wanted.status,
        limit=limit,
        after_at=after_at,
        after_id=after_id,
        **wanted.filters(),
    )


def make_due(
    wanted: Wanted, ids: Sequence[str], first_at: datetime, rate: int = RATE, place: int = 0
) -> Requeued:
    """Let these be sent again, in the open unit of work, with a line in the audit trail.

    `failed`, `canceled`, `delivered` -> `pending`; those that have left the wanted status since
    they were chosen, or whose endpoint is no longer enabled, are passed over. The first is due at
    `first_at`, `rate` a second from there on; place: how many of them come before these.
    """
    listed = json.dumps(list(ids))
    endpoints = [row.id for row in _LOCK_ENDPOINTS.all(ids=listed)]
    standing = _LOCK_STANDING.all(ids=listed, endpoints=json.dumps(endpoints), status=wanted.status)
    times = [first_at + timedelta(seconds=n / rate) for n in range(place, place + len(standing))]
    _REVIVE.many([{"id": row.id, "due_at": due} for row, due in zip(standing, times, strict=True)])
    requeued = Requeued(len(standing), times[0] if times else None, times[-1] if times else None)
    _write_down(wanted, requeued, rate)
    if standing:
        after_commit(nudges.nudge)
    return requeued


def _write_down(wanted: Wanted, requeued: Requeued, rate: int) -> None:
    who = origin.current()
    asked = {name: _plain(value) for name, value in wanted.filters().items()}
    audit.record(
        who.actor,
        "deliveries.requeue",
        wanted.endpoint,
        before={"status": wanted.status, **asked},
        after={
            "requeued": requeued.count,
            "rate": rate,
            "first_at": _plain(requeued.first_at),
            "last_at": _plain(requeued.last_at),
        },
        request_id=who.request_id,
    )


def _plain(value: Any) -> Any:
    return clock.to_rfc3339(value) if isinstance(value, datetime) else value


@lru_cache(maxsize=64)
def _statement(text: str, filters: tuple[str, ...]) -> Sql:
    from_ = _FROM.format(
        events=" JOIN events ev ON ev.id = d.event_id" if "event_type" in filters else "",
        filters="".join(f" AND {_FILTERS[name]}" for name in filters),
    )
    return Sql(text.format(from_=from_))
