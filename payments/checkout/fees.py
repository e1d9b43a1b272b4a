"""What the service keeps of a payment, and what it gives back with a refund.

All of it is integer arithmetic in minor units, exact for any amount; nothing here reads a row.
"""

from dataclasses import dataclass

from payments import settings
from payments.money import round_half_even
from payments.settings import Fees

BASIS = 10_000
"""Basis points in a whole."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A share in basis points (0 to 10,000) and a fixed part in minor units (0 or more)."""

    bps: int
    fixed: int


def current_terms() -> Terms:
    """The terms for payments that are created now; a payment keeps those it was created under."""
    fees = settings.current(Fees)
    return Terms(fees.bps, fees.fixed_minor)


def on(captured: int, terms: Terms) -> int:
    """The fee on what is captured, minor units: share and fixed part together, rounded half-even.

    Never more than what is captured, and never less for more: the part of a payment costs no more
    than the whole.
    """
    exact = captured * terms.bps + terms.fixed * BASIS
    return min(captured, round_half_even(exact, BASIS))


def returned(fee: int, captured: int, refunded: int) -> int:
    """How much of the fee has gone back in all once `refunded` of `captured` has been refunded.

    A refund returns the difference to what went back before, so that many small refunds return
    together what one would: all of the fee once all is refunded.
    """
    return round_half_even(fee * refunded, captured)
