"""`/v1/merchants` and `/v1/merchant`."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.paging import PageQuery
from payments.api.routing import route
from payments.api.schemas.merchants import (
    MerchantChange,
    MerchantObject,
    Merchants,
    NewMerchant,
    WhichMerchant,
)
from payments.errors import Fault, InvalidRequest, LimitExceeded, NotFound
from payments.merchants import applications
from payments.merchants.applications import merchant_object
from payments.origin import Customer, Merchant

bp = Blueprint("merchants", __name__)


@route(
    bp,
    "/v1/merchants",
    method="POST",
    caller=guards.customer,
    body=NewMerchant,
    answer=MerchantObject,
    status=201,
    once="optional",
    errors=(LimitExceeded,),
    summary="Apply to take payments",
)
def apply(caller: Customer, body: NewMerchant) -> dict[str, Any]:
    """The caller owns the merchant. An operator approves it, unless approval is automatic. A
    customer owns at most 20 merchants, of which at most 5 wait at a time. Until it is approved, a
    merchant's calls count on its owner's rate budget.
    """
    return merchant_object(applications.apply(caller.id, body.name))


@route(
    bp,
    "/v1/merchants",
    caller=guards.customer,
    query=PageQuery,
    answer=Merchants,
    summary="List my merchants",
)
def index(caller: Customer, query: PageQuery) -> dict[str, Any]:
    """Those that the caller owns, newest first."""
    return paging.listing(
        query,
        lambda limit, before: applications.page_owned_by(caller.id, limit, before),
        merchant_object,
    )


@route(
    bp,
    "/v1/merchants/<merchant_id>",
    caller=guards.customer_or_merchant(None),
    answer=MerchantObject,
    summary="Get a merchant by id",
)
def show_one(caller: Customer | Merchant, merchant_id: str) -> dict[str, Any]:
    """One that the caller owns, or the key's own."""
    return merchant_object(applications.get(which(caller, merchant_id)))


@route(
    bp,
    "/v1/merchant",
    caller=guards.customer_or_merchant(None),
    query=WhichMerchant,
    answer=MerchantObject,
    errors=(NotFound,),
    summary="Get the merchant",
)
def show(caller: Customer | Merchant, query: WhichMerchant) -> dict[str, Any]:
    """The key's merchant, or the one that the caller owns."""
    return merchant_object(applications.get(which(caller, query.merchant)))


@route(
    bp,
    "/v1/merchant",
    method="PATCH",
    caller=guards.customer,
    query=WhichMerchant,
    body=MerchantChange,
    answer=MerchantObject,
    once="optional",
    errors=(NotFound,),
    summary="Change the merchant",
)
def change(caller: Customer, query: WhichMerchant, body: MerchantChange) -> dict[str, Any]:
    """By its owner."""
    merchant_id = which(caller, query.merchant)
    if body.name is None:
        return merchant_object(applications.get(merchant_id))
    return merchant_object(applications.rename(merchant_id, body.name))


def which(caller: Customer | Merchant, named: str | None) -> str:
    """The merchant a call is about: the key's, or the owner's, who names it when there are several.

    Raises NotFound, InvalidRequest.
    """
    if isinstance(caller, Merchant):
        if named is not None and named != caller.id:
            raise NotFound
        return caller.id
    owned = [row.id for row in applications.owned_by(caller.id)]
    if named is not None:
        if named not in owned:
            raise NotFound
        return named
    if not owned:
        raise NotFound("You own no merchant. Apply by POST /v1/merchants.")
    if len(owned) > 1:
        raise InvalidRequest(
            Fault("/merchant", "is required: you own several merchants, say which one")
        )
    return str(owned[0])
