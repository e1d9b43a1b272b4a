"""`/admin/payouts`: one operator proposes, another one, by another name, approves."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.bodies import Empty
from payments.api.routing import route
from payments.api.schemas.proposals import (
    NewPayout,
    OperatorsPayout,
    OperatorsPayouts,
    OperatorsPayoutsQuery,
)
from payments.api.schemas.wallets import WithReason
from payments.db import Row
from payments.errors import (
    InvalidState,
    LimitExceeded,
    MerchantBalanceInsufficient,
    MerchantNotApproved,
    MerchantSuspended,
    NotFound,
    SecondOperatorNeeded,
)
from payments.settlement import payouts
from payments.settlement.payouts import payout_object
from payments.settlement.proposals import decision

bp = Blueprint("admin_payouts", __name__)


@route(
    bp,
    "/admin/payouts",
    method="POST",
    caller=guards.operator,
    body=NewPayout,
    answer=OperatorsPayout,
    status=202,
    once="required",
    errors=(
        NotFound,
        MerchantNotApproved,
        MerchantSuspended,
        MerchantBalanceInsufficient,
    ),
    audit="payout.propose",
    summary="Propose a payout",
)
def propose(body: NewPayout) -> dict[str, Any]:
    """`proposed`: nothing is moved nor set aside; the merchant hears `payout.created`. Refused for
    more than is available, below 0 always.
    """
    return _object(payouts.propose(body.merchant, body.amount, body.currency, body.reference))


@route(
    bp,
    "/admin/payouts",
    caller=guards.operator,
    query=OperatorsPayoutsQuery,
    answer=OperatorsPayouts,
    summary="List all payouts",
)
def index(query: OperatorsPayoutsQuery) -> dict[str, Any]:
    """Newest first."""
    return paging.listing(
        query,
        lambda limit, before: payouts.proposals.page(_filters(query), limit, before),
        _object,
    )


@route(
    bp,
    "/admin/payouts/<payout_id>",
    caller=guards.operator,
    answer=OperatorsPayout,
    errors=(NotFound,),
    summary="Get any payout",
)
def show(payout_id: str) -> dict[str, Any]:
    """With who proposed it and who decided."""
    return _object(payouts.proposals.get(payout_id))


@route(
    bp,
    "/admin/payouts/<payout_id>/approve",
    method="POST",
    caller=guards.operator,
    body=Empty,
    answer=OperatorsPayout,
    once="required",
    errors=(
        NotFound,
        InvalidState,
        SecondOperatorNeeded,
        MerchantNotApproved,
        MerchantSuspended,
        MerchantBalanceInsufficient,
        LimitExceeded,
    ),
    audit="payout.approve",
    summary="Approve a payout",
)
def approve(payout_id: str, body: Empty) -> dict[str, Any]:
    """By an operator of another name than the one who proposed it: the money leaves the merchant's
    balance, which must cover it then, and the merchant hears `payout.paid`.
    """
    return _object(payouts.approve(payout_id))


@route(
    bp,
    "/admin/payouts/<payout_id>/reject",
    method="POST",
    caller=guards.operator,
    body=WithReason,
    answer=OperatorsPayout,
    once="required",
    errors=(NotFound, InvalidState),
    audit="payout.reject",
    summary="Reject a payout",
)
def reject(payout_id: str, body: WithReason) -> dict[str, Any]:
    """`proposed` to `rejected`, for good; also by who proposed it. Nothing is moved."""
    return _object(payouts.proposals.reject(payout_id, body.reason))


def _filters(query: OperatorsPayoutsQuery) -> dict[str, Any]:
    return {"status": query.status, "reference": query.reference, "merchant_id": query.merchant}


def _object(row: Row) -> dict[str, Any]:
    return payout_object(row) | decision(row)
