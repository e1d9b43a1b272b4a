"""Leasing what is due: fairly among endpoints, and never more in flight to one than it may have.

Two statements, in one unit. The first finds endpoints with something due and locks their rows,
passing over those that another worker is just claiming for. The second, which sees what was
committed before it began, counts the endpoint's live leases and takes as many as fit. So the cap
holds over all workers. A lease that has run out is as good as none: its worker is dead.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography.fernet import InvalidToken

from payments import config, db, ids, sealing, totals
from payments.db import Row, Sql
from payments.webhooks import breaker, losses, signing
from payments.webhooks.breaker import Health
from payments.webhooks.sender import Parcel

log = logging.getLogger(__name__)

FIRST_ATTEMPTS = totals.total(
    "payments_webhook_first_attempts_total",
    "Deliveries begun for the first time, by whether that was within 30 s of their event.",
    on_time=("true", "false"),
)
ON_TIME = timedelta(seconds=30)

LEASE_MARGIN_S = 30.0
"""A lease is the deadline of an exchange and this, for what comes before and after it."""

_IS_FREE = "(d.lease_until IS NULL OR d.lease_until <= :now)"
_IS_DUE = f"d.status = 'pending' AND d.next_attempt_at <= :now AND {_IS_FREE}"
_IS_TO_TAKE = "d.status = 'pending' AND d.next_attempt_at <= :now AND d.lease_until IS NULL"
MAY_BE_SENT_TO = "e.status = 'enabled' AND (e.closed_until IS NULL OR e.closed_until <= :now)"
CAP = (
    "(CASE WHEN e.failures > 0 OR e.succeeded_at IS NULL OR e.succeeded_at < :proven"
    f" THEN {breaker.CAP_UNPROVEN} ELSE {breaker.CAP} END)"
)
IN_FLIGHT = (
    "(SELECT count(*) FROM deliveries l WHERE l.endpoint_id = e.id AND l.status = 'pending'"
    " AND l.lease_until > :now)"
)
# A loose index scan: one step for each endpoint that is owed something, however much it is owed.
WAITING = """
WITH RECURSIVE waiting (endpoint_id) AS (
    SELECT * FROM (SELECT d.endpoint_id FROM deliveries d
        WHERE d.status = 'pending' AND d.endpoint_id > :after
        ORDER BY d.endpoint_id LIMIT 1) AS first
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM deliveries d
        WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id
        ORDER BY d.endpoint_id LIMIT 1)
    FROM waiting w WHERE w.endpoint_id IS NOT NULL
)
"""
_READY = f"""{WAITING}
SELECT e.id, e.url, e.secret_sealed, e.old_secret_sealed, e.old_secret_until, e.failures,
    e.failing_since_at, e.closed_until, e.succeeded_at,
    EXISTS (SELECT 1 FROM deliveries l WHERE l.endpoint_id = e.id AND l.status = 'pending'
        AND l.lease_until <= :now) AS has_lost
FROM waiting w JOIN webhook_endpoints e ON e.id = w.endpoint_id
WHERE {MAY_BE_SENT_TO} AND {IN_FLIGHT} < {CAP}
    AND EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND {_IS_DUE})
LIMIT :limit
"""
_PEEK = Sql(_READY)
# NO KEY: an event's deliveries refer to the endpoint and must not wait for this, nor hide it.
_LOCK = Sql(_READY + " FOR NO KEY UPDATE OF e SKIP LOCKED")

STILL_PENDING = "deliveries.status || '' = 'pending'"
"""Of rows whose ids are known. Written so that no index on pending rows seems to be the way: after
a quiet hour the planner takes those for few, and would read all of a backlog for each row.
"""

_LEASE = """
UPDATE deliveries SET lease_until = :until, lease_token = :token, attempts = attempts + 1
WHERE {still_pending} AND lease_until IS NULL AND id IN (
    SELECT id FROM ({chosen}) AS chosen ORDER BY turn, next_attempt_at LIMIT :room)
RETURNING id, event_id, endpoint_id, attempts, tries, created_at,
    (SELECT events.body FROM events WHERE events.id = event_id) AS body
"""
_TURN = "row_number() OVER (PARTITION BY d.endpoint_id ORDER BY d.next_attempt_at, d.id) AS turn"
_TAKE = Sql(
    _LEASE.format(
        still_pending=STILL_PENDING,
        chosen=f"""
        SELECT d.id, d.next_attempt_at, {_TURN} FROM webhook_endpoints e CROSS JOIN LATERAL (
            SELECT d.id, d.endpoint_id, d.next_attempt_at FROM deliveries d
            WHERE d.endpoint_id = e.id AND {_IS_TO_TAKE} ORDER BY d.next_attempt_at, d.id
            LIMIT greatest({CAP} - {IN_FLIGHT}, 0)
        ) AS d
        WHERE e.id IN (SELECT json_array_elements_text(CAST(:endpoints AS json)))""",
    ),
    sqlite=_LEASE.format(
        still_pending=STILL_PENDING,
        chosen=f"""
        SELECT due.id, due.next_attempt_at, due.turn FROM (
            SELECT e.id, {CAP} - {IN_FLIGHT} AS room FROM webhook_endpoints e
            WHERE e.id IN (SELECT value FROM json_each(:endpoints))
        ) AS free JOIN (
            SELECT d.id, d.endpoint_id, d.next_attempt_at, {_TURN} FROM json_each(:endpoints) AS e
            JOIN deliveries d ON d.id IN (SELECT d.id FROM deliveries d
                WHERE d.endpoint_id = e.value AND {_IS_TO_TAKE}
                ORDER BY d.next_attempt_at, d.id LIMIT {breaker.CAP})
        ) AS due ON due.endpoint_id = free.id AND due.turn <= free.room""",
    ),
)
# By endpoint the first that is waiting, not before its breaker closes. Where as much is in flight
# as may be, who works on that looks at the rest when it has ended.
_NEXT = Sql(
    f"""{WAITING}
SELECT min(CASE WHEN e.closed_until > d.next_at THEN e.closed_until ELSE d.next_at END) AS next_at
FROM waiting w JOIN webhook_endpoints e ON e.id = w.endpoint_id AND e.status = 'enabled'
CROSS JOIN LATERAL (SELECT min(d.next_attempt_at) AS next_at FROM deliveries d
    WHERE d.endpoint_id = e.id AND d.status = 'pending' AND {_IS_FREE}) AS d
WHERE {IN_FLIGHT} < {CAP}
""",
    sqlite=f"""{WAITING}
SELECT min(CASE WHEN closed_until > next_at THEN closed_until ELSE next_at END) AS next_at
FROM (SELECT e.closed_until, (SELECT min(d.next_attempt_at) FROM deliveries d
    WHERE d.endpoint_id = e.id AND d.status = 'pending' AND {_IS_FREE}) AS next_at
FROM waiting w JOIN webhook_endpoints e ON e.id = w.endpoint_id AND e.status = 'enabled'
WHERE {IN_FLIGHT} < {CAP})
""",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to send until its lease ends.

    tries: attempts of the present schedule that have failed so far. health: the endpoint's, when
    this was claimed.
    """

    parcel: Parcel
    endpoint_id: str
    token: str
    tries: int
    health: Health


def is_any_ready() -> bool:
    """Whether a claim would find something just now. A lone read."""
    return _PEEK.one(after="", limit=1, proven=_proven(db.now())) is not None


def next_at() -> datetime | None:
    """When the next delivery that nobody works on is due, or was. None when nothing waits."""
    row: Row = _NEXT.one(after="", proven=_proven(db.now()))
    moment: datetime | None = row.next_at
    return moment


def take(room: int, after: str = "") -> tuple[list[Claim], str]:
    """Lease at most so many, in the open unit of work: an endpoint's first before anyone's second.

    after: where the last one ended, as it was given. Where more endpoints have something due than
    there is room for, those that come after are next, so that each has its turn.
    """
    unit = db.unit()
    proven = _proven(unit.now)
    ready = {row.id: row for row in _LOCK.all(after=after, limit=room, proven=proven)}
    if not ready and after:
        return take(room)
    place = max(ready) if len(ready) == room else ""
    if not ready:
        return [], place
    if any(row.has_lost for row in ready.values()):
        losses.settle(ready)
    token = ids.new("lease")
    lease_s = config.current().webhook_timeout_secs + LEASE_MARGIN_S
    taken = _TAKE.all(
        endpoints=json.dumps(list(ready)),
        token=token,
        until=unit.now + timedelta(seconds=lease_s),
        proven=proven,
        room=room,
    )
    _count_first(taken, unit.now)
    return [_claim(row, ready[row.endpoint_id], token) for row in taken], place


def _count_first(taken: Sequence[Row], moment: datetime) -> None:
    for row in taken:
        if row.attempts == 1:
            on_time = moment - row.created_at <= ON_TIME
            FIRST_ATTEMPTS.grow(on_time="true" if on_time else "false")


def _proven(moment: datetime) -> datetime:
    return moment - breaker.PROVEN_FOR


def _claim(row: Row, endpoint: Row, token: str) -> Claim:
    keys = _keys(endpoint)
    parcel = Parcel(row.id, row.event_id, endpoint.url, row.body.encode(), keys, row.attempts)
    health = Health(
        endpoint.failures,
        endpoint.failing_since_at,
        endpoint.closed_until,
        endpoint.succeeded_at,
    )
    return Claim(parcel, row.endpoint_id, token, row.tries, health)


def _keys(endpoint: Row) -> list[bytes]:
    """The keys that sign; none where no ENCRYPTION_KEY fits, so that no other endpoint suffers."""
    sealed = [endpoint.secret_sealed]
    if endpoint.old_secret_until is not None and endpoint.old_secret_until > db.unit().now:
        sealed.append(endpoint.old_secret_sealed)
    try:
        return [_key(secret) for secret in sealed]
    except InvalidToken:
        log.error("no ENCRYPTION_KEY fits this secret", extra={"endpoint_id": endpoint.id})
        return []


@lru_cache(maxsize=1024)
def _key(sealed: str) -> bytes:
    """Unsealing takes as long as signing does ten times, and endpoints are sent to again."""
    return signing.key_of(sealing.unseal(sealed))
