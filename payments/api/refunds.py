"""`/v1/refunds`."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.routing import route
from payments.api.schemas.refunds import NewRefund, RefundObject, Refunds, RefundsQuery
from payments.checkout import refunds
from payments.checkout.objects import refund_object
from payments.errors import (
    AmountExceedsRefundable,
    InvalidState,
    LimitExceeded,
    MerchantBalanceInsufficient,
    NotFound,
)
from payments.origin import Merchant

bp = Blueprint("refunds", __name__)


@route(
    bp,
    "/v1/refunds",
    method="POST",
    caller=guards.merchant("refunds:write"),
    body=NewRefund,
    answer=RefundObject,
    status=201,
    once="required",
    errors=(
        NotFound,
        InvalidState,
        AmountExceedsRefundable,
        MerchantBalanceInsufficient,
        LimitExceeded,
    ),
    summary="Refund a payment",
)
def create(caller: Merchant, body: NewRefund) -> dict[str, Any]:
    """In part or whole, several times, never more than was captured; at once or not at all."""
    row = refunds.create(
        caller.id,
        body.payment,
        amount=body.amount,
        reason=body.reason,
        metadata=body.metadata,
    )
    return refund_object(row)


@route(
    bp,
    "/v1/refunds",
    caller=guards.merchant("payments:read"),
    query=RefundsQuery,
    answer=Refunds,
    summary="List refunds",
)
def index(caller: Merchant, query: RefundsQuery) -> dict[str, Any]:
    """The merchant's refunds, newest first."""
    return paging.listing(
        query,
        lambda limit, before: refunds.of_merchant(caller.id, query.payment, limit, before),
        refund_object,
    )


@route(
    bp,
    "/v1/refunds/<refund_id>",
    caller=guards.merchant("payments:read"),
    answer=RefundObject,
    errors=(NotFound,),
    summary="Get a refund",
)
def show(caller: Merchant, refund_id: str) -> dict[str, Any]:
    """One refund of the merchant's."""
    return refund_object(refunds.get(caller.id, refund_id))
