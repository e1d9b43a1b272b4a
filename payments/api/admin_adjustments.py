"""`/admin/adjustments`: one operator proposes, another one, by another name, approves."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.proposals import (
    AdjustmentObject,
    Adjustments,
    AdjustmentsQuery,
    NewAdjustment,
)
from payments.api.schemas.wallets import WithReason
from payments.errors import (
    InsufficientFunds,
    InvalidState,
    LimitExceeded,
    MerchantBalanceInsufficient,
    NotFound,
    SecondOperatorNeeded,
    WalletFrozen,
)
from payments.settlement import adjustments
from payments.settlement.adjustments import adjustment_object

bp = Blueprint("admin_adjustments", __name__)


@route(
    bp,
    "/admin/adjustments",
    method="POST",
    caller=guards.operator,
    body=NewAdjustment,
    answer=AdjustmentObject,
    status=202,
    once="required",
    errors=(NotFound,),
    audit="adjustment.propose",
    summary="Propose an adjustment",
)
def propose(body: NewAdjustment) -> dict[str, Any]:
    """`proposed`: nothing is moved until another operator approves it."""
    return adjustment_object(
        adjustments.propose(body.debit, body.credit, body.amount, body.currency, body.reason)
    )


@route(
    bp,
    "/admin/adjustments",
    caller=guards.operator,
    query=AdjustmentsQuery,
    answer=Adjustments,
    summary="List all adjustments",
)
def index(query: AdjustmentsQuery) -> dict[str, Any]:
    """Newest first."""
    return paging.listing(
        query,
        lambda limit, before: adjustments.proposals.page(query.filters(), limit, before),
        adjustment_object,
    )


@route(
    bp,
    "/admin/adjustments/<adjustment_id>",
    caller=guards.operator,
    answer=AdjustmentObject,
    errors=(NotFound,),
    summary="Get any adjustment",
)
def show(adjustment_id: str) -> dict[str, Any]:
    """With who proposed it and who decided."""
    return adjustment_object(adjustments.proposals.get(adjustment_id))


@route(
    bp,
    "/admin/adjustments/<adjustment_id>/approve",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=AdjustmentObject,
    once="required",
    errors=(
        NotFound,
        InvalidState,
        SecondOperatorNeeded,
        InsufficientFunds,
        MerchantBalanceInsufficient,
        WalletFrozen,
        LimitExceeded,
    ),
    audit="adjustment.approve",
    summary="Approve an adjustment",
)
def approve(adjustment_id: str, body: Empty) -> dict[str, Any]:
    """By an operator of another name than who proposed it: the money is moved, as one entry. It
    overdraws nobody, and takes nothing from a frozen wallet.
    """
    return adjustment_object(adjustments.approve(adjustment_id))


@route(
    bp,
    "/admin/adjustments/<adjustment_id>/reject",
    method="POST",
    caller=guards.operator,
    body=WithReason,
    answer=AdjustmentObject,
    once="required",
    errors=(NotFound, InvalidState),
    audit="adjustment.reject",
    summary="Reject an adjustment",
)
def reject(adjustment_id: str, body: WithReason) -> dict[str, Any]:
    """`proposed` to `rejected`, for good; also by who proposed it. Nothing is moved."""
    return adjustment_object(adjustments.proposals.reject(adjustment_id, body.reason))
