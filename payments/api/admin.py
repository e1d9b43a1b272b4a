"""`/admin/merchants`: an operator lets a merchant take payments, stops it, and lets it go on."""

from typing import Any

from flask import Blueprint

from payments.api import guards
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.merchants import MerchantObject
from payments.errors import InvalidState, NotFound
from payments.merchants import applications
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
