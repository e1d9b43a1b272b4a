"""Recording that payments ran out of time. It only records: from the moment on, no step is
possible, and 15 s later it reads as expired, whenever this comes round.

Several may run at once: each takes rows that no other holds. So it also passes over one that a step
which began in time is changing, and such a step that comes too late for the row finds it `expired`.
"""

import json
import logging
from functools import partial

from payments import db
from payments.checkout import payments
from payments.checkout.lookup import RECORDED
from payments.db import Sql
from payments.drivers import LockTimeout
from payments.errors import Busy
from payments.ledger import holds

log = logging.getLogger(__name__)

UNIT_ROWS = 50
"""Pending payments recorded in one unit of work."""

_PENDING = Sql(
    "WITH due AS MATERIALIZED (SELECT id FROM payments WHERE status = 'pending'"
    " AND expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
    " UPDATE payments SET status = 'expired', ended_at = expires_at, version = version + 1"
    " WHERE id IN (SELECT id FROM due)"
    f" RETURNING {RECORDED}"
)

_AUTHORIZED = (
    "WITH due AS MATERIALIZED (SELECT id FROM payments WHERE status = 'authorized'"
    " AND capture_before <= :now AND id NOT IN ({passed})"
    " ORDER BY capture_before LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " UPDATE payments SET status = 'expired', ended_at = capture_before, version = version + 1"
    " WHERE id IN (SELECT id FROM due)"
    f" RETURNING {RECORDED}"
)
_AUTHORIZED_DUE = Sql(
    _AUTHORIZED.format(passed="SELECT json_array_elements_text(CAST(:passed AS json))"),
    sqlite=_AUTHORIZED.format(passed="SELECT value FROM json_each(:passed)"),
)


def expire_due(limit: int) -> int:
    """Record at most `limit` payments that are past their time, in small units of work of its own.

    Returns how many; less than `limit` means that no more were due, or others hold them.
    `pending`, `authorized` -> `expired`; what was held is released to the customer, and that comes
    first: it is money that nothing else sets free.
    """
    done = _release_due(limit)
    while done < limit:
        recorded = db.in_unit(partial(_expire_pending, min(UNIT_ROWS, limit - done)))
        if not recorded:
            break
        done += recorded
    return done


def _release_due(limit: int) -> int:
    """One that can't be released, or whose wallet another holds locked, is passed over, so that it
    keeps no other back.
    """
    done = 0
    passed: list[str] = []
    while done + len(passed) < limit:
        trying: list[str] = []
        try:
            found = db.in_unit(partial(_expire_authorized, passed, trying))
        except LockTimeout:
            if not trying:
                raise
            log.warning("a hold's wallet is busy", extra={"payment_id": trying[-1]})
            passed.append(trying[-1])
            continue
        except Busy:
            raise
        except Exception:
            if not trying:
                raise
            log.exception("a hold can't be released", extra={"payment_id": trying[-1]})
            passed.append(trying[-1])
            continue
        if not found:
            break
        done += 1
    return done


def _expire_pending(limit: int) -> int:
    due = _PENDING.all(limit=limit)
    for row in due:
        payments.record("expired", row)
    return len(due)


def _expire_authorized(passed: list[str], trying: list[str]) -> bool:
    """One at a time: two accounts' locks in one unit would have to be taken in their order."""
    row = _AUTHORIZED_DUE.one(passed=json.dumps(passed))
    if row is None:
        return False
    trying.append(row.id)
    holds.release(row.hold_id, status="expired")
    payments.record("expired", row)
    return True
