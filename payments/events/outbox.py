"""Write an event and what is owed for it, in the transaction that made it true.

On Postgres that is one call (migrations/sql/0001_record_event.sql), on SQLite two statements. Both
travel with the COMMIT, or run before the unit's next statement: record last what can be last.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payments import clock, db, ids, origin, totals
from payments.db import Row, Sql
from payments.events import nudges
from payments.events.types import EVENT_TYPES

API_VERSION = "v1"

_RECORD = Sql(
    "SELECT status FROM record_event(:id, :type, :merchant_id, :object_id, :body, :request_id,"
    " :stamp, :only)",
    sqlite="INSERT INTO events (id, type, merchant_id, object_id, body, request_id, created_at)"
    " VALUES (:id, :type, :merchant_id, :object_id, :body, :request_id, :now)",
    writes=True,
)
# What the function does on Postgres; the id is made as there.
_OWE_ON_SQLITE = Sql("""
INSERT INTO deliveries (id, event_id, endpoint_id, merchant_id, status, attempts, tries,
    next_attempt_at, version, created_at, ended_at)
SELECT 'dlv_' || :stamp || '7' || substr(lower(hex(randomblob(2))), 2)
        || substr('89ab', 1 + abs(random() % 4), 1) || substr(lower(hex(randomblob(8))), 2),
    :id, e.id, e.merchant_id,
    CASE e.status WHEN 'enabled' THEN 'pending' ELSE 'canceled' END, 0, 0,
    CASE e.status WHEN 'enabled' THEN :now END, 1, :now,
    CASE e.status WHEN 'enabled' THEN NULL ELSE :now END
FROM webhook_endpoints e
WHERE e.merchant_id = :merchant_id AND e.status <> 'deleted'
    AND CASE WHEN :only IS NULL THEN e.events = ',*,' OR e.events LIKE '%,' || :type || ',%'
        ELSE e.id = :only END
RETURNING status
""")
_CANCELED_ON_SQLITE = Sql(
    "INSERT INTO metric_totals (name, labels, shard, value)"
    " SELECT :name, :labels, 0, count(*) FROM deliveries"
    " WHERE event_id = :id AND status = 'canceled' HAVING count(*) > 0"
    " ON CONFLICT (name, labels, shard) DO UPDATE SET value = metric_totals.value + excluded.value"
)

DELIVERIES = totals.total(
    "payments_webhook_deliveries_total",
    "Deliveries that came to an end. One that is sent again may come to another.",
    outcome=("delivered", "failed", "canceled"),
)
"""Grown here by what is canceled from the start, for a disabled endpoint; else by `webhooks`."""


def record(
    type: str,
    *,
    merchant_id: str | None,
    object_id: str,
    snapshot: Mapping[str, Any],
    only_endpoint: str | None = None,
) -> str:
    """Record that this happened; gives the event's id. In the open unit of work.

    One delivery for each endpoint of the merchant that wants the type: `pending` and due now,
    `canceled` where the endpoint is disabled. merchant_id None: nobody is told. snapshot: the
    object as the API shows it, of this moment. only_endpoint: owed to that one alone, whatever it
    subscribed to. Raises ValueError for a type that this release does not know.
    """
    if type not in EVENT_TYPES:
        raise ValueError(f"{type} is not among the types of events.types")
    unit = db.unit()
    event_id = ids.new("evt")
    binds = {
        "id": event_id,
        "type": type,
        "merchant_id": merchant_id,
        "object_id": object_id,
        "body": _body(event_id, type, unit.now, snapshot),
        "request_id": origin.current().request_id,
        "stamp": event_id[4:16],
        "only": only_endpoint,
        "now": unit.now,
    }
    if unit.store.is_sqlite:
        unit.at_commit(_RECORD.given(**binds))
        unit.at_commit(_OWE_ON_SQLITE.given(**binds), _nudge_for)
        canceled = DELIVERIES.key(outcome="canceled")
        unit.at_commit(
            _CANCELED_ON_SQLITE.given(id=event_id, name=DELIVERIES.name, labels=canceled)
        )
    else:
        unit.at_commit(_RECORD.given(**binds), _nudge_for)
    return event_id


def _nudge_for(owed: Sequence[Row]) -> None:
    unit = db.unit()
    if any(row.status == "pending" for row in owed) and nudges.nudge not in unit.effects:
        unit.after_commit(nudges.nudge)


def _body(event_id: str, type: str, moment: datetime, snapshot: Mapping[str, Any]) -> str:
    """The webhook's body as it is sent, byte for byte, at every attempt."""
    whole = {
        "id": event_id,
        "object": "event",
        "type": type,
        "api_version": API_VERSION,
        "created_at": clock.to_rfc3339(moment),
        "request_id": origin.current().request_id,
        "data": {"object": snapshot},
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
