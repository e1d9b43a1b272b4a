"""Deliveries whose worker never said how it went: it was killed, or it outlived its lease.

Nobody knows whether the receiver got it, so it is sent again, by the same X-Delivery-ID and the
next X-Attempt. The first loss in a row is taken over at once and is no step of the schedule: a
deploy that kills a worker is no fault of the receiver's. Each further one is a failed try like any
other: what kills whoever sends it waits by the schedule, and has failed at its end.
"""

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from payments import db
from payments.db import Row, Sql
from payments.events import outbox
from payments.webhooks import attempts, schedule

log = logging.getLogger(__name__)

# One that is locked is just being written down: its worker came back in the last moment.
_FIND = Sql(
    "SELECT id, lease_token, attempts, tries, last_outcome FROM deliveries"
    " WHERE status = 'pending' AND lease_until <= :now"
    " AND endpoint_id IN (SELECT json_array_elements_text(CAST(:endpoints AS json)))"
    " ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
    sqlite="SELECT id, lease_token, attempts, tries, last_outcome FROM deliveries"
    " WHERE status = 'pending' AND lease_until <= :now"
    " AND endpoint_id IN (SELECT value FROM json_each(:endpoints)) ORDER BY id",
)
_WRITE = Sql(attempts.INSERT)
_GIVE_UP = Sql(
    "UPDATE deliveries SET status = :status, tries = :tries, next_attempt_at = :next_at,"
    " lease_until = NULL, lease_token = NULL, last_outcome = :outcome, ended_at = :ended_at,"
    " version = version + 1 WHERE id = :delivery_id"
)
_DETAIL = (
    "nothing was heard of the worker that had this before its lease ended:"
    " whether it was sent is not known"
)


def settle(endpoint_ids: Iterable[str]) -> None:
    """Give up the leases of these endpoints that have run out, in the open unit of work.

    The endpoints' rows are locked. Status: pending -> pending, due at once or by the schedule, or
    failed.
    """
    moment = db.unit().now
    rows = [
        _attempt(row) | _next(row, moment)
        for row in _FIND.all(endpoints=json.dumps(list(endpoint_ids)))
    ]
    _WRITE.many(rows)
    _GIVE_UP.many(rows)
    outbox.DELIVERIES.grow(sum(row["status"] == "failed" for row in rows), outcome="failed")
    for row in rows:
        log.warning("a lease ran out without a result", extra={"delivery_id": row["delivery_id"]})


def _attempt(row: Row) -> dict[str, Any]:
    return {
        "id": attempts.id_of(row.lease_token, row.id),
        "delivery_id": row.id,
        "number": row.attempts,
        "outcome": attempts.LOST,
        "http_status": None,
        "latency_ms": 0,
        "response": None,
        "detail": _DETAIL,
        "sent_at": attempts.leased_at(row.lease_token),
    }


def _next(row: Row, moment: datetime) -> dict[str, Any]:
    if row.last_outcome != attempts.LOST:
        return {"status": "pending", "tries": row.tries, "next_at": moment, "ended_at": None}
    tries = row.tries + 1
    wait = schedule.wait_s(tries, None)
    if wait is None:
        return {"status": "failed", "tries": tries, "next_at": None, "ended_at": moment}
    due_at = moment + timedelta(seconds=wait)
    return {"status": "pending", "tries": tries, "next_at": due_at, "ended_at": None}
