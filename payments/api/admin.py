"""`/admin/merchants`, `/admin/refunds`: an operator lets a merchant take payments, stops it, lets
it go on, and gives back what it has taken.
"""

from typing import Any

from flask import Blueprint

from payments.api import guards
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.merchants import MerchantObject, NegativeLimit, OperatorsMerchant
from payments.api.schemas.refunds import OperatorsRefund, RefundObject
from payments.checkout import refunds
from payments.checkout.objects import refund_object
from payments.errors import (
    AmountExceedsRefundable,
    InvalidState,
    LimitExceeded,
    MerchantBalanceInsufficient,
    NotFound,
)
from payments.merchants import applications, limits
from payments.merchants.applications import merchant_object

bp = Blueprint("admin", __name__)


@route(
    bp,
    "/admin/merchants/<merchant_id>/approve",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=MerchantObject,
    once="optional",
    errors=(NotFound, InvalidState),
    audit="merchant.approve",
    summary="Approve a merchant",
)
def approve(merchant_id: str, body: Empty) -> dict[str, Any]:
    """`pending` to `approved`. Stands in the audit trail, refused calls too."""
    return merchant_object(applications.approve(merchant_id))


@route(
    bp,
    "/admin/merchants/<merchant_id>/suspend",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=MerchantObject,
    once="optional",
    errors=(NotFound, InvalidState),
    audit="merchant.suspend",
    summary="Suspend a merchant",
)
def suspend(merchant_id: str, body: Empty) -> dict[str, Any]:
    """`approved` to `suspended`: no new payment; it may still capture, cancel and refund."""
    return merchant_object(applications.suspend(merchant_id))


@route(
    bp,
    "/admin/merchants/<merchant_id>/unsuspend",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=MerchantObject,
    once="optional",
    errors=(NotFound, InvalidState),
    audit="merchant.unsuspend",
    summary="Let a suspended merchant go on",
)
def unsuspend(merchant_id: str, body: Empty) -> dict[str, Any]:
    """`suspended` to `approved`."""
    return merchant_object(applications.unsuspend(merchant_id))


@route(
    bp,
    "/admin/merchants/<merchant_id>/negative_limit",
    method="POST",
    caller=guards.operator,
    body=NegativeLimit,
    answer=OperatorsMerchant,
    once="optional",
    errors=(NotFound,),
    audit="merchant.negative_limit",
    summary="Set how far below 0 refunds may take a merchant",
)
def set_negative_limit(merchant_id: str, body: NegativeLimit) -> dict[str, Any]:
    """For `POST /admin/refunds` alone: the merchant's own refunds and its payouts stop at 0."""
    row = limits.set_negative_limit(merchant_id, body.negative_limit, body.reason)
    return merchant_object(row) | {"negative_limit": row.negative_limit}


@route(
    bp,
    "/admin/refunds",
    method="POST",
    caller=guards.operator,
    body=OperatorsRefund,
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
    audit="refund.create",
    summary="Refund any payment",
)
def refund(body: OperatorsRefund) -> dict[str, Any]:
    """It may take the merchant below 0, down to its `negative_limit`; later credits repay first,
    and payouts stay refused below 0. The merchant hears of it as of its own.
    """
    row = refunds.create_by_operator(
        body.payment, amount=body.amount, reason=body.reason, metadata=body.metadata
    )
    return refund_object(row)
