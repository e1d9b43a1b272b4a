"""`/v1/balance`."""

from typing import Any

from flask import Blueprint

from payments import config
from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.balance import Balance
from payments.ledger import accounts
from payments.origin import Merchant

bp = Blueprint("balance", __name__)


@route(
    bp,
    "/v1/balance",
    caller=guards.merchant("settlements:read"),
    answer=Balance,
    summary="Get the balance",
)
def show(caller: Merchant) -> dict[str, Any]:
    """The merchant's true balance in each currency, credits not yet folded in included."""
    first = config.current().default_currency
    rows = accounts.of_owner(caller.id, "merchant")
    rows.sort(key=lambda row: (row.currency != first, row.currency))
    return {
        "object": "balance",
        "merchant": caller.id,
        "balances": [
            {
                "currency": row.currency,
                "balance": row.balance,
                "held": row.held,
                "available": row.available,
            }
            for row in rows
        ],
    }
