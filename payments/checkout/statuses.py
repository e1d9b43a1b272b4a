"""Which status a payment is in, the time considered, and what is possible from there."""

from payments.db import Row
from payments.errors import InvalidState

OVER = (
    "((status = 'pending' AND expires_at <= :now)"
    " OR (status = 'authorized' AND capture_before <= :now))"
)
"""SQL: the payment's time is over by the database's clock, recorded or not."""
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


def refusal(payment: Row) -> InvalidState:
    """Why a step that the payment's status does not allow is refused: to be raised."""
    return InvalidState(f"The payment is {payment.status}: {_POSSIBLE[payment.status]}.")
