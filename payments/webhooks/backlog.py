"""What waits to be sent, for whoever is on call, and what should have been sent by now."""

from datetime import timedelta

from payments import db, settings
from payments.db import Sql
from payments.gauges import Reading, gauge
from payments.webhooks import breaker, claims

GRACE = timedelta(seconds=30)
"""A delivery past its time by no more than this is on its way: a sweep comes every few seconds."""
COUNTED = 100_000
"""No scrape counts further: there, a hundred thousand and a million need the same hands."""
COUNTED_EACH = 1_000

FAILING_AFTER = timedelta(minutes=5)
"""An endpoint that has only failed for so long is down, whoever's fault that is."""

_STATES = Sql(
    "SELECT CASE WHEN status <> 'enabled' THEN 'disabled' WHEN failing_since_at <= :since"
    " THEN 'failing' ELSE 'ok' END AS state, count(*) AS endpoints FROM webhook_endpoints"
    " WHERE status <> 'deleted' GROUP BY state"
)
_PENDING = Sql(
    "SELECT count(*) FROM"
    " (SELECT 1 FROM deliveries WHERE status = 'pending' LIMIT :most) AS waiting"
)
_OVERDUE = Sql(f"""{claims.WAITING}
SELECT CAST(coalesce(sum((SELECT count(*) FROM (SELECT 1 FROM deliveries d
    WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.next_attempt_at <= :late
    AND (d.lease_until IS NULL OR d.lease_until <= :late) LIMIT :most) AS late)), 0) AS bigint)
FROM waiting w JOIN webhook_endpoints e ON e.id = w.endpoint_id
WHERE {claims.MAY_BE_SENT_TO} AND {claims.IN_FLIGHT} < {claims.CAP}
""")


@gauge(
    "payments_webhook_backlog",
    f"Deliveries that wait for their next attempt; {COUNTED} stands for as many or more.",
)
def pending() -> int:
    """Pending deliveries, at most `COUNTED`."""
    return int(_PENDING.scalar(most=COUNTED))


@gauge(
    "payments_webhook_overdue",
    "Deliveries past their time that neither a cap, a breaker nor read-only holds back; of each"
    f" endpoint at most {COUNTED_EACH}.",
)
def overdue() -> int:
    """Should be 0: else nobody sends, or nobody keeps up."""
    if settings.is_read_only():
        return 0
    now = db.now()
    return int(
        _OVERDUE.scalar(
            after="", now=now, late=now - GRACE, most=COUNTED_EACH, proven=now - breaker.PROVEN_FOR
        )
    )


@gauge("payments_webhook_endpoints", "Endpoints, by how they are.", "state")
def states() -> Reading:
    """`ok`; `failing`: nothing but failures for five minutes; `disabled`."""
    found = dict.fromkeys(("ok", "failing", "disabled"), 0)
    for row in _STATES.all(since=db.now() - FAILING_AFTER):
        found[row.state] = int(row.endpoints)
    return [((state,), count) for state, count in found.items()]
