"""What is owed to endpoints, what was sent and what came back, as its merchant sees it."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from payments.clock import to_rfc3339
from payments.db import Row, Sql, after_commit
from payments.errors import InvalidState, NotFound
from payments.events import nudges
from payments.webhooks.attempts import LOST

STATUSES = ("pending", "delivered", "failed", "canceled")

_FIELDS = (
    "d.id, d.event_id, ev.type AS event_type, d.endpoint_id, d.status, d.attempts,"
    " d.next_attempt_at, d.last_outcome, d.version, d.created_at, d.ended_at"
)
_FROM = "FROM deliveries d JOIN events ev ON ev.id = d.event_id WHERE d.merchant_id = :merchant_id"
_FILTERS = {
    "endpoint": "d.endpoint_id = :endpoint",
    "event": "d.event_id = :event",
    "status": "d.status = :status",
}
_GET = Sql(f"SELECT {_FIELDS} {_FROM} AND d.id = :id")
_OF_EVENT = Sql(f"SELECT {_FIELDS} {_FROM} AND d.event_id = :event AND d.endpoint_id = :endpoint")
_ATTEMPTS = (
    "SELECT id, delivery_id, number, outcome, http_status, latency_ms, response, detail, created_at"
    " FROM attempts WHERE delivery_id = :delivery_id {before} ORDER BY id DESC LIMIT :limit"
)
_FIRST_ATTEMPTS = Sql(_ATTEMPTS.format(before=""))
_NEXT_ATTEMPTS = Sql(_ATTEMPTS.format(before="AND id < :before_id"))
# What was lost before is no loss of the new schedule, whose first is taken over at once.
REVIVED = (
    f"status = 'pending', tries = 0, last_outcome = NULLIF(last_outcome, '{LOST}'),"
    " lease_until = NULL, lease_token = NULL, ended_at = NULL, version = version + 1"
)
"""SQL: what a delivery is after a resend or a requeue: due by a full new schedule, its next loss
the first in a row.
"""
_REVIVE = Sql(
    f"UPDATE deliveries SET next_attempt_at = :now, {REVIVED}"
    " WHERE id = :id AND merchant_id = :merchant_id AND status <> 'pending'"
)
# Locked as an event's deliveries lock it: a disable waits for this, or this sees it.
_ENDPOINT = Sql("SELECT status FROM webhook_endpoints WHERE id = :id FOR NO KEY UPDATE")


def page(
    merchant_id: str,
    filters: Mapping[str, str],
    limit: int,
    before: tuple[datetime, str] | None,
) -> list[Row]:
    """A page of the merchant's deliveries, newest first. filters: endpoint, event, status."""
    place = {} if before is None else {"before_at": before[0], "before_id": before[1]}
    statement = _page(tuple(sorted(filters)), before is not None)
    return statement.all(merchant_id=merchant_id, limit=limit, **filters, **place)


@lru_cache(maxsize=32)
def _page(filters: tuple[str, ...], follows: bool) -> Sql:
    where = "".join(f" AND {_FILTERS[name]}" for name in filters)
    if follows:
        where += " AND (d.created_at, d.id) < (:before_at, :before_id)"
    return Sql(
        f"SELECT {_FIELDS} {_FROM}{where} ORDER BY d.created_at DESC, d.id DESC LIMIT :limit"
    )


def get(merchant_id: str, delivery_id: str) -> Row:
    """One of the merchant's deliveries. Raises NotFound."""
    row = _GET.one(id=delivery_id, merchant_id=merchant_id)
    if row is None:
        raise NotFound
    return row


def of_event(merchant_id: str, event_id: str, endpoint_id: str) -> Row:
    """What that endpoint is owed for that event."""
    return _OF_EVENT.one(merchant_id=merchant_id, event=event_id, endpoint=endpoint_id)


def attempts(
    merchant_id: str, delivery_id: str, limit: int, before: tuple[datetime, str] | None
) -> list[Row]:
    """A page of the delivery's attempts, newest first. Raises NotFound."""
    get(merchant_id, delivery_id)
    if before is None:
        return _FIRST_ATTEMPTS.all(delivery_id=delivery_id, limit=limit)
    return _NEXT_ATTEMPTS.all(delivery_id=delivery_id, limit=limit, before_id=before[1])


def resend(merchant_id: str, delivery_id: str) -> Row:
    """Send it again, whatever became of it: now, and with a full new schedule.

    Status: delivered, failed, canceled -> pending. It keeps its id, and X-Attempt goes on.
    Raises NotFound, InvalidState where it is pending, or its endpoint takes nothing.
    """
    row = get(merchant_id, delivery_id)
    status = _ENDPOINT.scalar(id=row.endpoint_id)
    if status != "enabled":
        raise InvalidState(
            f"The endpoint is {status}. "
            + ("Set its status to enabled first." if status == "disabled" else "It stays so.")
        )
    if _REVIVE.run(id=delivery_id, merchant_id=merchant_id) == 0:
        raise InvalidState("The delivery is pending: it is sent as soon as it is due.")
    after_commit(nudges.nudge)
    return get(merchant_id, delivery_id)


def delivery_object(row: Row) -> dict[str, Any]:
    """A delivery as the API shows it."""
    return {
        "object": "delivery",
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "event": row.event_id,
        "event_type": row.event_type,
        "endpoint": row.endpoint_id,
        "attempts": row.attempts,
        "next_attempt_at": _time(row.next_attempt_at),
        "last_outcome": row.last_outcome,
        "created_at": to_rfc3339(row.created_at),
        "ended_at": _time(row.ended_at),
    }


def attempt_object(row: Row) -> dict[str, Any]:
    """An attempt as the API shows it. response: the first 2 KiB of what came back."""
    return {
        "object": "attempt",
        "id": row.id,
        "delivery": row.delivery_id,
        "number": row.number,
        "outcome": row.outcome,
        "http_status": row.http_status,
        "latency_ms": row.latency_ms,
        "response": row.response,
        "detail": row.detail,
        "created_at": to_rfc3339(row.created_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)
