"""Whom a time of trouble has hit, from rows: payments that ran out or came late, webhooks that did.

Counts and the ids of merchants; never a phone. Rows are found by their ids, which are in the order
of time, so that a look at an hour does not read years.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from payments.db import Row, Sql, now

WEBHOOK_LATE = timedelta(seconds=30)
"""A first attempt later than this after its event is late: the objective of delivery."""
_APART = timedelta(minutes=5)
"""Processes make ids, the database dates rows: so far may their clocks be apart."""

_PAYMENTS = Sql(
    "SELECT merchant_id, coalesce(customer_phone, customer_id) AS payer, status, created_at,"
    " expires_at, paid_at FROM payments WHERE id >= :first AND id < :last"
    " AND created_at >= :start AND created_at <= :end"
)
_DELIVERIES = Sql(
    "SELECT deliveries.id, webhook_endpoints.merchant_id, deliveries.status, deliveries.created_at,"
    " deliveries.endpoint_id FROM deliveries"
    " JOIN webhook_endpoints ON webhook_endpoints.id = deliveries.endpoint_id"
    " WHERE deliveries.id >= :first AND deliveries.id < :last"
    " AND deliveries.created_at >= :start AND deliveries.created_at <= :end"
)
_ATTEMPTS = Sql(
    "SELECT attempts.delivery_id, attempts.number, attempts.outcome, attempts.created_at,"
    " deliveries.created_at AS event_at, webhook_endpoints.merchant_id, deliveries.endpoint_id"
    " FROM attempts JOIN deliveries ON deliveries.id = attempts.delivery_id"
    " JOIN webhook_endpoints ON webhook_endpoints.id = deliveries.endpoint_id"
    " WHERE attempts.id >= :first AND attempts.id < :last"
    " AND attempts.created_at >= :start AND attempts.created_at <= :end"
)


@dataclass
class Step:
    """What happened within one step of the window. at: its beginning."""

    at: datetime
    asked: int = 0
    paid: int = 0
    attempts: int = 0
    attempts_failed: int = 0


@dataclass
class Hit:
    """What rows say of a window.

    asked: payments that were asked for in it, by what they are now; `late`: paid, but more than
    `late_s` after that. payers: known customers of those that ran out or were late. deliveries: of
    events in it, by what they are now; `late`: first attempted more than 30 s after their event.
    attempts: in it, by outcome. merchants: by id, counts of what went wrong for each.
    """

    late_s: int
    steps: list[Step]
    asked: Counter[str] = field(default_factory=Counter)
    payers: set[str] = field(default_factory=set)
    deliveries: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    endpoints: set[str] = field(default_factory=set)
    merchants: dict[str, Counter[str]] = field(default_factory=dict)

    def wrong(self, merchant_id: str, what: str) -> None:
        """Count something that went wrong for a merchant."""
        self.merchants.setdefault(merchant_id, Counter())[what] += 1


def look(start: datetime, end: datetime, step: timedelta, late_s: int) -> Hit:
    """What the rows of the window say, both ends included. Inside a snapshot."""
    count = max(1, -((start - end) // step))
    hit = Hit(late_s, [Step(start + step * number) for number in range(count)])
    binds = {"start": start, "end": end}
    _look_at_payments(hit, _PAYMENTS.stream(**binds, **_ids("pay", start, end)), step, end)
    _look_at_deliveries(hit, _DELIVERIES.stream(**binds, **_ids("dlv", start, end)))
    _look_at_attempts(hit, _ATTEMPTS.stream(**binds, **_ids("att", start, end)), step)
    return hit


def _look_at_payments(hit: Hit, rows: Iterator[Row], step: timedelta, end: datetime) -> None:
    moment, late = now(), timedelta(seconds=hit.late_s)
    for row in rows:
        status = row.status
        if status == "pending" and row.expires_at <= moment:
            status = "expired"  # which the clock has not written down yet
        hit.asked[status] += 1
        _step(hit, row.created_at, step).asked += 1
        is_late = row.paid_at is not None and row.paid_at - row.created_at > late
        if row.paid_at is not None and hit.steps[0].at <= row.paid_at <= end:
            _step(hit, row.paid_at, step).paid += 1
        if is_late:
            hit.asked["late"] += 1
        if is_late or status == "expired":
            hit.wrong(row.merchant_id, "payments late" if is_late else "payments expired")
            if row.payer is not None:
                hit.payers.add(row.payer)


def _look_at_deliveries(hit: Hit, rows: Iterator[Row]) -> None:
    for row in rows:
        hit.deliveries[row.status] += 1
        if row.status in ("failed", "pending"):
            hit.wrong(row.merchant_id, f"deliveries {row.status}")
            hit.endpoints.add(row.endpoint_id)


def _look_at_attempts(hit: Hit, rows: Iterator[Row], step: timedelta) -> None:
    for row in rows:
        hit.attempts[row.outcome] += 1
        at = _step(hit, row.created_at, step)
        at.attempts += 1
        if row.outcome != "success":
            at.attempts_failed += 1
            hit.endpoints.add(row.endpoint_id)
            hit.wrong(row.merchant_id, "attempts failed")
        if row.number == 1 and row.created_at - row.event_at > WEBHOOK_LATE:
            hit.deliveries["late"] += 1
            hit.endpoints.add(row.endpoint_id)
            hit.wrong(row.merchant_id, "deliveries late")


def _step(hit: Hit, moment: datetime, step: timedelta) -> Step:
    return hit.steps[min((moment - hit.steps[0].at) // step, len(hit.steps) - 1)]


def _ids(prefix: str, start: datetime, end: datetime) -> dict[str, str]:
    """Between which ids the rows of a time lie: an id begins with its millisecond."""
    first, last = (
        f"{prefix}_{max(0, int(moment.timestamp() * 1000)):012x}"
        for moment in (start - _APART, end + _APART)
    )
    return {"first": first, "last": last}
