"""Endpoints that need somebody's eye: what waits for each, what it answers, whose it is."""

from payments import db
from payments.db import Row, Sql
from payments.errors import NotFound
from payments.webhooks import claims

SHOWN = 50
"""Endpoints of one look: those that fail first, the longest failing before all."""
COUNTED = 1_000
"""No further is the backlog of one endpoint counted."""
LOOKED_AT = 200
"""Of the newest deliveries of a merchant; an answer that lies further back is no news."""

_FIELDS = f"""e.id, e.merchant_id, m.name AS merchant_name, e.url, e.events, e.description,
    e.status, e.disabled_reason, e.failures, e.failing_since_at, e.succeeded_at, e.created_at,
    CASE WHEN e.closed_until > :now THEN e.closed_until END AS closed_until,
    (SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id
        AND d.status = 'pending' LIMIT {COUNTED}) AS waiting) AS pending
FROM webhook_endpoints e JOIN merchants m ON m.id = e.merchant_id"""
_LIST = Sql(f"""{claims.WAITING}
SELECT {_FIELDS}
WHERE e.status <> 'deleted' AND coalesce(e.disabled_reason, '') <> 'merchant'
    AND (e.failures > 0 OR e.status = 'disabled' OR e.id IN (SELECT endpoint_id FROM waiting))
ORDER BY CASE WHEN e.status <> 'enabled' THEN 2 WHEN e.failures > 0 THEN 0 ELSE 1 END,
    e.failing_since_at, e.id
LIMIT :limit
""")
_GET = Sql(f"SELECT {_FIELDS} WHERE e.id = :id")
# Sorted by time and not by id alone: else a planner may walk all attempts backwards.
_ANSWERS = Sql("""
SELECT a.id, a.delivery_id, a.number, a.outcome, a.http_status, a.latency_ms, a.response, a.detail,
    a.created_at
FROM (
    SELECT id FROM (SELECT id FROM deliveries WHERE endpoint_id = :id AND status = 'pending'
        ORDER BY next_attempt_at LIMIT :most) AS waiting
    UNION
    SELECT id FROM (SELECT id, endpoint_id FROM deliveries WHERE merchant_id = :merchant_id
        ORDER BY created_at DESC, id DESC LIMIT :most) AS newest WHERE endpoint_id = :id
) AS looked_at JOIN attempts a ON a.delivery_id = looked_at.id
ORDER BY a.created_at DESC, a.id DESC LIMIT :limit
""")


def endpoints() -> list[Row]:
    """At most `SHOWN` that fail, are disabled by us, or have something waiting.

    merchant_name; closed_until: the breaker is open till then, else None; pending: at most
    `COUNTED`; the rest as in the endpoint's row.
    """
    return _LIST.all(after="", limit=SHOWN, now=db.now())


def get(endpoint_id: str) -> Row:
    """Any endpoint, as `endpoints` gives them, deleted ones too. Raises NotFound."""
    row = _GET.one(id=endpoint_id, now=db.now())
    if row is None:
        raise NotFound
    return row


def answers(endpoint: Row, limit: int) -> list[Row]:
    """What the endpoint last answered: attempts, newest first, of its newest deliveries."""
    return _ANSWERS.all(
        id=endpoint.id, merchant_id=endpoint.merchant_id, most=LOOKED_AT, limit=limit
    )
