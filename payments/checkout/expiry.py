"""Recording that payments ran out of time. It only records: from the moment on, a payment already
shows and behaves as expired, whenever this comes round.

Several may run at once: each takes rows that no other holds.
"""

from functools import partial

from payments import db
from payments.checkout import payments
from payments.checkout.lookup import RECORDED
from payments.db import Sql
from payments.ledger import holds

UNIT_ROWS = 50
"""Pending payments recorded in one unit of work."""

_PENDING = Sql(
    "WITH due AS MATERIALIZED (SELECT id FROM payments WHERE status = 'pending'"
    " AND expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
    " UPDATE payments SET status = 'expired', ended_at = expires_at, version = version + 1"
    " WHERE id IN (SELECT id FROM due)"
    f" RETURNING {RECORDED}"
)

_AUTHORIZED = Sql(
    "WITH due AS MATERIALIZED (SELECT id FROM payments WHERE status = 'authorized'"
    " AND capture_before <= :now ORDER BY capture_before LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " UPDATE payments SET status = 'expired', ended_at = capture_before, version = version + 1"
    " WHERE id IN (SELECT id FROM due)"
    f" RETURNING {RECORDED}"
)


def expire_due(limit: int) -> int:
    """Record at most `limit` payments that are past their time, in small units of work of its own.

    Returns how many; less than `limit` means that no more were due, or others hold them.
    `pending`, `authorized` -> `expired`; what was held is released to the customer.
    """
    done = 0
    for step in (_expire_pending, _expire_authorized):
        while done < limit:
            wanted = min(UNIT_ROWS, limit - done)
            recorded = db.in_unit(partial(step, wanted))
            if not recorded:
                break
            done += recorded
    return done


def _expire_pending(limit: int) -> int:
    due = _PENDING.all(limit=limit)
    for row in due:
        payments.record("expired", row)
    return len(due)


def _expire_authorized(_limit: int) -> int:
    """One at a time: two accounts' locks in one unit would have to be taken in their order."""
    row = _AUTHORIZED.one()
    if row is None:
        return 0
    holds.release(row.hold_id, status="expired")
    payments.record("expired", row)
    return 1
