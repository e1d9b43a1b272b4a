"""Writing down how attempts ended, many at a time.

An attempt is recorded always. It counts only while the lease it was made under is still the
delivery's: else it changes neither the delivery nor what is known of its endpoint, so that a worker
that comes back late undoes nothing. Locks are taken in one order everywhere: endpoints by id, then
deliveries by id.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from payments import db, totals
from payments.db import Sql
from payments.events import outbox
from payments.webhooks import attempts, breaker, endpoints, schedule
from payments.webhooks.breaker import Health
from payments.webhooks.claims import STILL_PENDING, Claim
from payments.webhooks.sender import Answer

GONE = 410

ATTEMPTS = totals.total(
    "payments_webhook_attempts_total",
    "Attempts to deliver, by how they ended.",
    outcome=(
        *("success", "http_3xx", "http_4xx", "http_5xx"),
        *("timeout", "dns", "tls", "connect", "blocked"),
    ),
)
LIVE_ATTEMPTS = totals.total(
    "payments_webhook_live_attempts_total",
    "Attempts to endpoints that took something within a day: a dead shop is not our outage.",
    outcome=("success", "failure"),
)

_SETTLED = "tries = tries + 1, lease_until = NULL, lease_token = NULL, version = version + 1"
# All of a batch in one statement: what each row costs Python and the wire is more than the rows do.
# `standing` locks the deliveries by id, before anything is written: who gives up a lost lease locks
# the delivery before it writes the attempt, too. What it gives: ids of attempts that were not there
# yet (or only as lost), and of those whose lease was still the delivery's.
_WRITE = Sql(
    f"""
WITH given AS (
    SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r (
        id text, delivery_id text, token text, status text, next_at timestamptz,
        ended_at timestamptz, number integer, outcome text, http_status integer,
        latency_ms integer, response text, detail text, sent_at timestamptz)
), standing AS (
    SELECT id FROM deliveries WHERE {STILL_PENDING}
        AND id IN (SELECT delivery_id FROM given) ORDER BY id FOR NO KEY UPDATE
), attempt AS (
    {
        attempts.insert(
            "SELECT id, delivery_id, number, outcome, http_status, latency_ms, response, detail,"
            " sent_at FROM given WHERE (SELECT count(*) FROM standing) >= 0"
        )
    } RETURNING id
), settled AS (
    UPDATE deliveries SET status = given.status, next_attempt_at = given.next_at,
        last_outcome = given.outcome, ended_at = given.ended_at, {_SETTLED}
    FROM standing JOIN given ON given.delivery_id = standing.id
    WHERE deliveries.id = standing.id AND deliveries.lease_token = given.token AND {STILL_PENDING}
    RETURNING given.id
)
SELECT id, true AS is_new FROM attempt UNION ALL SELECT id, false FROM settled"""
)
_WRITE_ATTEMPT = Sql(f"{attempts.INSERT} RETURNING id")
_SETTLE = Sql(
    "UPDATE deliveries SET status = :status, next_attempt_at = :next_at, last_outcome = :outcome,"
    f" ended_at = :ended_at, {_SETTLED}"
    " WHERE id = :delivery_id AND lease_token = :token AND status = 'pending'"
)
_HEALTH = Sql(
    "SELECT id, failures, failing_since_at, closed_until, succeeded_at FROM webhook_endpoints"
    " WHERE id IN (SELECT json_array_elements_text(CAST(:ids AS json)))"
    " ORDER BY id FOR NO KEY UPDATE",
    sqlite="SELECT id, failures, failing_since_at, closed_until, succeeded_at"
    " FROM webhook_endpoints WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id",
)
_NOTE = Sql(
    "UPDATE webhook_endpoints SET failures = :failures, failing_since_at = :since,"
    " closed_until = :closed, succeeded_at = :succeeded WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claim."""

    claim: Claim
    answer: Answer

    @property
    def success(self) -> bool:
        """Whether the receiver took it."""
        return self.answer.outcome == "success"


def record(results: Sequence[Result]) -> None:
    """Write attempts, deliveries and the endpoints' health, in the open unit of work.

    A 410, or five days of nothing but failures, disables the endpoint.
    """
    if not results:
        return
    moment = db.unit().now
    known = _known_of_the_news(results, moment)
    ordered = sorted(results, key=lambda result: result.claim.parcel.delivery_id)
    rows = [_attempt(result) | _settled(result, moment) for result in ordered]
    new, settled = _write(rows)
    counting = _by_endpoint([one for one in results if _id(one) in settled])
    health = _note_health(known, counting, moment)
    _count(results, [row for row in rows if row["id"] in new], moment)
    for row in rows:
        if row["id"] in settled and row["status"] != "pending":
            outbox.DELIVERIES.grow(outcome=row["status"])
    for endpoint_id, found in sorted(counting.items() if known else ()):
        gone = [one.claim.parcel.url for one in found if one.answer.http_status == GONE]
        if gone:
            endpoints.disable(endpoint_id, "gone", url=gone[-1])
        elif endpoint_id in health and breaker.has_failed_for_good(health[endpoint_id], moment):
            endpoints.disable(endpoint_id, "failing")


def _known_of_the_news(results: Sequence[Result], moment: datetime) -> dict[str, Health]:
    """What is known of those endpoints whose results are news, their rows locked."""
    news = [
        id
        for id, found in _by_endpoint(results).items()
        if breaker.is_news(found[-1].claim.health, [one.success for one in found], moment)
    ]
    if not news:
        return {}
    return {
        row.id: Health(row.failures, row.failing_since_at, row.closed_until, row.succeeded_at)
        for row in _HEALTH.all(ids=json.dumps(news))
    }


def _write(rows: Sequence[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """Write them; the ids of the attempts that are new here, and of those whose lease stood.

    A result may come twice (see `unwritten`); a delivery may be there under two leases.
    """
    if db.unit().store.is_sqlite:
        new = {row["id"] for row in rows if _WRITE_ATTEMPT.one(**row) is not None}
        return new, {row["id"] for row in rows if _SETTLE.run(**row)}
    written = _WRITE.all(rows=json.dumps(rows, default=datetime.isoformat))
    return {row.id for row in written if row.is_new}, {row.id for row in written if not row.is_new}


def _count(results: Sequence[Result], new: Sequence[dict[str, Any]], moment: datetime) -> None:
    """Let the totals of attempts grow by those that are new."""
    live = {
        result.claim.parcel.delivery_id
        for result in results
        if breaker.is_live(result.claim.health, moment)
    }
    for row in new:
        ATTEMPTS.grow(outcome=row["outcome"])
        if row["delivery_id"] in live:
            well = row["outcome"] == "success"
            LIVE_ATTEMPTS.grow(outcome="success" if well else "failure")


def _by_endpoint(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[result.claim.endpoint_id].append(result)
    return found


def _note_health(
    known: Mapping[str, Health], counting: Mapping[str, Sequence[Result]], moment: datetime
) -> dict[str, Health]:
    """Write the health of the endpoints that are known, after the results that count; give it."""
    health = {
        id: breaker.after(before, [one.success for one in counting[id]], moment)
        for id, before in known.items()
        if id in counting
    }
    _NOTE.many(
        [
            {
                "id": id,
                "failures": found.failures,
                "since": found.failing_since_at,
                "closed": found.closed_until,
                "succeeded": found.succeeded_at,
            }
            for id, found in health.items()
        ]
    )
    return health


def _settled(result: Result, moment: datetime) -> dict[str, Any]:
    """The delivery's next status: delivered, pending with a later time, or failed for good."""
    claim, answer = result.claim, result.answer
    status, next_at = "delivered", None
    if not result.success:
        status = "failed"
        wait = schedule.wait_s(claim.tries + 1, answer.retry_after_s)
        if wait is not None and answer.http_status != GONE:
            status, next_at = "pending", moment + timedelta(seconds=wait)
    return {
        "delivery_id": claim.parcel.delivery_id,
        "token": claim.token,
        "status": status,
        "next_at": next_at,
        "outcome": answer.outcome,
        "ended_at": None if status == "pending" else moment,
    }


def _id(result: Result) -> str:
    """The attempt's."""
    return attempts.id_of(result.claim.token, result.claim.parcel.delivery_id)


def _attempt(result: Result) -> dict[str, Any]:
    claim, answer = result.claim, result.answer
    return {
        "id": _id(result),
        "delivery_id": claim.parcel.delivery_id,
        "number": claim.parcel.attempt,
        "outcome": answer.outcome,
        "http_status": answer.http_status,
        "latency_ms": answer.latency_ms,
        "response": answer.response,
        "detail": answer.detail,
        "sent_at": answer.sent_at,
    }
