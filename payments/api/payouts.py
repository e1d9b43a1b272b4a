"""`/v1/payouts`: what leaves the merchant's balance to its bank."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.routing import route
from payments.api.schemas.proposals import PayoutObject, Payouts, PayoutsQuery
from payments.errors import NotFound
from payments.origin import Merchant
from payments.settlement import payouts
from payments.settlement.payouts import payout_object

bp = Blueprint("payouts", __name__)


@route(
    bp,
    "/v1/payouts",
    caller=guards.merchant("settlements:read"),
    query=PayoutsQuery,
    answer=Payouts,
    summary="List payouts",
)
def index(caller: Merchant, query: PayoutsQuery) -> dict[str, Any]:
    """The merchant's payouts, those that are only proposed too; newest first."""
    return paging.listing(
        query,
        lambda limit, before: payouts.page_of_merchant(caller.id, query.filters(), limit, before),
        payout_object,
    )


@route(
    bp,
    "/v1/payouts/<payout_id>",
    caller=guards.merchant("settlements:read"),
    answer=PayoutObject,
    errors=(NotFound,),
    summary="Get a payout",
)
def show(caller: Merchant, payout_id: str) -> dict[str, Any]:
    """One payout of the merchant's."""
    return payout_object(payouts.of_merchant(caller.id, payout_id))
