"""`/internal`: what sister services (taxi, food, ...) may do, each with its own objects."""

from typing import Any

from flask import Blueprint

from payments.api import guards, paging
from payments.api.routing import Answer, route
from payments.api.schemas.internal import (
    DepositObject,
    Deposits,
    DepositsQuery,
    NewDeposit,
    NewServiceTransfer,
    ServiceTransfers,
    ServiceTransfersQuery,
    ServiceWallets,
    ServiceWalletsQuery,
)
from payments.api.schemas.transfers import TransferObject
from payments.api.wallets import wallet_object, wallet_page
from payments.customers import phones, profiles
from payments.errors import (
    InsufficientFunds,
    LimitExceeded,
    NotFound,
    ReferenceConflict,
    WalletFrozen,
)
from payments.origin import SisterService
from payments.transfers import deposits, transfers
from payments.transfers.objects import deposit_object, transfer_object

bp = Blueprint("internal", __name__)


@route(
    bp,
    "/internal/deposits",
    method="POST",
    caller=guards.service,
    body=NewDeposit,
    answer=DepositObject,
    status=201,
    also=(200,),
    once="required",
    errors=(ReferenceConflict, LimitExceeded),
    summary="Tell of money that arrived outside",
)
def deposit(caller: SisterService, body: NewDeposit) -> Answer:
    """Into the wallet of the phone, which gets one when it has none. The external reference is
    unique for the service's name: the same facts again answer 200 and the first one, other facts
    409.
    """
    row, fresh = deposits.create(
        caller.name,
        phones.parse(body.phone),
        body.amount,
        body.currency,
        body.external_reference,
    )
    return Answer(deposit_object(row), 201 if fresh else 200)


@route(
    bp,
    "/internal/deposits",
    caller=guards.service,
    query=DepositsQuery,
    answer=Deposits,
    summary="List deposits",
)
def list_deposits(caller: SisterService, query: DepositsQuery) -> dict[str, Any]:
    """The service's own, newest first."""
    return paging.listing(
        query,
        lambda limit, before: deposits.of_service(
            caller.name, query.external_reference, limit, before
        ),
        deposit_object,
    )


@route(
    bp,
    "/internal/deposits/<deposit_id>",
    caller=guards.service,
    answer=DepositObject,
    errors=(NotFound,),
    summary="Get a deposit",
)
def show_deposit(caller: SisterService, deposit_id: str) -> dict[str, Any]:
    """One of the service's own."""
    return deposit_object(deposits.get(caller.name, deposit_id))


@route(
    bp,
    "/internal/transfers",
    method="POST",
    caller=guards.service,
    body=NewServiceTransfer,
    answer=TransferObject,
    status=201,
    also=(200,),
    once="required",
    errors=(ReferenceConflict, InsufficientFunds, WalletFrozen, LimitExceeded),
    summary="Move money between two customers",
)
def transfer(caller: SisterService, body: NewServiceTransfer) -> Answer:
    """At once. The reference is unique: the same facts again answer 200 and the first one, other
    facts 409. A phone not yet seen gets a wallet.
    """
    row, fresh = transfers.by_service(
        caller.name,
        phones.parse(body.from_phone, pointer="/from_phone"),
        phones.parse(body.to_phone, pointer="/to_phone"),
        body.amount,
        body.currency,
        body.reference,
    )
    return Answer(transfer_object(row), 201 if fresh else 200)


@route(
    bp,
    "/internal/transfers",
    caller=guards.service,
    query=ServiceTransfersQuery,
    answer=ServiceTransfers,
    summary="List transfers asked for by the service",
)
def list_transfers(caller: SisterService, query: ServiceTransfersQuery) -> dict[str, Any]:
    """Newest first."""
    return paging.listing(
        query,
        lambda limit, before: transfers.of_service(caller.name, query.reference, limit, before),
        transfer_object,
    )


@route(
    bp,
    "/internal/transfers/<transfer_id>",
    caller=guards.service,
    answer=TransferObject,
    errors=(NotFound,),
    summary="Get a transfer asked for by the service",
)
def show_transfer(caller: SisterService, transfer_id: str) -> dict[str, Any]:
    """One of the service's own."""
    return transfer_object(transfers.for_service(caller.name, transfer_id))


@route(
    bp,
    "/internal/wallets",
    caller=guards.service,
    query=ServiceWalletsQuery,
    answer=ServiceWallets,
    summary="Look up the wallets of a phone",
)
def list_wallets(query: ServiceWalletsQuery) -> dict[str, Any]:
    """All of that customer's, the default currency's first; an empty list when nobody has the
    phone. In a query the phone's `+` is written `%2B`.
    """
    customer = profiles.find_by_phone(phones.parse_query(query.phone))
    return paging.listing(
        query,
        lambda limit, before: [] if customer is None else wallet_page(customer.id, limit, before),
        lambda row: wallet_object(row) | {"customer": row.owner_id},
    )
