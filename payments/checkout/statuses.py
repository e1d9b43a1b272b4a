"""Which status a payment is in, the time considered, and what is possible from there.

From `expires_at` or `capture_before` on no step is possible. But a unit that began before may still
be on its way, and a payment that read as `expired` must never turn out to be paid: so it does once
that is recorded (which waits for such a unit), or once no such unit can be left.
"""

from payments import db
from payments.db import Row
from payments.errors import InvalidState

OVER = (
    "((status = 'pending' AND expires_at <= :closed)"
    " OR (status = 'authorized' AND capture_before <= :closed))"
)
"""SQL: the payment's time is over for good by the database's clock, recorded or not."""
STATUS = f"CASE WHEN {OVER} THEN 'expired' ELSE status END"
VERSION = f"CASE WHEN {OVER} THEN version + 1 ELSE version END"
"""The version that the recording will make: an answer before it and one after it are the same."""

_POSSIBLE = {
    "pending": "its customer can confirm or decline it, its merchant can cancel it",
    "authorized": "its merchant can capture or cancel it",
    "succeeded": "its merchant can refund it",
    "canceled": "nothing more can be done with it, create a new payment",
    "declined": "nothing more can be done with it, create a new payment",
    "expired": "nothing more can be done with it, create a new payment",
}


ALL = tuple(_POSSIBLE)
"""Every status."""


def is_late(payment: Row) -> bool:
    """Whether its time is over by the unit's clock, and it does not read as `expired` yet."""
    ends_at = {"pending": payment.expires_at, "authorized": payment.capture_before}
    return payment.status in ends_at and bool(ends_at[payment.status] <= db.now())


def refusal(payment: Row) -> InvalidState:
    """Why a step that the payment's status does not allow is refused: to be raised."""
    if is_late(payment):
        return InvalidState(
            f"The payment is {payment.status}: its time is over and it takes no more steps. Read it"
            " again in 15 s: it has expired by then, unless the last step came in time."
        )
    return InvalidState(f"The payment is {payment.status}: {_POSSIBLE[payment.status]}.")
