"""`/v1/transfers`: between two customers."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.routing import route
from payments.api.schemas.transfers import (
    CustomerTransfer,
    CustomerTransfers,
    NewTransfer,
    TransfersQuery,
)
from payments.customers import phones
from payments.errors import InsufficientFunds, LimitExceeded, NotFound, WalletFrozen
from payments.origin import Customer
from payments.transfers import transfers
from payments.transfers.objects import customer_view

bp = Blueprint("transfers", __name__)


@route(
    bp,
    "/v1/transfers",
    method="POST",
    caller=guards.customer,
    body=NewTransfer,
    answer=CustomerTransfer,
    status=201,
    once="required",
    errors=(InsufficientFunds, WalletFrozen, LimitExceeded),
    summary="Send money to a customer",
)
def create(caller: Customer, body: NewTransfer) -> dict[str, Any]:
    """At once, to a phone that is known here; to any other it is a 422. The recipient sees the
    sender's phone, and gets a wallet in the currency if they have none.
    """
    phone = phones.parse(body.to_phone, pointer="/to_phone")
    row = transfers.create(caller.id, phone, body.amount, body.currency, body.note)
    return customer_view(row, caller.id)


@route(
    bp,
    "/v1/transfers",
    caller=guards.customer,
    query=TransfersQuery,
    answer=CustomerTransfers,
    summary="List what I sent and received",
)
def index(caller: Customer, query: TransfersQuery) -> dict[str, Any]:
    """Newest first; `direction` says which way."""
    return paging.listing(
        query,
        lambda limit, before: transfers.of_customer(caller.id, query.reference, limit, before),
        lambda row: customer_view(row, caller.id),
    )


@route(
    bp,
    "/v1/transfers/<transfer_id>",
    caller=guards.customer,
    answer=CustomerTransfer,
    errors=(NotFound,),
    summary="Get a transfer",
)
def show(caller: Customer, transfer_id: str) -> dict[str, Any]:
    """For who sent and who received it."""
    return customer_view(transfers.for_customer(caller.id, transfer_id), caller.id)
