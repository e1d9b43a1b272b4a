"""What a merchant's balance looks like."""

from typing import Literal

from payments.api.bodies import Body, Currency


class CurrencyBalance(Body):
    """One currency. All in minor units; a balance may be below 0 after an operator's refund."""

    currency: Currency
    balance: int
    held: int
    available: int


class Balance(Body):
    """A merchant's balance in each currency it has taken, the default currency first."""

    object: Literal["balance"]
    merchant: str
    balances: list[CurrencyBalance]
