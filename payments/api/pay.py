"""`/v1/codes/{code}` and `/v1/pay`: what a scanned code asks, and paying it."""

from typing import Any

from flask import Blueprint

from payments.api import guards
from payments.api.routing import route
from payments.api.schemas.pay import Pay
from payments.api.schemas.payments import CustomerPayment
from payments.checkout import codes, lookup, payments
from payments.checkout.objects import customer_view
from payments.errors import (
    AmountChanged,
    InsufficientFunds,
    InvalidState,
    LimitExceeded,
    MerchantSuspended,
    NotFound,
    WalletFrozen,
)
from payments.origin import Customer

bp = Blueprint("pay", __name__)


@route(
    bp,
    "/v1/codes/<code>",
    caller=guards.customer,
    answer=CustomerPayment,
    errors=(NotFound,),
    summary="See what a code asks",
)
def show(caller: Customer, code: str) -> dict[str, Any]:
    """The payment behind a code that was scanned or typed."""
    return customer_view(lookup.by_code(caller.id, codes.parse(code)), caller.id)


@route(
    bp,
    "/v1/pay",
    method="POST",
    caller=guards.customer,
    body=Pay,
    answer=CustomerPayment,
    once="required",
    errors=(
        NotFound,
        AmountChanged,
        InvalidState,
        InsufficientFunds,
        WalletFrozen,
        MerchantSuspended,
        LimitExceeded,
    ),
    summary="Pay what a code asks",
)
def pay(caller: Customer, body: Pay) -> dict[str, Any]:
    """As confirming the payment; with `amount`, only if it still asks that amount."""
    return customer_view(payments.pay(codes.parse(body.code), caller.id, body.amount), caller.id)
